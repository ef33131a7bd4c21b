"""An idempotency key: its parameters, its request and the answer. Pure functions."""

from dataclasses import dataclass, replace
from hashlib import sha256

from core import clocks

KEPT_MS = 24 * 3_600_000
ABANDONED_MS = 3_000
"""No request is processed for longer: its answer leaves within two seconds."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it was given, to be given again."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: str


@dataclass(frozen=True, slots=True)
class Claim:
    """One caller's key. `parameters`: a digest of them. `request_id`: the request that has this key.

    `reply`: None while the first request is being answered.
    """

    id: str
    parameters: str
    request_id: str
    claimed_ms: int
    expires_ms: int
    reply: Reply | None = None

    def abandoned(self, now_ms: int) -> bool:
        """Whether the instance that processed the request must have stopped, without a reply."""
        until_ms = self.claimed_ms + ABANDONED_MS
        return self.reply is None and not clocks.to_come(until_ms, now_ms, ABANDONED_MS)


def new_claim(client: str, key: str, parameters: str, request_id: str, now_ms: int) -> Claim:
    """Return a claim of this caller's key. `parameters`: the text that a repeated request must have too."""
    return Claim(
        sha256(f"{client}\0{key}".encode()).hexdigest(),
        sha256(parameters.encode()).hexdigest(),
        request_id,
        now_ms,
        now_ms + KEPT_MS,
    )


def given_up(claim: Claim) -> Claim:
    """Let the next request with this key continue at once, with the same request id."""
    return replace(claim, claimed_ms=claim.claimed_ms - ABANDONED_MS)


def freed(claim: Claim) -> Claim:
    """Release the key: the next request with it counts as the first one."""
    return replace(claim, expires_ms=claim.claimed_ms)
