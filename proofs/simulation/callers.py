"""What callers do besides asking once: repeat with a key, cancel, and list what is theirs."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from proofs.simulation.checks import ANSWER_MS_MAX, Answer, Checks
from proofs.simulation.plan import Call, Cancellation

TRY_AGAIN = frozenset({409, 503})
TRIES_MAX = 8
AGAIN_S = (0.1, 1.0, 3.5)
PAGE = 3
PAGES_MAX = 1_000


class Service(Protocol):
    """The service, as its callers reach it."""

    async def request(
        self,
        client: str,
        request_id: str,
        path: str,
        *,
        method: str = "GET",
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        answer_ms_max: int = ANSWER_MS_MAX,
    ) -> Answer | None:
        """Send one request under this id to some instance; None if the caller gets no answer."""
        ...

    def new_id(self) -> str:
        """Return a request id that was never used."""
        ...


@dataclass(frozen=True, slots=True)
class Callers:
    """Sends what callers send, and tells the checks what they get."""

    service: Service
    checks: Checks
    rng: Random

    async def sign(self, call: Call) -> Answer | None:
        """Ask for a signature; with an `Idempotency-Key` again and again, until there is an answer."""
        if not call.key:
            return await self._ask(call)
        first = await self._until_answered(call)
        if first and self.rng.random() < 0.5:
            await asyncio.gather(*(self._until_answered(call) for _ in range(self.rng.choice((1, 2)))))
        return first

    async def _until_answered(self, call: Call) -> Answer | None:
        for _ in range(TRIES_MAX):
            answer = await self._ask(call)
            if answer and answer.status not in TRY_AGAIN:
                return answer
            await asyncio.sleep(self.rng.choice(AGAIN_S))
        return None

    async def _ask(self, call: Call) -> Answer | None:
        request_id = self.service.new_id()
        self.checks.asked(call, request_id)
        preferences = [*(["respond-async"] if call.keep else []), *(["wait=1"] if call.hurried else [])]
        headers = {"Prefer": ", ".join(preferences), "Idempotency-Key": call.key}
        query = {"message": call.message, "webhook_url": call.webhook_url}
        answer = await self.service.request(
            call.client,
            request_id,
            "/crypto/sign",
            query={name: value for name, value in query.items() if value},
            headers={name: value for name, value in headers.items() if value},
            answer_ms_max=1_000 if call.hurried else ANSWER_MS_MAX,
        )
        if answer:
            self.checks.answered(call, answer)
        return answer

    async def cancel(self, call: Call, request_id: str, wanted: Cancellation) -> None:
        """Cancel a request some time after its acceptance, until there is an answer."""
        await asyncio.sleep(wanted.after_ms / 1000)
        while not self.checks.violations:
            answer = await self.service.request(
                call.client,
                self.service.new_id(),
                f"/crypto/requests/{request_id}",
                method="DELETE",
                query={"notify": str(wanted.notify).lower()},
            )
            if answer and answer.status != 503:
                self.checks.cancelled(request_id, answer)
                return
            await asyncio.sleep(self.rng.choice(AGAIN_S))

    async def list_own(self, client: str) -> None:
        """Read all pages of a caller's own requests."""
        wanted = self.checks.listable(client)
        seen, cursor = list[str](), ""
        for _ in range(PAGES_MAX):
            page = await self._page(client, cursor)
            if page is None:
                return
            seen += [row["request_id"] for row in page.body["requests"]]
            cursor = page.body.get("next_cursor") or ""
            if not cursor:
                self.checks.listed(client, seen, wanted)
                return

    async def _page(self, client: str, cursor: str) -> Answer | None:
        query = {"limit": PAGE, **({"cursor": cursor} if cursor else {})}
        for _ in range(TRIES_MAX):
            page = await self.service.request(client, self.service.new_id(), "/crypto/requests", query=query)
            if page and page.status == 200:
                return page
            await asyncio.sleep(self.rng.choice(AGAIN_S))
        return None
