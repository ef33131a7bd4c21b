"""The comparison as one SVG picture that is legible on light and on dark pages."""

from collections.abc import Iterator, Sequence

from benchmarks.compare import BOUND, BURST, FIFO, RANDOM, RELAY, Outcome, by_load

WIDTH = 760
TOP, LEFT, ROW, BAR = 64, 130, 26, 18
SHORT = {BOUND: "bound", RELAY: "signing relay", FIFO: "FIFO, exponential", RANDOM: "random order"}
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600 } .note { font-size: 12px; fill: #59636e }
  .bound { fill: #59a14f } .relay { fill: #2f81f7 } .fifo { fill: #d9822b } .random { fill: #8c959f }
  @media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .note { fill: #9198a1 } }
"""
CLASSES = {BOUND: "bound", RELAY: "relay", FIFO: "fifo", RANDOM: "random"}
RIGHT = 430
RIGHT_LABELS = 100
LEFT_WIDTH, RIGHT_WIDTH = 200, 170


def chart(outcomes: Sequence[Outcome]) -> str:
    """Draw the drain of the burst, and the answers at once of every other load."""
    loads = by_load(outcomes)
    steady = [outcome for outcome in outcomes if outcome.load != BURST]
    height = TOP + max(len(SHORT) * ROW, len(steady) * (ROW + 10)) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        "<title>How fast a burst drains, and how many requests are answered at once</title>",
        f"<style>{STYLE}</style>",
    ]
    if BURST in loads:
        parts += _drain(loads[BURST])
    if steady:
        parts += _at_once(steady)
    return "\n".join([*parts, "</svg>", ""])


def _text(x: float, y: float, text: str, extra: str = "") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}"{extra}>{text}</text>'


def _bar(x: float, y: float, width: float, height: float, policy: str) -> str:
    name = CLASSES[policy]
    return f'<rect class="{name}" x="{x:.0f}" y="{y:.0f}" width="{width:.1f}" height="{height}" rx="2"/>'


def _drain(outcome: Outcome) -> Iterator[str]:
    longest_s = max(outcome.policies[policy].last_done_s for policy in SHORT)
    yield _text(10, 22, "A burst of 60 is done after", ' class="title"')
    yield _text(10, 42, "seconds; shorter is better", ' class="note"')
    for row, (policy, label) in enumerate(SHORT.items()):
        done_s = outcome.policies[policy].last_done_s
        width, y = LEFT_WIDTH * done_s / longest_s, TOP + row * ROW
        yield _text(LEFT - 8, y + 14, label, ' text-anchor="end"')
        yield _bar(LEFT, y, width, BAR, policy)
        yield _text(LEFT + width + 6, y + 14, f"{done_s:.0f}")


def _at_once(outcomes: Sequence[Outcome]) -> Iterator[str]:
    most = max(outcome.policies[policy].at_once for outcome in outcomes for policy in (RELAY, FIFO))
    yield _text(RIGHT, 22, "Answered with a signature at once", ' class="title"')
    yield _text(RIGHT, 42, "requests; signing relay above FIFO", ' class="note"')
    for row, outcome in enumerate(outcomes):
        y = TOP + row * (ROW + 10)
        yield _text(RIGHT, y + 18, outcome.load)
        for offset, policy in enumerate((RELAY, FIFO)):
            count = outcome.policies[policy].at_once
            x, width = RIGHT + RIGHT_LABELS, RIGHT_WIDTH * count / most
            yield _bar(x, y + offset * 14, width, 12, policy)
            yield _text(x + width + 6, y + offset * 14 + 11, f"{count:.0f}", ' class="note"')
