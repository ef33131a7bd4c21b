"""Pages for people: files whole in themselves, read when first asked for.

None of them holds data: what they show they fetch as JSON, and write as text. Each may run exactly the style
and script that stand in its file, and talk to nobody but us.
"""

import base64
import re
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path

from fastapi.responses import HTMLResponse

INLINE = re.compile(r"<(style|script)>(.*?)</\1>", re.DOTALL)


def page(path: Path, content: Mapping[str, str] | None = None) -> HTMLResponse:
    """Return a page as its file has it; `content`: HTML to put in the place of markers."""
    text = _text(path)
    for marker, html in (content or {}).items():
        text = text.replace(marker, html)
    return HTMLResponse(text, headers=_headers(text))


@cache
def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _headers(text: str) -> dict[str, str]:
    allowed = {"style": "'none'", "script": "'none'"}
    for kind, source in INLINE.findall(text):
        allowed[kind] = f"'sha256-{base64.b64encode(sha256(source.encode()).digest()).decode()}'"
    policy = (
        f"default-src 'none'; style-src {allowed['style']}; script-src {allowed['script']}; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return {
        "Content-Security-Policy": policy,
        "Cache-Control": "no-cache",
        "Referrer-Policy": "no-referrer",
        "Vary": "Accept",
        "X-Content-Type-Options": "nosniff",
    }
