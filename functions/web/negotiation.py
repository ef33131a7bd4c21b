"""Parses request headers that express preferences, each by its RFC. Pure functions."""

import re
from collections.abc import Mapping, Sequence

from web.deadline import BUDGET_MS

# A member of a list, with its commas inside quotes.
_MEMBER = re.compile(r'(?:[^,"]|"(?:\\.|[^"\\])*"?)+')
_PART = re.compile(r'(?:[^;"]|"(?:\\.|[^"\\])*"?)+')
_ESCAPED = re.compile(r"\\(.)")
_TAG = re.compile(r'(?:W/)?("[^"]*")')


def accepted(accept: str) -> Mapping[str, float]:
    """Return the media ranges of an `Accept` header with their weights (RFC 9110, 12.5.1)."""
    found = {}
    for member in _MEMBER.findall(accept):
        media_range, *parameters = (part.lower() for part in _parts(member))
        weights = [
            text.partition("=")[2].strip() for text in parameters if text.partition("=")[0].strip() == "q"
        ]
        found[media_range] = _weight(weights[0]) if weights else 1.0
    return found


def _parts(member: str) -> list[str]:
    """Return a member's value and parameters; the value may be empty."""
    return [part.strip() for part in _PART.findall(member)] or [""]


def _weight(text: str) -> float:
    try:
        return min(1.0, max(0.0, float(text)))
    except ValueError:
        return 0.0


def wants_page(accept: str) -> bool:
    """Whether the client prefers an HTML page to JSON.

    Some programs send HTML among other types by default, such as Java's; they get JSON. Browsers also send
    XHTML.
    """
    ranges = accepted(accept)
    page, json = ranges.get("text/html", 0.0), ranges.get("application/json")
    if page == 0.0 or (json is not None and json >= page):
        return False
    json_at_all = any(ranges.get(name) for name in ("application/json", "application/*", "*/*", "*"))
    return not json_at_all or bool(ranges.get("application/xhtml+xml")) or json is not None


def has_tag(if_none_match: str, etag: str) -> bool:
    """Whether an `If-None-Match` header names this tag; weak comparison (RFC 9110, 13.1.2)."""
    if if_none_match.strip() == "*":
        return True
    return etag.removeprefix("W/") in _TAG.findall(if_none_match)


def preferred_wait_s(preferred: Mapping[str, str]) -> int | None:
    """Return the preferred `wait` in seconds, at most 2; None if it is not a whole number from 1."""
    digits = preferred.get("wait", "").lstrip("0")
    if not (digits.isascii() and digits.isdigit()):
        return None
    return min(int(digits[:2]), BUDGET_MS // 1000)


def preferences(lines: Sequence[str]) -> dict[str, str]:
    """Return the preferences of `Prefer` headers by name (RFC 7240); of one named twice the first counts."""
    found: dict[str, str] = {}
    for member in _MEMBER.findall(",".join(lines)):
        name, _, value = _parts(member)[0].partition("=")
        text = value.strip()
        if text.startswith('"'):
            text = _ESCAPED.sub(r"\1", text.strip('"'))
        found.setdefault(name.strip().lower(), text)
    return found
