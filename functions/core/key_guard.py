"""Whether the upstream refuses our key, or only one message.

Every answer other than 401 and 403 shows that the key was good when its call was sent. While that was so
lately, a 401 or 403 concerns its message: it is tried once more, and refused if it meets the same answer
after another call has shown that the key is good. Otherwise the key is suspected: calls wait, and a probe of
the upstream's root path tells at once, then each minute. Nothing that one message meets stops the others.
"""

from dataclasses import dataclass

from core.answers import Meaning
from core.window import Change, Window

GOOD_FOR_MS = 60_000
"""How long an answer speaks for the key."""
TRY_AGAIN_MS = 30_000
"""When a message that met a 401 or 403 is tried again at the latest: while a probe's answer still counts."""
PROBE_EVERY_MS = 60_000
SHOWS_GOOD_KEY = frozenset({Meaning.SIGNED, Meaning.WELCOME, Meaning.REFUSED, Meaning.FAILED})


@dataclass(frozen=True, slots=True)
class KeyGuard:
    """What is known of our key; part of the shared item.

    `suspect_since_ms`: only probes are sent since then; 0 while the key is trusted.
    `probe_at_ms`: when the suspected key is to be probed.
    `key_good_ms`: when the last call was sent whose answer showed a good key.
    `key_blocked_ms`: for how long, in all, calls have waited for a suspected key or an operator's pause.
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
        """Whether the key was good about when a call was sent."""
        return self.key_good_ms > sent_ms - GOOD_FOR_MS

    def refuses_message(self, refused_before_ms: int | None, sent_ms: int) -> bool:
        """Whether a 401 or 403 is the message's own: it met one before, and the key was good in between."""
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
    """Put the next probe off after one that told nothing good; None if the key is trusted again."""
    if not key.suspected:
        return None
    wait_ms = min(PROBE_EVERY_MS, window.limits.window_ms)
    return Change(window.limits.version, expected=_seen(key), values={"probe_at_ms": now_ms + wait_ms})


def learn(key: KeyGuard, window: Window, meaning: Meaning, sent_ms: int, now_ms: int) -> Change:
    """Note what an answer to a call sent then shows; a key that is good after a suspicion is trusted."""
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
