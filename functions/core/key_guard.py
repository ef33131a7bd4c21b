"""Whether the upstream refuses our key, or only one message.

After a 401 or 403 calls are blocked for W; then one probe of the upstream's root path says whether the key is
good. A message that meets the same answer after a good probe is refused itself.
"""

from dataclasses import dataclass

from core.window import Change, Window

CLEARED_WINDOWS = 10


@dataclass(frozen=True, slots=True)
class KeyGuard:
    """What is known of our key; part of the shared item.

    `suspect_job`, `probe_at_ms`: the upstream refused our key for this job; the key is probed then.
    `cleared_job`, `cleared_until_ms`: a probe found the key good after that; refused again until then, it is
    this job that the upstream refuses.
    `key_blocked_ms`: for how long, in all, calls were blocked by a refused key.
    """

    suspect_job: str = ""
    probe_at_ms: int = 0
    cleared_job: str = ""
    cleared_until_ms: int = 0
    key_blocked_ms: int = 0

    @property
    def suspected(self) -> bool:
        """Whether the key may be bad: only a probe may be sent."""
        return bool(self.suspect_job)

    def refuses_message(self, job_id: str, now_ms: int) -> bool:
        """Whether a 401 or 403 means the message: a probe found the key good since the same answer."""
        return bool(job_id) and self.cleared_job == job_id and now_ms < self.cleared_until_ms


def suspect(key: KeyGuard, window: Window, job_id: str, now_ms: int) -> Change | None:
    """Block calls for W after a 401 or 403 for this job, and probe the key then.

    None if another call that met the same answer has done so already.
    """
    if key.suspected and key.probe_at_ms > now_ms:
        return None
    return _suspect(key, window, job_id, now_ms)


def claim_probe(key: KeyGuard, window: Window, now_ms: int, claim_ms: int) -> Change | None:
    """Claim the probe for one run; None if no probe is due. Another run may claim it after `claim_ms`."""
    if not key.suspected or key.probe_at_ms > now_ms:
        return None
    return Change(window.limits.version, expected=_seen(key), values={"probe_at_ms": now_ms + claim_ms})


def suspect_further(key: KeyGuard, window: Window, now_ms: int) -> Change | None:
    """Block calls for W more after a probe that failed, and probe again then."""
    return _suspect(key, window, key.suspect_job, now_ms) if key.suspected else None


def clear(key: KeyGuard, window: Window, now_ms: int) -> Change:
    """Let calls go on after a good probe, those of the suspect job too: the key may be new."""
    return Change(
        window.limits.version,
        expected=_seen(key),
        values={
            "suspect_job": "",
            "probe_at_ms": 0,
            "cleared_job": key.suspect_job,
            "cleared_until_ms": now_ms + CLEARED_WINDOWS * window.limits.window_ms,
        },
    )


def _seen(key: KeyGuard) -> dict[str, int | str | bool]:
    return {"suspect_job": key.suspect_job, "probe_at_ms": key.probe_at_ms}


def _suspect(key: KeyGuard, window: Window, job_id: str, now_ms: int) -> Change:
    until_ms = now_ms + window.limits.window_ms
    return Change(
        window.limits.version,
        expected=_seen(key),
        values={
            "suspect_job": job_id,
            "probe_at_ms": until_ms,
            "cleared_job": "",
            "blocked_until_ms": max(until_ms, window.blocked_until_ms),
            "key_blocked_ms": key.key_blocked_ms + window.limits.window_ms,
        },
    )
