"""What a seed decides before anything runs: settings, callers, upstream, receivers, and how much goes wrong.

Every stream of chance is derived from the seed by name, so that one more draw in one place moves no other.
"""

from dataclasses import dataclass, replace
from random import Random

from core.config import CallSettings
from core.window import Limits, Timing
from proofs.simulation import troubles
from proofs.simulation.troubles import Act, Trouble

MARGIN_MS = 250
RECEIVERS = ("good", "good", "good", "flapping", "dead", "gone", "hanging", "busy")
HOSTILE_REQUESTS_MAX = 50
"""What one caller may have open where callers are hostile: fewer than they ask for."""
WEBHOOK_DELAYS_MS = (5_000, 30_000, 60_000)


def stream(seed: int, name: str) -> Random:
    """Return a source of chance that depends on the seed and its name only."""
    return Random(f"{seed}/{name}")


@dataclass(frozen=True, slots=True)
class Rates:
    """The chance, at every port call, of each thing that can go wrong.

    `error`: refused, without effect. `lost`: done, but nobody hears of it. `crash`: the whole instance ends,
    half of the time before the effect and half of the time after it. `freeze`: the instance stands still for
    up to a minute. `slow`: the answer takes up to a second. `message`: a queue message is lost, as often
    repeated, as often delayed.
    """

    error: float = 0.0
    lost: float = 0.0
    crash: float = 0.0
    freeze: float = 0.0
    slow: float = 0.0
    message: float = 0.0


CALM = Rates()
ROUGH = Rates(error=0.01, lost=0.01, crash=0.004, freeze=0.002, slow=0.03, message=0.08)
STORM = Rates(error=0.04, lost=0.06, crash=0.015, freeze=0.012, slow=0.08, message=0.25)


@dataclass(frozen=True, slots=True)
class Outage:
    """A port, or what stands behind it, that is down for all instances for a while."""

    port: str
    from_ms: int
    until_ms: int


@dataclass(frozen=True, slots=True)
class Cancellation:
    """A caller cancels its request this long after the acceptance; `notify`: it wants the webhook then."""

    after_ms: int
    notify: bool


@dataclass(frozen=True, slots=True)
class Call:
    """One caller: when it comes, what it sends, and what it wants.

    `keep`: it polls for the result. `hurried`: it wants an answer within a second. `key`: of idempotency.
    """

    at_ms: int
    client: str
    message: str
    webhook_url: str
    keep: bool
    hurried: bool = False
    key: str = ""
    cancels: Cancellation | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a seed decides in advance."""

    seed: int
    settings: CallSettings
    rates: Rates
    outages: tuple[Outage, ...]
    purges_ms: tuple[int, ...]
    calls: tuple[Call, ...]
    faults_end_ms: int
    window_exists: bool
    healthy_share: float
    outage_ms: tuple[int, int]
    troubles: frozenset[Trouble] = frozenset()
    acts: tuple[Act, ...] = ()
    deploy_ms: int | None = None
    steady: bool = False  # the upstream answers in a moment, and never oddly

    @property
    def next_settings(self) -> CallSettings:
        """Those of the version that is deployed at `deploy_ms`."""
        limits = Limits(self.settings.limits.calls % 10 + 1, self.settings.limits.window_ms)
        return replace(self.settings, limits=limits, retry_ms=2 * self.settings.retry_ms)


def plan(seed: int, trouble: Trouble | None = None) -> Plan:
    """Return the plan of a seed, with the troubles that it draws, or with the one that is asked for."""
    planned = _plan(seed)
    if planned.rates is not CALM or trouble is not None:
        rng = stream(seed, "troubles")
        planned = _troubled(planned, troubles.drawn(rng, trouble), rng)
    ways = stream(seed, "ways")
    calls = tuple(_with_ways(ways, number, call) for number, call in enumerate(planned.calls))
    return replace(planned, calls=calls)


def _with_ways(rng: Random, number: int, call: Call) -> Call:
    """Some callers are in a hurry, some repeat their request, some cancel it."""
    after_ms = rng.choice((50, 2_000, 20_000, 90_000))
    return replace(
        call,
        hurried=rng.random() < 0.15,
        key=f"key {number}" if rng.random() < 0.25 else "",
        cancels=Cancellation(after_ms, rng.random() < 0.5) if rng.random() < 0.15 else None,
    )


def _troubled(planned: Plan, drawn: frozenset[Trouble], rng: Random) -> Plan:
    calls = list(planned.calls)
    if Trouble.CROWD in drawn:
        calls += _crowd(rng, calls[-1].at_ms)
    if Trouble.HOSTILE in drawn:
        calls += [*_hostile(rng), *_many_callers(rng)]
    if Trouble.FORBIDDEN in drawn:
        calls += [_forbidden(rng, number) for number in range(rng.randrange(1, 8))]
    calls.sort(key=lambda call: call.at_ms)
    end_ms = max(planned.faults_end_ms, calls[-1].at_ms + 20_000)
    spells = tuple(_spell(rng, port, end_ms) for trouble, port in troubles.SPELLS.items() if trouble in drawn)
    hostile_max = HOSTILE_REQUESTS_MAX if Trouble.HOSTILE in drawn else planned.settings.client_requests_max
    return replace(
        planned,
        settings=replace(planned.settings, client_requests_max=hostile_max),
        rates=ROUGH if planned.rates is CALM else planned.rates,
        calls=tuple(calls),
        faults_end_ms=end_ms,
        outages=planned.outages + spells,
        troubles=drawn,
        acts=troubles.acts(rng, drawn, end_ms),
        deploy_ms=rng.randrange(end_ms) if Trouble.VERSIONS in drawn else None,
    )


def _plan(seed: int) -> Plan:
    rng = stream(seed, "plan")
    rates = rng.choice((CALM, ROUGH, ROUGH, ROUGH, STORM, STORM))
    calls = _calls(rng)
    faults_end_ms = calls[-1].at_ms + rng.randrange(20_000, 150_000)
    return Plan(
        seed=seed,
        settings=_settings(rng),
        rates=rates,
        outages=() if rates is CALM else tuple(_outage(rng, faults_end_ms) for _ in range(rng.randrange(3))),
        purges_ms=()
        if rates is CALM
        else tuple(sorted(rng.randrange(faults_end_ms) for _ in range(rng.randrange(3)))),
        calls=calls,
        faults_end_ms=faults_end_ms,
        window_exists=rng.random() < 0.8,
        healthy_share=rng.choice((0.3, 0.5, 0.5, 0.9)),
        outage_ms=rng.choice(((5_000, 40_000), (60_000, 300_000))),
    )


def _settings(rng: Random) -> CallSettings:
    return CallSettings(
        url="http://upstream.example",
        limits=Limits(rng.choice((2, 3, 5, 10)), rng.choice((5_000, 10_000, 20_000, 60_000))),
        timing=Timing(grace_ms=rng.choice((3_000, 10_000)), margin_ms=MARGIN_MS),
        call_limit_ms=rng.choice((3_000, 10_000, 30_000)),
        retry_ms=rng.choice((3_000, 10_000, 30_000)),
        attempts_max=rng.choice((2, 3, 60)),
        age_max_ms=rng.choice((120_000, 600_000, 21_600_000)),
        signature_ttl_ms=rng.choice((20_000, 3_600_000)),
    )


def _calls(rng: Random) -> tuple[Call, ...]:
    """Callers come alone or in bursts; many send what somebody sent before."""
    calls: list[Call] = []
    at_ms = 1_000
    size = rng.randrange(5, 25)
    while len(calls) < size:
        at_ms += rng.choice((5, 50, 2_000, 15_000))
        repeated = rng.choice((0.2, 0.9))
        for _ in range(rng.choice((1, 1, 2, 8))):
            calls.append(_call(rng, calls, at_ms + rng.randrange(300), repeated))
    return tuple(sorted(calls, key=lambda call: call.at_ms))


def _call(rng: Random, before: list[Call], at_ms: int, repeated: float) -> Call:
    message = f"message {len(before)}"
    if rng.random() < 0.04:
        message = f"refused {len(before)}"
    if before and rng.random() < repeated:
        message = rng.choice(before[-3:]).message
    webhook_url = f"https://{rng.choice(RECEIVERS)}.example/{len(before)}" if rng.random() < 0.75 else ""
    return Call(at_ms, rng.choice(("alice", "bob")), message, webhook_url, rng.random() < 0.5)


def _crowd(rng: Random, from_ms: int) -> list[Call]:
    """More callers of one message than a page holds."""
    url = "https://good.example/crowd"
    return [Call(from_ms + rng.randrange(3_000), "alice", "wanted by many", url, False) for _ in range(120)]


def _hostile(rng: Random) -> list[Call]:
    """One caller floods the service: new messages, one message, those of others; for dead receivers."""
    at_ms = rng.randrange(20_000)
    receivers = ("dead", "hanging", "good")
    new = [
        Call(at_ms + rng.randrange(2_000), "trudy", f"flood {n}", _hook(rng, receivers, n), True)
        for n in range(40)
    ]
    same = [
        Call(at_ms + rng.randrange(2_000), "trudy", "flood", _hook(rng, receivers, n), True)
        for n in range(60)
    ]
    others = [
        Call(at_ms + rng.randrange(60_000), "trudy", f"message {n % 20}", _hook(rng, receivers, n), True)
        for n in range(100)
    ]
    return [*new, *same, *others, *(_forbidden(rng, number) for number in range(5))]


def _many_callers(rng: Random) -> list[Call]:
    """Tens of callers with a message each."""
    return [
        Call(rng.randrange(60_000), f"caller {n}", f"of caller {n}", f"https://good.example/{n}", True)
        for n in range(24)
    ]


def _forbidden(rng: Random, number: int) -> Call:
    """A message that the upstream answers 403."""
    return Call(rng.randrange(40_000), "trudy", f"forbidden {number}", _hook(rng, ("good",), number), False)


def _hook(rng: Random, receivers: tuple[str, ...], number: int) -> str:
    return f"https://{rng.choice(receivers)}.example/trudy-{number}"


def _spell(rng: Random, port: str, faults_end_ms: int) -> Outage:
    from_ms = rng.randrange(faults_end_ms)
    return Outage(port, from_ms, min(faults_end_ms, from_ms + rng.randrange(5_000, 120_000)))


def _outage(rng: Random, faults_end_ms: int) -> Outage:
    from_ms = rng.randrange(faults_end_ms)
    port = rng.choice(("store", "window", "work_queue", "notifications"))
    return Outage(port, from_ms, min(faults_end_ms, from_ms + rng.randrange(1_000, 60_000)))
