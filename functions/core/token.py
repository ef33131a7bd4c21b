"""A signed token that opens the status of one request until it expires, so that no API key is in a URL.

`<expiry in seconds>.<base64url of HMAC-SHA256>`. It holds nothing secret, so it is signed, not encrypted.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence

PURPOSE = "status"
TOKEN = re.compile(r"([0-9]{1,12})\.([A-Za-z0-9_-]{43})")


def make_token(key: str, request_id: str, expires_s: int) -> str:
    """Return the token that opens this request until `expires_s`, in seconds since the epoch."""
    return f"{expires_s}.{_signature(key, request_id, expires_s)}"


def opens(token: str, keys: Sequence[str], request_id: str, now_s: int) -> bool:
    """Whether the token was signed by one of the keys for this request, and is not expired.

    Signatures are compared in constant time.

    During a rotation tokens of two keys are valid.
    """
    found = TOKEN.fullmatch(token)
    if found is None:
        return False
    expires_s = int(found[1])
    genuine = any(hmac.compare_digest(found[2], _signature(key, request_id, expires_s)) for key in keys)
    return genuine and now_s < expires_s


def _signature(key: str, request_id: str, expires_s: int) -> str:
    content = f"{PURPOSE}.{request_id}.{expires_s}".encode()
    digest = hmac.digest(key.encode(), content, hashlib.sha256)
    return base64.urlsafe_b64encode(digest).decode("ascii").rstrip("=")
