"""Faults in what keeps one receiver from holding up another: each must make a fast test fail."""

import asyncio
from dataclasses import replace
from typing import Any

from core.circuit import host_name
from core.in_flight import PLACES_MAX, Lease
from proofs.mutations.fault import Breaking, Fault, Function
from proofs.mutations.window import with_argument, with_result

RECEIVERS = "component/test_notifier.py::"


def _nothing_received(_: Function) -> Function:
    async def more(*_args: Any) -> set[asyncio.Task[bool]]:
        return set()

    return more


def _parked_one_by_one(right: Function) -> Function:
    """Let each webhook of a queue wait in a message of its own."""

    async def park(queues: Any, queue: Any, deferral: Any) -> None:
        entries, queue.waiting = queue.waiting, []
        for entry in entries:
            queue.waiting = [entry]
            await right(queues, queue, deferral)

    return park


def _obeyed(right: Function) -> Function:
    """Wait for as long as the receiver asks, however short."""

    def next_attempt_ms(
        attempts: int, now_ms: int, delays_ms: Any, fraction: float, retry_after_ms: Any = None
    ) -> Any:
        if retry_after_ms is None or attempts > len(delays_ms):
            return right(attempts, now_ms, delays_ms, fraction)
        return now_ms + retry_after_ms

    return next_attempt_ms


def _fault(name: str, breaks: dict[str, Breaking], *tests: str) -> Fault:
    return Fault(name, breaks, tuple(RECEIVERS + test for test in tests))


def _anonymous(_: Any, lease: Lease, *__: Any) -> Lease:
    return replace(lease, client=lease.id)


FAULTS = (
    _fault(
        "a path that fails closes its host",
        {"receiver_name": with_result(lambda _, client, url: f"{client} {host_name(url)}")},
        "test_a_good_path_is_served_beside_a_bad_one",
    ),
    _fault(
        "a caller may take every place of a host",
        {"occupy": with_argument(1, _anonymous)},
        "test_hanging_paths_of_one_caller_leave_a_place_for_another",
    ),
    _fault(
        "a receiver that was never tried may take every place",
        {"occupy": with_argument(2, lambda *_: PLACES_MAX)},
        "test_a_good_path_is_served_beside_a_bad_one",
    ),
    _fault(
        "the address is not asked for a place",
        {"_targets": with_result(lambda targets, *_: targets[:1])},
        "test_names_of_one_address_share_its_places",
    ),
    _fault(
        "a notifier waits for its slowest receiver",
        {"Batch._receive_more": _nothing_received},
        "test_a_thousand_bad_receivers_delay_no_good_one",
    ),
    _fault(
        "webhooks wait one by one",
        {"ReceiverQueues._park": _parked_one_by_one},
        "test_webhooks_that_wait_for_a_dead_receiver_cost_what_the_receiver_costs",
    ),
    Fault(
        "a short Retry-After replaces the schedule",
        {"next_attempt_ms": _obeyed},
        ("unit/test_webhook.py",),
    ),
)
