"""What a list of requests comes to."""

from dataclasses import replace

import pytest

from console.figures import Figures, figures
from core import request as requests
from core.request import Request

NOW_MS = 1_800_000_000_000
OPEN = Request("id", "job", "hello", "alice", "https://example.com/hook", NOW_MS - 60_000, due_ms=NOW_MS)


def signed(at_ms: int, *, took_ms: int = 1_000, calls: int | None = 1, told_ms: int | None = None) -> Request:
    """Return a request that was signed then; `told_ms`: how long its caller was told that it would take."""
    created_ms = at_ms - took_ms
    estimated_ms = None if told_ms is None else created_ms + told_ms
    request = replace(OPEN, created_ms=created_ms, estimated_ms=estimated_ms)
    return requests.close_signed(request, "signature", at_ms, calls=calls)


def test_nothing_comes_to_nothing() -> None:
    """A median of nothing is not known; everything else is none."""
    assert figures([], NOW_MS, 0) == Figures(0, 300_000, None, None, 0, 0, 0)


def test_throughput_is_of_the_last_five_minutes() -> None:
    """What was signed before is in the medians, not in the rate."""
    requests = [signed(NOW_MS - ago_ms) for ago_ms in (0, 299_999, 300_000)]
    found = figures(requests, NOW_MS, 0)
    assert (found.signed, found.span_ms) == (2, 300_000)


def test_throughput_is_of_what_the_list_covers() -> None:
    """Where the list goes back a minute only, a minute is what it is judged by; never less than a second."""
    requests = [signed(NOW_MS - ago_ms) for ago_ms in (0, 500, 59_999, 60_001)]
    minute, moment = figures(requests, NOW_MS, NOW_MS - 60_000), figures(requests, NOW_MS, NOW_MS)
    assert (minute.signed, minute.span_ms) == (3, 60_000)
    assert (moment.signed, moment.span_ms) == (2, 1_000)


def test_time_to_signature_is_the_median_of_the_signed() -> None:
    """From acceptance; failures take no part."""
    signed_ones = [signed(NOW_MS, took_ms=took_ms) for took_ms in (1_000, 9_000, 2_000)]
    failed = requests.close_failed(OPEN, 504, "too_old", NOW_MS, calls=9)
    assert figures([*signed_ones, failed], NOW_MS, 0).time_to_signature_ms == 2_000


@pytest.mark.parametrize(
    ("request_", "expected_ms"),
    [
        (signed(NOW_MS, took_ms=1_000, told_ms=3_500), 2_500),
        (signed(NOW_MS, took_ms=1_000, told_ms=400), 600),
        (signed(NOW_MS, told_ms=400, calls=2), None),
        (signed(NOW_MS, told_ms=400, calls=0), None),
        (signed(NOW_MS, told_ms=400, calls=None), None),
        (signed(NOW_MS), None),
        (replace(OPEN, estimated_ms=NOW_MS), None),
        (requests.close_failed(replace(OPEN, estimated_ms=NOW_MS - 7), 502, "refused", NOW_MS, calls=1), 7),
    ],
)
def test_an_estimate_is_judged_by_the_first_call_alone(request_: Request, expected_ms: int | None) -> None:
    """It foretold that call's end: what a later one ended, or one of before the acceptance, says nothing."""
    assert figures([request_], NOW_MS, 0).estimate_error_ms == expected_ms


def test_webhooks_are_counted_by_what_became_of_them() -> None:
    """A pending one fails once an attempt has; gone and undeliverable are both given up."""
    pending = signed(NOW_MS)
    listed = [
        pending,
        requests.delivery_failed(pending, NOW_MS, NOW_MS + 5_000, "http_500", "", queued=True),
        requests.delivered(pending, NOW_MS, "http_204"),
        requests.delivered(pending, NOW_MS, "http_200"),
        requests.undeliverable(pending, NOW_MS, "http_500", ""),
        requests.delivery_gone(pending, NOW_MS, "http_410", ""),
    ]
    found = figures(listed, NOW_MS, 0)
    assert (found.delivered, found.failing, found.undeliverable) == (2, 1, 2)
