"""The notification: its exact bytes, its Standard Webhooks 1.0.0 signature, and what an answer means.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum, auto
from http import HTTPStatus

from core.errors import SettingError
from core.retry_after import parse_retry_after

SECRET_PREFIX = "whsec_"  # noqa: S105 - a prefix, not a secret
PUBLIC_KEY_PREFIX = "whpk_"
SECRET_BYTES_MIN, SECRET_BYTES_MAX = 24, 64
PUBLIC_KEY_BYTES = 32
PRIVATE_KEY_PREFIX = "whsk_"
PRIVATE_KEY_BYTES = (32, 64)  # the seed, often with its public key behind it
EXCERPT_LENGTH_MAX = 200
RETRY_AFTER_CAP_MS = 24 * 3_600_000
JITTER_SHARE = 0.1
EGRESS_REASON_PREFIX = "egress_"  # of an attempt that the egress policy refused

Signer = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class PostResult:
    """The result of one attempt."""

    status: int | None
    """The answer's HTTP status; None if there was no answer."""
    reason: str
    """`http_<status>`, or why there was no answer: `timeout`, `dns_failure`, `egress_deny_private`…"""
    retry_after: str | None
    """The answer's `Retry-After`, as sent."""
    excerpt: str
    """The beginning of the answer's body, printable."""


class OutcomeKind(StrEnum):
    """What an attempt means for its delivery."""

    DELIVERED = auto()
    GONE = auto()
    RETRY = auto()


@dataclass(frozen=True, slots=True)
class Outcome:
    """An attempt, judged."""

    kind: OutcomeKind
    reason: str
    retry_after_ms: int | None = None
    """How long the receiver asked to wait, at most `cap_ms`; only with RETRY."""


def signature_body(request_id: str, signature: str, reference: str = "") -> bytes:
    """Return the notification of a signature, as it is signed and sent."""
    body = {"request_id": request_id, "status": int(HTTPStatus.OK), "signature": signature}
    return _json(body | _without_empty(reference=reference))


def failure_body(
    request_id: str, status: int, message: str, detail: str | None = None, reference: str = ""
) -> bytes:
    """Return the notification of a failure, as it is signed and sent."""
    body = {"request_id": request_id, "status": status, "message": message}
    return _json(body | _without_empty(detail=detail, reference=reference))


def _without_empty(**members: str | None) -> dict[str, str]:
    return {name: value for name, value in members.items() if value}


def sign(
    body: bytes,
    webhook_id: str,
    timestamp_s: int,
    secrets: Sequence[str],
    signers: Sequence[Signer] = (),
) -> dict[str, str]:
    """Return the headers of one attempt: one signature per secret (`v1`) and per ed25519 signer (`v1a`).

    During a rotation both keys of a kind sign, so that a receiver with either can verify.
    """
    if "." in webhook_id:
        raise ValueError("a webhook id with a dot would make the signed content ambiguous")
    content = b".".join((webhook_id.encode("ascii"), b"%d" % timestamp_s, body))
    symmetric = [("v1", hmac.digest(parse_secret(secret), content, hashlib.sha256)) for secret in secrets]
    asymmetric = [("v1a", signer(content)) for signer in signers]
    signatures = [f"{version},{_base64(raw)}" for version, raw in symmetric + asymmetric]
    if not signatures:
        raise ValueError("a webhook is never sent unsigned: no secret and no signer was given")
    return {
        "content-type": "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(signatures),
    }


def parse_secret(secret: str) -> bytes:
    """Return the key of a `whsec_` secret. The error never repeats the secret."""
    return decode_key(secret, SECRET_PREFIX, range(SECRET_BYTES_MIN, SECRET_BYTES_MAX + 1))


def parse_public_key(public_key: str) -> bytes:
    """Return the key of a `whpk_` public key."""
    return decode_key(public_key, PUBLIC_KEY_PREFIX, [PUBLIC_KEY_BYTES])


def parse_private_key(private_key: str) -> bytes:
    """Return the seed of a `whsk_` key, with its public half behind it if the key has it.

    `adapters.ed25519` checks that the two belong together: the core can't compute that.
    """
    return decode_key(private_key, PRIVATE_KEY_PREFIX, PRIVATE_KEY_BYTES)


def decode_key(text: str, prefix: str, lengths: Sequence[int]) -> bytes:
    """Return the bytes of a prefixed base64 key, padded or not; SettingError says what was expected."""
    encoded = text.removeprefix(prefix).rstrip("=")
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:
        key = b""
    if not text.startswith(prefix) or len(key) not in lengths:
        raise SettingError(f"expected {prefix} and {lengths[0]} to {lengths[-1]} bytes in base64")
    return key


def public_key_set(public_keys: Sequence[str]) -> dict[str, list[dict[str, str]]]:
    """Return the JSON Web Key Set (RFC 7517, RFC 8037) of `whpk_` keys; `kid` is the RFC 7638 thumbprint."""
    return {"keys": [_json_web_key(public_key) for public_key in public_keys]}


def classify_answer(result: PostResult, now_ms: int, cap_ms: int = RETRY_AFTER_CAP_MS) -> Outcome:
    """Say what an attempt means. Only 2xx is delivered; only 410 stops for good."""
    if result.status is None:
        return Outcome(OutcomeKind.RETRY, result.reason)
    if HTTPStatus.OK <= result.status < HTTPStatus.MULTIPLE_CHOICES:
        return Outcome(OutcomeKind.DELIVERED, result.reason)
    if result.status == HTTPStatus.GONE:
        return Outcome(OutcomeKind.GONE, result.reason)
    if result.status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        return Outcome(
            OutcomeKind.RETRY, result.reason, parse_retry_after(result.retry_after, now_ms, cap_ms)
        )
    return Outcome(OutcomeKind.RETRY, result.reason)


def next_attempt_ms(
    attempts: int,
    now_ms: int,
    delays_ms: Sequence[int],
    fraction: float,
    retry_after_ms: int | None = None,
) -> int | None:
    """Return when the next attempt may start, after `attempts` made; None if that was the last one.

    The wait is the schedule's step, or the receiver's `Retry-After` if that is longer: a short one must not
    use up the attempts. Jitter (`fraction` in [0, 1)) adds up to a tenth and never shortens a wait.
    """
    if attempts > len(delays_ms):
        return None
    delay_ms = max(delays_ms[attempts - 1], retry_after_ms or 0)
    return now_ms + delay_ms + int(delay_ms * JITTER_SHARE * fraction)


def excerpt(body: bytes) -> str:
    """Return the beginning of a body, fit for a log line: printable, one line."""
    text = body[: EXCERPT_LENGTH_MAX * 4].decode("utf-8", errors="replace")
    printable = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(printable.split())[:EXCERPT_LENGTH_MAX]


def _json_web_key(public_key: str) -> dict[str, str]:
    encoded = _base64_url(parse_public_key(public_key))
    required = {"crv": "Ed25519", "kty": "OKP", "x": encoded}  # in RFC 7638's order
    thumbprint = _base64_url(hashlib.sha256(_json(required)).digest())
    return {**required, "kid": thumbprint, "alg": "EdDSA", "use": "sig"}


def _json(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _base64_url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")
