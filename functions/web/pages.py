"""HTML pages: each is one file, which is read when it is first requested.

A page holds no data: it fetches JSON and writes it as text. Its content security policy allows only the style
and script in its own file, and requests only to this service.
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
    """Return the page in a file. `content`: HTML by the marker that it replaces."""
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
