"""What was counted of a run, as tables: pure functions of the counts."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from benchmarks.billing import (
    MINUTES_A_MONTH,
    PLATFORM_LOG_BYTES,
    PRICES,
    Bill,
    Units,
    idle_polls_a_month,
)
from tests.system.template import FUNCTIONS, TEMPLATE

MB_PER_GB = 1024
CALLS_A_MONTH = 10 * MINUTES_A_MONTH
USED = (
    "Function",
    "Invocations",
    "Billed s",
    "DynamoDB operations",
    "Read units",
    "Write units",
    "of the index",
    "SQS requests",
    "Secret",
    "Log KB",
)
EACH = (
    "For each",
    "DynamoDB operations",
    "Read units",
    "Write units",
    "SQS requests",
    "Billed s",
    "$ a million",
)


@dataclass
class Usage:
    """What one function used."""

    operations: Counter[str] = field(default_factory=Counter)
    units: Units = field(default_factory=Units)
    queue: Counter[str] = field(default_factory=Counter)
    secrets: int = 0
    invocations: int = 0
    billed_ms: int = 0
    log_bytes: int = 0
    metrics: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Case:
    """What was done, and what it took of each function."""

    name: str
    requests: int
    accepted: int
    calls: int
    usage: Mapping[str, Usage]

    def amounts(self) -> dict[str, float]:
        """Return what is billed for all of it."""
        rows = self.usage.items()
        # Lambda receives for each invocation, and deletes; the schedule's runs are counted too.
        polled = 2 * sum(self.usage[name].invocations for name in ("processor", "notifier"))
        logs = sum(row.log_bytes + row.invocations * PLATFORM_LOG_BYTES for _, row in rows)
        return {
            "API Gateway, REST requests": self.requests,
            "Lambda, invocations": sum(row.invocations for _, row in rows),
            "Lambda, GB-seconds (x86_64)": sum(row.billed_ms / 1000 * memory_gb(name) for name, row in rows),
            "DynamoDB, read units": sum(row.units.read for _, row in rows),
            "DynamoDB, write units": sum(row.units.write + row.units.index for _, row in rows),
            "SQS, standard requests": sum(row.queue.total() for _, row in rows) + polled,
            "Secrets Manager, calls": sum(row.secrets for _, row in rows),
            "CloudWatch, log bytes": logs,
        }


def memory_gb(package: str) -> float:
    """Return a function's memory, as the template has it by default."""
    megabytes: int = TEMPLATE["Parameters"][f"{package.capitalize()}MemorySize"]["Default"]
    return megabytes / MB_PER_GB


def _line(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _head(*cells: str) -> Iterator[str]:
    yield _line(*cells)
    yield "|---" * len(cells) + "|"


def used(case: Case) -> Iterator[str]:
    """Yield a table of what each function used."""
    yield from _head(*USED)
    for package, row in case.usage.items():
        yield _line(
            package,
            row.invocations,
            f"{row.billed_ms / 1000:.1f}",
            _counted(row.operations),
            f"{row.units.read:g}",
            f"{row.units.write + row.units.index:g}",
            f"{row.units.index:g}",
            _counted(row.queue),
            row.secrets,
            f"{row.log_bytes / 1000:.1f}",
        )


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counter.most_common()) or "none"


def per(case: Case, count: int) -> list[float]:
    """Return, for one of so many, what `EACH` names."""
    rows, amounts = case.usage.values(), case.amounts()
    return [
        sum(row.operations.total() for row in rows) / count,
        amounts["DynamoDB, read units"] / count,
        amounts["DynamoDB, write units"] / count,
        amounts["SQS, standard requests"] / count,
        sum(row.billed_ms for row in rows) / 1000 / count,
        1e6 * Bill.of(amounts).total / count,
    ]


def accepted_only(case: Case, at_once: Case) -> list[float]:
    """Return the same for an accepted request: those answered at once are taken off as their case shows."""
    answered = case.requests - case.accepted
    whole, one = per(case, 1), per(at_once, at_once.requests)
    return [
        (value - answered * single) / max(1, case.accepted) for value, single in zip(whole, one, strict=True)
    ]


def summary(cases: Mapping[str, Case]) -> Iterator[str]:
    """Yield the table of what a request takes."""
    yield from _head(*EACH)
    for title, values in _summary_rows(cases):
        yield _line(title, *(f"{value:.1f}" for value in values))


def _summary_rows(cases: Mapping[str, Case]) -> Iterator[tuple[str, list[float]]]:
    for name, title in (
        ("at once", "request answered 200 at once"),
        ("known", "request for a known signature"),
    ):
        yield title, per(cases[name], cases[name].requests)
    for name in ("steady", "burst"):
        yield f"request, {name}", per(cases[name], cases[name].requests)
        yield f"accepted request, {name}", accepted_only(cases[name], cases["at once"])
        yield f"upstream call, {name}", per(cases[name], cases[name].calls)


def month(case: Case, times: float, metrics: int) -> Bill:
    """Return what a month costs: what a case used, so many times over, and what stands beside it."""
    standing = {
        "SQS, standard requests": idle_polls_a_month(polled_queues()),
        "Secrets Manager, secrets a month": 1,
        "CloudWatch, custom metrics a month": metrics,
    }
    rows = dict(Bill.of(case.amounts(), times).rows)
    for name, cost in Bill.of(standing).rows.items():
        rows[name] = rows.get(name, 0) + cost
    return Bill(rows)


def on_request() -> Bill:
    """Return what a month of all alarms and the dashboard costs, which a deployment has to ask for."""
    return Bill.of({"CloudWatch, alarms a month": alarm_metrics(), "CloudWatch, dashboards a month": 1})


def polled_queues() -> int:
    """Return how many queues start a function."""
    events = [TEMPLATE["Resources"][name]["Properties"]["Events"].values() for name in FUNCTIONS.values()]
    return sum(event["Type"] == "SQS" for rows in events for event in rows)


def alarm_metrics() -> int:
    """Return how many metrics the alarms look at: one of an expression looks at several."""
    alarms = [row for row in TEMPLATE["Resources"].values() if row["Type"] == "AWS::CloudWatch::Alarm"]
    looked_at = [
        sum("MetricStat" in row for row in alarm["Properties"].get("Metrics", [])) for alarm in alarms
    ]
    return sum(count or 1 for count in looked_at)


def metrics_of(*cases: Case) -> int:
    """Return how many custom metrics were emitted: a name of each function is one."""
    return len(
        {(package, name) for case in cases for package, row in case.usage.items() for name in row.metrics}
    )


def itemized(title: str, bill: Bill) -> Iterator[str]:
    """Yield a table of a bill."""
    yield from _head(title, "$")
    yield from (_line(name, f"{cost:.2f}") for name, cost in bill.rows.items())
    yield _line("Sum", f"{bill.total:.2f}")


def prices() -> Iterator[str]:
    """Yield the table of prices."""
    yield from _head("What", "$", "for", "Published at", "Seen")
    for name, price in PRICES.items():
        yield _line(name, f"{price.dollars:g}", f"{price.per:,}", f"<{price.page}>", price.seen)


def report(cases: Mapping[str, Case], idle_minutes: float) -> Iterator[str]:
    """Yield all tables, as docs/costs.md has them."""
    for case in cases.values():
        counts = f"{case.requests} requests, {case.accepted} accepted, {case.calls} upstream calls"
        yield f"\n### {case.name}: {counts}\n"
        yield from used(case)
    yield "\n### For each\n"
    yield from summary(cases)
    for name in ("at once", "steady"):
        yield f"\n### A million requests, {name}\n"
        yield from itemized(name, Bill.of(cases[name].amounts(), 1e6 / cases[name].requests))
    idle, burst = cases["idle"], cases["burst"]
    metrics, in_use = metrics_of(idle), metrics_of(*cases.values())
    yield f"\n### A month; custom metrics: {metrics} idle, {in_use} in use\n"
    yield from itemized("Nobody asks", month(idle, MINUTES_A_MONTH / idle_minutes, metrics))
    yield ""
    yield from itemized("On request", on_request())
    yield ""
    title = f"At the limit, {CALLS_A_MONTH:,} calls, as in the burst"
    yield from itemized(title, month(burst, CALLS_A_MONTH / burst.calls, in_use))
    yield "\n### Prices\n"
    yield from prices()
