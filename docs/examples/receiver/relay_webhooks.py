"""Verify Signing Relay's webhooks (Standard Webhooks 1.0.0). One file: copy it into your service.

    verifier = Verifier(["whsec_…"])                    # or "whpk_…", or several during a rotation
    notification = verifier.verify(headers, body)       # raises InvalidWebhook

With FastAPI:

    @app.post("/signatures")
    async def receive(notification: Annotated[dict[str, Any], Depends(verified_by(verifier))]) -> None: ...

Only the standard library is needed, but for `whpk_` keys, which need `cryptography`, and `verified_by`.
"""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

TOLERANCE_S = 300
SECRET_PREFIX = "whsec_"
PUBLIC_KEY_PREFIX = "whpk_"
TIMESTAMP_DIGITS_MAX = 12

Check = Callable[[bytes, bytes], bool]
"""From the signed content and a signature to whether it is right."""


class InvalidWebhook(Exception):
    """Not a webhook of ours, changed on the way, or too old. Answer 401 and do nothing."""


class Verifier:
    """Accepts what any one of the given keys signed: give the old and the new one during a rotation."""

    def __init__(self, keys: Sequence[str], tolerance_s: int = TOLERANCE_S) -> None:
        """Take `whsec_` secrets and `whpk_` public keys; ValueError if there is none, or one is neither."""
        if not keys:
            raise ValueError("at least one key is needed")
        self._checks = [_check_of(key) for key in keys]
        self._tolerance_s = tolerance_s

    def verify(self, headers: Mapping[str, str], body: bytes, now_s: float | None = None) -> dict[str, Any]:
        """Return the notification; `body` is the request's raw bytes, before any parsing.

        A webhook may come twice: take `headers["webhook-id"]` as the key under which you handle it once.
        """
        found = {name.lower(): value for name, value in headers.items()}
        webhook_id, timestamp = found.get("webhook-id", ""), found.get("webhook-timestamp", "")
        self._check_time(timestamp, time.time() if now_s is None else now_s)
        content = f"{webhook_id}.{timestamp}.".encode() + body
        self._check_signatures(found.get("webhook-signature", ""), content)
        return _parse(body)

    def _check_time(self, timestamp: str, now_s: float) -> None:
        if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= TIMESTAMP_DIGITS_MAX):
            raise InvalidWebhook("webhook-timestamp is missing or not a number of seconds")
        if abs(now_s - int(timestamp)) > self._tolerance_s:
            raise InvalidWebhook("webhook-timestamp is too old or too new")

    def _check_signatures(self, header: str, content: bytes) -> None:
        signatures = [_parse_signature(entry) for entry in header.split(" ")]
        for version, check in self._checks:
            if any(check(content, raw) for found, raw in signatures if found == version):
                return
        raise InvalidWebhook("no signature in webhook-signature is right")


def verified_by(verifier: Verifier) -> Callable[..., Coroutine[Any, Any, dict[str, Any]]]:
    """Return a FastAPI dependency that gives the verified notification, and answers 401 without one."""
    from fastapi import HTTPException, Request

    async def verified(request: Request) -> dict[str, Any]:
        try:
            return verifier.verify(request.headers, await request.body())
        except InvalidWebhook as error:
            raise HTTPException(401, "invalid webhook") from error

    return verified


def _check_of(key: str) -> tuple[str, Check]:
    if key.startswith(SECRET_PREFIX):
        return "v1", _symmetric(_decode(key.removeprefix(SECRET_PREFIX)))
    if key.startswith(PUBLIC_KEY_PREFIX):
        return "v1a", _asymmetric(_decode(key.removeprefix(PUBLIC_KEY_PREFIX)))
    raise ValueError(f"a key starts with {SECRET_PREFIX} or {PUBLIC_KEY_PREFIX}")


def _symmetric(secret: bytes) -> Check:
    if not secret:
        raise ValueError(f"a {SECRET_PREFIX} secret must not be empty, and is written in base64")

    def check(content: bytes, signature: bytes) -> bool:
        return hmac.compare_digest(hmac.digest(secret, content, hashlib.sha256), signature)

    return check


def _asymmetric(public_key: bytes) -> Check:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    key = Ed25519PublicKey.from_public_bytes(public_key)

    def check(content: bytes, signature: bytes) -> bool:
        try:
            key.verify(signature, content)
        except InvalidSignature:
            return False
        return True

    return check


def _parse_signature(entry: str) -> tuple[str, bytes]:
    version, _, encoded = entry.partition(",")
    return version, _decode(encoded)


def _parse(body: bytes) -> dict[str, Any]:
    try:
        notification = json.loads(body)
    except ValueError as error:
        raise InvalidWebhook("the body is not JSON") from error
    if not isinstance(notification, dict):
        raise InvalidWebhook("the body is not a JSON object")
    return notification


def _decode(encoded: str) -> bytes:
    """Return the bytes, of padded or unpadded base64; none at all if it is not base64."""
    text = encoded.rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        return b""
