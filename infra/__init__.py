"""What stands around the functions. Their import root goes on the path here, as Lambda puts it there."""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
FUNCTIONS = ROOT / "functions"

if str(FUNCTIONS) not in sys.path:
    sys.path.append(str(FUNCTIONS))
