"""Starts the delivery of a webhook again, for whoever repaired its receiver."""

from core import request as requests
from core.errors import RelayError
from core.request import DeliveryState, Request
from ports import JobStore, Written


class NotReplayable(RelayError):
    """There is no webhook to send again now."""


async def replay(store: JobStore, request: Request, now_ms: int) -> Request:
    """Make the delivery due at once, from its first attempt; the processor finds it on the due index.

    Raises `NotReplayable`, and `Unavailable`.
    """
    delivery = request.delivery
    if delivery.state is DeliveryState.NONE:
        raise NotReplayable("it has no webhook, or its outcome is still to come")
    if now_ms < delivery.until_ms:
        raise NotReplayable("an attempt is under way")
    after = requests.replay_delivery(request, now_ms, queued=False)
    result = await store.write_request(request, after)
    if not isinstance(result, Written):
        raise NotReplayable("its delivery has just changed")
    return result.record
