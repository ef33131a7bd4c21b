"""Pages for people: files beside this module, whole in themselves, read when first asked for.

None of them holds data: what they show they fetch as JSON, and write as text. Each may run exactly the style
and script that stand in its file, and talk to nobody but us.
"""

import base64
import re
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from fastapi.responses import HTMLResponse

FOLDER = Path(__file__).parent
INLINE = re.compile(r"<(style|script)>(.*?)</\1>", re.DOTALL)
CONTENT = "<!-- content -->"


def page(name: str) -> HTMLResponse:
    """Return a page as its file has it."""
    text = _text(name)
    return HTMLResponse(text, headers=_headers(text))


def documentation(document: dict[str, Any]) -> HTMLResponse:
    """Return the description of the interface, for people."""
    from api.pages import reference  # noqa: PLC0415 - asked for rarely: no cold start pays for it

    text = _text("docs").replace(CONTENT, reference.content(document))
    return HTMLResponse(text, headers=_headers(text))


@cache
def _text(name: str) -> str:
    return (FOLDER / f"{name}.html").read_text(encoding="utf-8")


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
