"""Idempotent requests: the same key with the same parameters gets the first answer again.

    first   take the key ──▶ work ──▶ store the reply ──▶ answer
    again                take: held ──▶ wait for the reply ──▶ the same answer

An error (4xx, 5xx) accepts nothing, so it releases the key: the next request with it counts as the first one.
After a 503 the request may have been stored, or may still be; after a crash the key has no reply. In both
cases the key keeps its request id, under which an accepted request is stored only once. The next request
continues with that id: if it is stored by then, it is answered, whatever would refuse a new one.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace

from fastapi import Response

from core.claim import Claim, Reply, freed, given_up
from core.errors import Unavailable
from ports import ClaimStore, Clock, Telemetry
from web.deadline import Deadline
from web.problems import STILL_ANSWERING, InvalidParameter, RequestProblem

POLL_MS = 100
OK_MAX = 299
SERVICE_UNAVAILABLE = 503
KEY_LENGTH_MAX = 255
NAME = "Idempotency-Key"
QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
ESCAPED = re.compile(r"\\(.)")

Work = Callable[[str], Awaitable[Response]]
"""Answers the request with this id."""


def parse_key(value: str) -> str:
    """Return an `Idempotency-Key`, bare or as a quoted string (RFC 9651); raises `InvalidParameter`."""
    key = value.strip()
    if quoted := QUOTED.fullmatch(key):
        key = ESCAPED.sub(r"\1", quoted[1])
    elif key.startswith('"'):
        raise InvalidParameter(NAME, "must be one string, bare or in double quotes")
    if not 0 < len(key) <= KEY_LENGTH_MAX or not (key.isascii() and key.isprintable()):
        raise InvalidParameter(NAME, f"must be 1 to {KEY_LENGTH_MAX} printable ASCII characters")
    return key


class Repeats:
    """Answers repeated requests with the first answer."""

    def __init__(self, store: ClaimStore, clock: Clock, telemetry: Telemetry) -> None:
        self._store = store
        self._clock = clock
        self._telemetry = telemetry

    async def answer(self, claim: Claim, deadline: Deadline, work: Work) -> Response:
        """Process a request once, and answer all its repetitions with the same answer.

        Raises `InvalidParameter` if the key was used with other parameters, `RequestProblem` while the first
        request is being processed, and `Unavailable`.
        """
        async with deadline.limit():
            held = await self._take(claim, deadline)
        if held.reply:
            self._telemetry.event("answer_repeated", request_id=held.request_id)
            return Response(held.reply.body, held.reply.status, dict(held.reply.headers), "application/json")
        response = await work(held.request_id)
        first = held.request_id == claim.request_id
        await self._keep(held, _answered(held, response, first=first), deadline)
        return response

    async def _take(self, claim: Claim, deadline: Deadline) -> Claim:
        """Return a claim without a reply, for this request to process, or a claim with a reply."""
        while True:
            held = await self._store.take(claim)
            if held == claim:
                return claim
            if held.parameters != claim.parameters:
                raise InvalidParameter(NAME, "was used for a request with other parameters")
            if held.reply:
                return held
            if held.abandoned(now_ms := self._clock.now_ms()):
                renewed = replace(held, claimed_ms=now_ms)
                if await self._store.write(held, renewed):
                    return renewed
            if deadline.left_ms() <= 2 * POLL_MS:
                raise RequestProblem(STILL_ANSWERING)
            await self._clock.sleep_ms(POLL_MS)
            claim = replace(claim, claimed_ms=self._clock.now_ms())

    async def _keep(self, claim: Claim, after: Claim, deadline: Deadline) -> None:
        """Store the reply, or release the key after an error. If that fails, the key is soon abandoned."""
        try:
            async with asyncio.timeout(deadline.left_s()):
                await self._store.write(claim, after)
        except (Unavailable, TimeoutError) as error:
            self._telemetry.event(
                "answer_not_kept", request_id=claim.request_id, reason=str(error) or "timeout"
            )


def _answered(claim: Claim, response: Response, *, first: bool) -> Claim:
    """Return the claim as it is after an answer. `first`: no earlier request may still be stored."""
    if response.status_code == SERVICE_UNAVAILABLE:
        return given_up(claim)
    if response.status_code > OK_MAX:
        return freed(claim) if first else given_up(claim)
    headers = tuple((name, value) for name, value in response.headers.items() if name != "content-length")
    return replace(claim, reply=Reply(response.status_code, headers, bytes(response.body).decode()))
