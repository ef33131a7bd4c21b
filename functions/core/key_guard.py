"""Decides whether a 401 or 403 refuses the service's key, or only one message.

Most other answers show that the key was good when their call was sent (`SHOWS_GOOD_KEY`). If the key was good
in the last minute, a 401 or 403 concerns only its message. The message is called once more; if it gets the
same answer after another call has shown a good key, it is refused. Otherwise the key is suspected: calls
wait, and a probe of the upstream's root path tests the key, at once and then each minute. So one refused
message never stops the others.
"""

from dataclasses import dataclass

from core.answers import Meaning
from core.window import Change, Window

GOOD_FOR_MS = 60_000
"""For how long after an answer the key counts as good."""
TRY_AGAIN_MS = 30_000
"""A message with a 401 or 403 is called again within this time, while a probe's answer still counts."""
PROBE_EVERY_MS = 60_000
SHOWS_GOOD_KEY = frozenset({Meaning.SIGNED, Meaning.WELCOME, Meaning.REFUSED, Meaning.FAILED})


@dataclass(frozen=True, slots=True)
class KeyGuard:
    """What is known about the service's key; part of the shared item.

    `suspect_since_ms`: since when only probes are sent; 0 while the key is trusted.
    `probe_at_ms`: when the next probe of a suspected key is due.
    `key_good_ms`: when the newest call was sent whose answer showed a good key.
    `key_blocked_ms`: for how long in total a suspected key or an operator's pause has stopped all calls.
    """

    suspect_since_ms: int = 0
    probe_at_ms: int = 0
    key_good_ms: int = 0
    key_blocked_ms: int = 0

    @property
    def suspected(self) -> bool:
        """Whether the key may be bad: only a probe may be sent."""
        return self.suspect_since_ms > 0

    def good_lately(self, sent_ms: int) -> bool:
        """Whether the key was shown to be good within the minute before a call was sent, or later."""
        return self.key_good_ms > sent_ms - GOOD_FOR_MS

    def refuses_message(self, refused_before_ms: int | None, sent_ms: int) -> bool:
        """Whether a 401 or 403 refuses the message: it is the second one, and the key was good in between."""
        return (
            refused_before_ms is not None
            and self.key_good_ms >= refused_before_ms
            and self.good_lately(sent_ms)
        )


def suspect(key: KeyGuard, window: Window, sent_ms: int, now_ms: int) -> Change | None:
    """Suspect the key after a 401 or 403 to a call sent then; None if it was good lately, or is suspected."""
    if key.suspected or key.good_lately(sent_ms):
        return None
    return Change(
        window.limits.version, expected=_seen(key), values={"suspect_since_ms": now_ms, "probe_at_ms": now_ms}
    )


def claim_probe(key: KeyGuard, window: Window, now_ms: int, claim_ms: int) -> Change | None:
    """Claim the probe for one run; None if no probe is due. Another run may claim it after `claim_ms`."""
    if not key.suspected or key.probe_at_ms > now_ms:
        return None
    return Change(window.limits.version, expected=_seen(key), values={"probe_at_ms": now_ms + claim_ms})


def probe_again(key: KeyGuard, window: Window, now_ms: int) -> Change | None:
    """Set the time of the next probe after one that did not show a good key; None if the key is trusted."""
    if not key.suspected:
        return None
    wait_ms = min(PROBE_EVERY_MS, window.limits.window_ms)
    return Change(window.limits.version, expected=_seen(key), values={"probe_at_ms": now_ms + wait_ms})


def learn(key: KeyGuard, window: Window, meaning: Meaning, sent_ms: int, now_ms: int) -> Change:
    """Record what the answer to a call that was sent then shows. A good answer ends an earlier suspicion."""
    if meaning not in SHOWS_GOOD_KEY or sent_ms <= key.key_good_ms:
        return Change(window.limits.version)
    good = {"key_good_ms": sent_ms}
    if not key.suspected or sent_ms < key.suspect_since_ms:
        return Change(window.limits.version, values=good)
    blocked_ms = key.key_blocked_ms + max(0, now_ms - key.suspect_since_ms)
    trusted = {"suspect_since_ms": 0, "probe_at_ms": 0, "key_blocked_ms": blocked_ms}
    return Change(window.limits.version, expected=_seen(key), values=good | trusted)


def _seen(key: KeyGuard) -> dict[str, int | str | bool]:
    return {"suspect_since_ms": key.suspect_since_ms, "probe_at_ms": key.probe_at_ms}
