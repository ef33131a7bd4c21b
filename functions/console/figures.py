"""Figures of a list of requests: their speed, the errors of estimates, their deliveries. Pure functions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from core.request import DeliveryState, Request, RequestState

SPAN_MS = 300_000
SPAN_MS_MIN = 1_000


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures of the listed requests. `signed`: in the last `span_ms`; a median of no values is None.

    `estimate_error_ms`: how far the end of the first call was from what its caller was told.
    """

    signed: int
    span_ms: int
    time_to_signature_ms: int | None
    estimate_error_ms: int | None
    delivered: int
    failing: int
    undeliverable: int


def figures(requests: Sequence[Request], now_ms: int, listed_since_ms: int) -> Figures:
    """Return the figures. All requests that were signed since `listed_since_ms` must be in the list."""
    since_ms = min(max(listed_since_ms, now_ms - SPAN_MS), now_ms - SPAN_MS_MIN)
    signed = [request for request in requests if request.state is RequestState.SIGNED]
    return Figures(
        signed=sum(request.closed_ms > since_ms for request in signed),
        span_ms=now_ms - since_ms,
        time_to_signature_ms=_median(request.closed_ms - request.created_ms for request in signed),
        estimate_error_ms=_median(_estimate_errors_ms(requests)),
        delivered=sum(request.delivery.state is DeliveryState.DELIVERED for request in requests),
        failing=sum(request.delivery_due and bool(request.delivery.reason) for request in requests),
        undeliverable=sum(request.undelivered for request in requests),
    )


def _estimate_errors_ms(requests: Iterable[Request]) -> list[int]:
    """Return the errors for requests that ended with their first call: estimates are only for that call."""
    return [
        abs(request.closed_ms - request.estimated_ms)
        for request in requests
        if request.calls == 1 and request.estimated_ms
    ]


def _median(values: Iterable[int]) -> int | None:
    known = list(values)
    return round(median(known)) if known else None
