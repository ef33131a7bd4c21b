"""Starts the delivery of a webhook again, after its receiver was repaired."""

from calling.conditional import amend_request
from core import request as requests
from core.errors import RelayError
from core.request import DeliveryState, Request
from ports import Requests


class NotReplayable(RelayError):
    """The webhook can't be sent again now; the text says why."""


async def replay(store: Requests, request: Request, now_ms: int) -> Request:
    """Make the delivery pending again, from its first attempt; the caller sends the message.

    If the message is lost, the sweep sends another. Raises `NotReplayable`, and `Unavailable`.
    """

    def again(current: Request) -> Request:
        current = requests.plausible(current, now_ms)
        if current.delivery.state is DeliveryState.NONE:
            raise NotReplayable("The request has no webhook, or no outcome yet.")
        if now_ms < current.delivery.until_ms:
            raise NotReplayable("An attempt is under way.")
        return requests.replay_delivery(current, now_ms)

    replayed = await amend_request(store, request, again)
    if replayed is None:
        raise NotReplayable("The request's record has expired.")
    return replayed
