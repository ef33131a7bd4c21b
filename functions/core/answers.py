"""What an upstream's answer means."""

import base64
import binascii
from dataclasses import dataclass
from enum import StrEnum

REFUSALS = frozenset({400, 404, 405, 413, 414, 422})
KEY_REFUSALS = frozenset({401, 403})
SIGNATURE_BYTES_MIN = 32
SIGNATURE_CHARACTERS_MAX = 4096
ERROR_CHARACTERS_MAX = 40


class Meaning(StrEnum):
    """The result of a call."""

    SIGNED = "signed"
    WELCOME = "welcome"  # a probe: the key is good
    REFUSED = "refused"  # this message
    LIMITED = "limited"  # 429: another client uses the key, or the limit is lower
    KEY_REFUSED = "key_refused"  # 401, 403: the service's key, or this message
    FAILED = "failed"  # any other answer
    UNANSWERED = "unanswered"  # it was sent and not answered; the upstream may have counted it
    NEVER_SENT = "never_sent"


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one call, or why there is none.

    `first_byte_mono_ms`: when the answer began, on the monotonic clock; None without an answer.
    `latency_ms`: from send to the whole answer, or to when it was given up.
    """

    meaning: Meaning
    status: int = 0
    signature: str = ""
    reason: str = ""
    retry_after_ms: int | None = None
    first_byte_mono_ms: int | None = None
    latency_ms: int = 0

    @property
    def counted(self) -> bool:
        """Whether it counts as an attempt at this message."""
        return self.meaning not in {Meaning.LIMITED, Meaning.KEY_REFUSED, Meaning.NEVER_SENT}

    @property
    def error(self) -> str:
        """A short code of what went wrong: `http_502`, or the network's error; empty for a signature."""
        if self.meaning is Meaning.SIGNED:
            return ""
        if self.status and self.status != 200:  # noqa: PLR2004 - OK, but no signature
            return f"http_{self.status}"
        return (self.reason or self.meaning)[:ERROR_CHARACTERS_MAX]


def interpret(status: int, body: bytes) -> Meaning:
    """Say what a complete answer means; a 200 without a signature is a failure."""
    if status == 200:  # noqa: PLR2004 - OK
        return Meaning.SIGNED if read_signature(body) else Meaning.FAILED
    if status in REFUSALS:
        return Meaning.REFUSED
    if status in KEY_REFUSALS:
        return Meaning.KEY_REFUSED
    if status == 429:  # noqa: PLR2004 - Too Many Requests
        return Meaning.LIMITED
    return Meaning.FAILED


def interpret_probe(status: int) -> Meaning:
    """Say what the answer to a probe of the key means."""
    if status == 200:  # noqa: PLR2004 - OK
        return Meaning.WELCOME
    return Meaning.KEY_REFUSED if status in KEY_REFUSALS else Meaning.FAILED


def read_signature(body: bytes) -> str:
    """Return the base64 signature in the body; empty if the body is anything else."""
    try:
        text = body.decode("ascii").strip()
        decoded = base64.b64decode(text, validate=True)
    except (UnicodeDecodeError, binascii.Error):
        return ""
    usable = len(decoded) >= SIGNATURE_BYTES_MIN and len(text) <= SIGNATURE_CHARACTERS_MAX
    return text if usable else ""
