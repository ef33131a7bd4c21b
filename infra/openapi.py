"""`python -m infra.openapi`: writes the interface's description to `docs/openapi.json`."""

import json

from api.openapi import document
from infra import ROOT

FILE = ROOT / "docs" / "openapi.json"


def main() -> None:
    """Write the file."""
    FILE.write_text(json.dumps(document(), indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
