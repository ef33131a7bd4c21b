"""The burst in a terminal, as it happens."""

import time
from collections.abc import Sequence
from datetime import datetime
from statistics import median
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from infra.demo.burst import Promise, Seen

COLUMNS = 10
KIND_STYLES = {"fresh": "blue", "retry": "yellow", "probe": "magenta"}


def live(seen: Seen, total: int) -> RenderableType:
    """Return the whole view."""
    now_s = time.time()
    return Group(_slots(seen, now_s), _figures(seen, total, now_s))


def summary(promises: Sequence[Promise], seen: Seen) -> RenderableType:
    """Return the verdict."""
    table = Table.grid(padding=(0, 1))
    for promise in promises:
        mark = Text("✓", style="bold green") if promise.kept else Text("✗", style="bold red")
        table.add_row(mark, promise.text)
    at_once = sum(request.status == 200 for request in seen.sent)  # noqa: PLR2004 - HTTP OK
    table.add_row("", f"{at_once} answered 200 at once; {len(seen.calls)} upstream calls in all")
    kept = all(promise.kept for promise in promises)
    title = "Every promise was kept" if kept else "A promise was broken"
    return Panel(table, title=title, border_style="green" if kept else "red", expand=False)


def _slots(seen: Seen, now_s: float) -> RenderableType:
    window: dict[str, Any] = seen.console.get("window", {})
    table = Table.grid(padding=(0, 1))
    cells = [_slot(slot, now_s) for slot in window.get("slots", ())]
    for start in range(0, len(cells), COLUMNS):
        table.add_row(*cells[start : start + COLUMNS])
    target = seen.target
    title = f"Slots: {target.calls} calls in any {target.window_s:g} s"
    return Panel(table if cells else Text("…"), title=title, expand=False)


def _slot(slot: dict[str, Any], now_s: float) -> Text:
    left_s = datetime.fromisoformat(slot["free_at"]).timestamp() - now_s if slot["free_at"] else 0
    if left_s <= 0:
        return Text("  free  ", style="dim")
    return Text(f"{slot['kind']:>5} {left_s:2.0f}", style=f"reverse {KIND_STYLES.get(slot['kind'], 'white')}")


def _figures(seen: Seen, total: int, now_s: float) -> RenderableType:
    done = sum(request.done_at_s is not None for request in seen.sent)
    signed = sum(bool(request.signature) for request in seen.sent)
    slowest_s = max((request.took_s for request in seen.answered if request.took_s is not None), default=0.0)
    worst_style = "bold red" if seen.worst > seen.target.calls else "bold green"
    table = Table.grid(padding=(0, 2))
    rows: list[tuple[str, RenderableType, str]] = [
        ("sent", _bar(len(seen.sent), total), f"{len(seen.sent)} of {total}"),
        ("answered", _bar(len(seen.answered), total), f"slowest {slowest_s:.2f} s (promised: 2 s)"),
        ("signed", _bar(signed, total), f"{signed} of {total}"),
        ("delivered", _bar(len(seen.delivered), len(seen.accepted)), f"{len(seen.delivered)} webhooks"),
        ("queue", Text(_queue(seen)), ""),
        ("calls in the window", _bar(seen.within(now_s), seen.target.calls), ""),
        ("worst window", Text(f"{seen.worst} of {seen.target.calls}", style=worst_style), "counted upstream"),
        ("first estimate", Text(_estimates(seen)), ""),
        ("elapsed", Text(f"{now_s - seen.began_s:.0f} s"), f"{total - done} to come"),
    ]
    for row in rows:
        table.add_row(*row)
    return table


def _bar(value: int, total: int) -> ProgressBar:
    return ProgressBar(total=max(1, total), completed=value, width=30)


def _queue(seen: Seen) -> str:
    counts = {name: seen.console.get(name, {}).get("count", 0) for name in ("waiting", "retrying")}
    return f"{counts['waiting']} waiting, {counts['retrying']} retrying"


def _estimates(seen: Seen) -> str:
    """Return the error of the 202s' estimates, over the requests whose first call signed them."""
    called: dict[str, int] = {}
    for call in seen.calls:
        called[call.message] = called.get(call.message, 0) + 1
    errors_s = [
        abs(request.done_at_s - request.estimated_at_s)
        for request in seen.accepted
        if request.done_at_s and request.estimated_at_s and called.get(request.message) == 1
    ]
    return f"off by {median(errors_s):.1f} s (median of {len(errors_s)})" if errors_s else "-"
