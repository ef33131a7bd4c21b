"""A burst as an SVG: arrivals at the upstream against the limit, and each request from arrival to outcome."""

from collections.abc import Iterator
from html import escape

from infra.demo.burst import Seen, Sent

WIDTH, LEFT, RIGHT = 960, 56, 24
PLOT = WIDTH - LEFT - RIGHT
TOP, STEPS_HEIGHT, GAP = 70, 150, 64
ROW_HEIGHT = 8
LEGEND = (
    ("ok", "call that signed"),
    ("bad", "call that failed"),
    ("wait", "waiting"),
    ("done", "signature delivered"),
    ("refused", "refused"),
)
STYLE = """
  svg { color-scheme: light dark; }
  text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .quiet { fill: #57606a; } .title { font-size: 17px; }
  .ground { fill: #fff; } .axis { stroke: #d5d9de; } .limit { stroke: #a40e26; stroke-dasharray: 6 4; }
  .steps { fill: none; stroke: #0550ae; stroke-width: 1.5; } .wait { stroke: #aab2bb; fill: #aab2bb; }
  .ok { fill: #0550ae; stroke: none; } .bad { fill: #b35900; stroke: none; }
  .done { fill: #116329; stroke: none; }
  .refused { fill: none; stroke: #a40e26; stroke-width: 1.5; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } .quiet { fill: #9aa4af; } .ground { fill: #0d1117; } .axis { stroke: #3a4048; }
    .limit { stroke: #ff7b72; } .steps { stroke: #79c0ff; } .wait { stroke: #59626d; fill: #59626d; }
    .ok { fill: #79c0ff; } .bad { fill: #ffa657; } .done { fill: #56d364; }
    .refused { stroke: #ff7b72; }
  }
"""


def draw(seen: Seen) -> str:
    """Return the picture."""
    return "\n".join(_Picture(seen).elements())


class _Picture:
    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self._requests = sorted(seen.sent, key=lambda request: request.at_s)
        ends_s = [request.done_at_s or request.at_s for request in seen.sent]
        calls_s = [call.t for call in seen.calls]
        self._span_s = max(1.0, max([*ends_s, *calls_s], default=0.0) - seen.began_s)
        self._rows_at = TOP + STEPS_HEIGHT + GAP
        self._height = self._rows_at + ROW_HEIGHT * len(self._requests) + 44

    def elements(self) -> Iterator[str]:
        target, worst = self._seen.target, self._seen.worst
        title = f"{len(self._requests)} requests, at most {worst} upstream calls in any {target.window_s:g} s"
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self._height}" '
            f'role="img" aria-labelledby="title">'
        )
        yield f'<title id="title">{escape(title)}</title><style>{STYLE}</style>'
        yield f'<rect class="ground" width="{WIDTH}" height="{self._height}"/>'
        yield f'<text class="title" x="{LEFT}" y="28">{escape(title)}</text>'
        yield from self._steps()
        yield from self._rows()
        yield from self._axis()
        yield "</svg>"

    def _x(self, at_s: float) -> float:
        return round(LEFT + PLOT * max(0.0, at_s - self._seen.began_s) / self._span_s, 1)

    def _steps(self) -> Iterator[str]:
        """Draw how many calls the last window held at each moment, as the upstream counts them."""
        seen, window_s = self._seen, self._seen.target.window_s
        top_value = max(seen.target.calls, seen.worst) + 1
        bottom = TOP + STEPS_HEIGHT

        def y(value: int) -> float:
            return round(bottom - STEPS_HEIGHT * value / top_value, 1)

        moments_s = sorted({at_s for call in seen.calls for at_s in (call.t, call.t + window_s)})
        end_s = seen.began_s + self._span_s
        path = f"M{LEFT} {y(seen.within(seen.began_s))}"
        for at_s in moments_s:
            if seen.began_s <= at_s <= end_s:
                path += f"H{self._x(at_s)}V{y(seen.within(at_s))}"
        limit = y(seen.target.calls)
        yield f'<text class="quiet" x="{LEFT}" y="{TOP - 14}">calls in the last {window_s:g} s</text>'
        yield f'<line class="axis" x1="{LEFT}" y1="{bottom}" x2="{WIDTH - RIGHT}" y2="{bottom}"/>'
        yield f'<line class="limit" x1="{LEFT}" y1="{limit}" x2="{WIDTH - RIGHT}" y2="{limit}"/>'
        yield f'<text x="{LEFT - 8}" y="{limit + 4}" text-anchor="end">{seen.target.calls}</text>'
        yield f'<path class="steps" d="{path}H{self._x(end_s)}"/>'

    def _rows(self) -> Iterator[str]:
        """Draw one line per request: from its arrival, through its calls, to its outcome."""
        x = LEFT
        for kind, text in LEGEND:
            yield f'<circle class="{kind}" cx="{x + 5}" cy="{self._rows_at - 24}" r="4"/>'
            yield f'<text class="quiet" x="{x + 15}" y="{self._rows_at - 19}">{text}</text>'
            x += 40 + 8 * len(text)
        for number, request in enumerate(self._requests):
            yield from self._row(request, self._rows_at + ROW_HEIGHT * number)

    def _row(self, request: Sent, y: int) -> Iterator[str]:
        ends_s = request.done_at_s or self._seen.began_s + self._span_s
        yield f'<line class="wait" x1="{self._x(request.at_s)}" y1="{y}" x2="{self._x(ends_s)}" y2="{y}"/>'
        for call in self._seen.calls:
            if call.message == request.message:
                kind = "ok" if call.outcome == "signed" else "bad"
                yield f'<circle class="{kind}" cx="{self._x(call.t)}" cy="{y}" r="2.2"/>'
        if request.done_at_s is not None:
            kind = "done" if request.signature else "refused"
            yield f'<circle class="{kind}" cx="{self._x(request.done_at_s)}" cy="{y}" r="2.8"/>'

    def _axis(self) -> Iterator[str]:
        y = self._height - 14
        step_s = next((step for step in (1, 2, 5, 10, 30, 60, 120) if self._span_s / step <= 12), 300)  # noqa: PLR2004
        for at_s in range(0, int(self._span_s) + 1, step_s):
            x = self._x(self._seen.began_s + at_s)
            yield f'<line class="axis" x1="{x}" y1="{self._rows_at - 8}" x2="{x}" y2="{y - 14}"/>'
            yield f'<text class="quiet" x="{x}" y="{y}" text-anchor="middle">{at_s} s</text>'
