"""The asymmetric signatures of Standard Webhooks (`v1a`): the only module that needs `cryptography`."""

import base64

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.errors import SettingError
from core.webhook import PRIVATE_KEY_BYTES, PRIVATE_KEY_PREFIX, PUBLIC_KEY_PREFIX, Signer, parse_private_key

SEED_BYTES = PRIVATE_KEY_BYTES[0]


def signer(private_key: str) -> Signer:
    """Return a function that signs with a `whsk_` key."""
    return _parse_private_key(private_key).sign


def public_key(private_key: str) -> str:
    """Return the `whpk_` key that verifies what a `whsk_` key signed."""
    raw = _parse_private_key(private_key).public_key().public_bytes_raw()
    return f"{PUBLIC_KEY_PREFIX}{base64.b64encode(raw).decode('ascii')}"


def generate_private_key() -> str:
    """Return a new `whsk_` key pair."""
    key = Ed25519PrivateKey.generate()
    pair = key.private_bytes_raw() + key.public_key().public_bytes_raw()
    return f"{PRIVATE_KEY_PREFIX}{base64.b64encode(pair).decode('ascii')}"


def _parse_private_key(text: str) -> Ed25519PrivateKey:
    raw = parse_private_key(text)
    key = Ed25519PrivateKey.from_private_bytes(raw[:SEED_BYTES])
    public_half = raw[SEED_BYTES:]
    if public_half and public_half != key.public_key().public_bytes_raw():
        raise SettingError(f"the two halves of a {PRIVATE_KEY_PREFIX} key do not belong together")
    return key
