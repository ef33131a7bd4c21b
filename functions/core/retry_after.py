"""How long a `Retry-After` header asks to wait (RFC 9110, 10.2.3)."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

DIGITS_MAX = 9


def parse_retry_after(value: str | None, now_ms: int, cap_ms: int) -> int | None:
    """Return the wait in milliseconds, from seconds or an HTTP date, at most `cap_ms`; None if unreadable."""
    text = (value or "").strip()
    if re.fullmatch("[0-9]+", text):
        seconds = text.lstrip("0") or "0"
        return cap_ms if len(seconds) > DIGITS_MAX else min(int(seconds) * 1000, cap_ms)
    moment = _parse_http_date(text)
    if moment is None:
        return None
    return min(max(0, int(moment.timestamp() * 1000) - now_ms), cap_ms)


def _parse_http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    # An HTTP date is in GMT, also if it names no time zone.
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
