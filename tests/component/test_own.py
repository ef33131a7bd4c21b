"""What is a caller's own: its list, giving up, and its webhook again."""

from dataclasses import replace
from typing import Any

import httpx
import pytest

from api import own
from core import job as jobs
from core import request as requests
from core.job import JobState
from core.request import Request
from ports import OwnKey
from tests.component.test_api import AUTH, check_problem, in_world, sign
from tests.component.world import HOOK, SIGNATURE, ApiWorld, Down

BOB = {"Authorization": "key-of-bob"}


async def accepted(world: ApiWorld, client: httpx.AsyncClient, text: str, **headers: str) -> str:
    """Return the id of a request that waits; each is accepted a moment after the last."""
    world.fill_window()
    await world.clock.sleep_ms(1)
    request_id: str = (await sign(client, text, HOOK, **headers)).json()["request_id"]
    return request_id


async def stored(world: ApiWorld, request_id: str) -> Request:
    request = await world.store.request(request_id)
    assert request
    return request


async def signed(world: ApiWorld, request_id: str) -> None:
    request = await stored(world, request_id)
    await world.store.write_request(request, requests.close_signed(request, SIGNATURE, world.clock.now_ms()))


def test_own_requests_are_listed_newest_first() -> None:
    """By pages, of any state, and nobody else's."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client()
        ids = [await accepted(world, client, f"message {number}") for number in range(5)]
        await accepted(world, client, "another's", **BOB)
        found, cursor = [], ""
        while True:
            url = "/crypto/requests?limit=2" + (f"&cursor={cursor}" if cursor else "")
            body = (await client.get(url, headers=AUTH)).json()
            found += [row["request_id"] for row in body["requests"]]
            cursor = body.get("next_cursor", "")
            if not cursor:
                break
        assert found == ids[::-1]

    in_world(scenario)


def test_a_list_by_state() -> None:
    """Only those in that state; `open` for what waits or is retried."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client()
        first, second, third = [await accepted(world, client, text) for text in ("a", "b", "c")]
        await signed(world, first)
        await client.delete(f"/crypto/requests/{second}", headers=AUTH)
        for state, request_id in (("signed", first), ("cancelled", second), ("open", third)):
            body = (await client.get(f"/crypto/requests?state={state}", headers=AUTH)).json()
            assert [row["request_id"] for row in body["requests"]] == [request_id]
        refused = await client.get("/crypto/requests?state=lost", headers=AUTH)
        assert check_problem(refused, 422, "invalid-parameter")["parameter"] == "state"

    in_world(scenario)


def test_who_cancels_holds_no_newcomer_back() -> None:
    """A message that nobody waits for any more counts as waiting no more: others are answered at once."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client()
        request_id = await accepted(world, client, "a")
        await client.delete(f"/crypto/requests/{request_id}", headers=AUTH)
        world.fill_window(0)
        assert (await sign(client, "b", **BOB)).status_code == 200

    in_world(scenario)


async def test_a_cursor_may_be_written_in_capitals() -> None:
    """Ids are the same in upper case, here as elsewhere."""
    cursor = OwnKey("01a3185c-5000-78a7-ae51-19e75469a8c3", 1)
    assert own.parse_cursor("1.01A3185C-5000-78A7-AE51-19E75469A8C3") == cursor


FAR_CURSOR = f"cursor={'9' * 5_000}.01a3185c-5000-78a7-ae51-19e75469a8c3"


@pytest.mark.parametrize(
    "query", [FAR_CURSOR, "cursor=x", "cursor=1.x", "limit=0", "limit=101", "status=open"]
)
def test_a_list_that_can_t_be(query: str) -> None:
    """422, as for signing."""

    async def scenario(world: ApiWorld) -> None:
        response = await world.client().get(f"/crypto/requests?{query}", headers=AUTH)
        assert check_problem(response, 422, "invalid-parameter")["parameter"] == query.partition("=")[0]

    in_world(scenario)


def test_a_cancelled_request_is_told_and_called_no_more() -> None:
    """Its outcome is final, its webhook due, and its job off the schedule; once more changes nothing."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client()
        request_id = await accepted(world, client, "hello")
        for _ in range(2):
            response = await client.delete(f"/crypto/requests/{request_id}", headers=AUTH)
            assert (response.status_code, response.json()["state"]) == (200, "cancelled")
        request = await stored(world, request_id)
        assert request.delivery_due
        assert len(world.notifications.texts) == 1
        job = await world.store.job(jobs.job_id("hello"))
        assert job
        assert job.state is JobState.IDLE

    in_world(scenario)


def test_a_cancellation_that_was_cut_short_is_finished_by_its_repetition() -> None:
    """Else its message would stay on the schedule, although nobody waits for it."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client()
        request_id = await accepted(world, client, "hello")
        write = world.store.write_job
        world.store.write_job = Down().write_job  # type: ignore[method-assign, assignment]
        cut = await client.delete(f"/crypto/requests/{request_id}", headers=AUTH)
        check_problem(cut, 503, "service-unavailable")
        world.store.write_job = write  # type: ignore[method-assign]
        assert (await client.delete(f"/crypto/requests/{request_id}", headers=AUTH)).status_code == 200
        job = await world.store.job(jobs.job_id("hello"))
        assert job
        assert not job.scheduled

    in_world(scenario)


def test_a_cancellation_keeps_what_a_newer_version_wrote() -> None:
    """The request changes between the read and the write; the attributes of the change stay."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client()
        request_id = await accepted(world, client, "hello")
        write = world.store.write_request

        async def write_late(before: Request, after: Request) -> Any:
            world.store.write_request = write  # type: ignore[method-assign]
            current = await stored(world, request_id)
            await write(current, replace(current, others={"of_a_newer_version": 1}))
            return await write(before, after)

        world.store.write_request = write_late  # type: ignore[method-assign]
        await client.delete(f"/crypto/requests/{request_id}", headers=AUTH)
        cancelled = await stored(world, request_id)
        assert (cancelled.cancelled, cancelled.others) == (True, {"of_a_newer_version": 1})

    in_world(scenario)


def test_a_cancellation_can_be_silent() -> None:
    """With `notify=false` no webhook is sent."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client()
        request_id = await accepted(world, client, "hello")
        await client.delete(f"/crypto/requests/{request_id}?notify=false", headers=AUTH)
        assert not (await stored(world, request_id)).delivery_due

    in_world(scenario)


def test_others_who_wait_are_served() -> None:
    """The job stays on the schedule for another caller of the same message."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client()
        mine = await accepted(world, client, "hello")
        theirs = await accepted(world, client, "hello", **BOB)
        await client.delete(f"/crypto/requests/{mine}", headers=AUTH)
        job = await world.store.job(jobs.job_id("hello"))
        assert job
        assert job.scheduled
        assert (await stored(world, theirs)).open

    in_world(scenario)


def test_only_an_open_request_of_ones_own_is_cancelled() -> None:
    """404 for another's and an unknown one, 409 for one that was signed."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client()
        request_id = await accepted(world, client, "hello")
        check_problem(await client.delete(f"/crypto/requests/{request_id}", headers=BOB), 404, "not-found")
        check_problem(await client.delete("/crypto/requests/nonsense", headers=AUTH), 404, "not-found")
        await signed(world, request_id)
        refused = await client.delete(f"/crypto/requests/{request_id}", headers=AUTH)
        check_problem(refused, 409, "already-ended")

    in_world(scenario)


def test_ones_own_webhook_is_sent_again() -> None:
    """Once it has ended; another's is not found, and one that never was can't be sent again."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client()
        request_id = await accepted(world, client, "hello")
        url = f"/crypto/requests/{request_id}/replay"
        check_problem(await client.post(url, headers=AUTH), 409, "not-replayable")
        await client.delete(f"/crypto/requests/{request_id}", headers=AUTH)
        request = await stored(world, request_id)
        await world.store.write_request(
            request, requests.delivered(request, world.clock.now_ms(), "http_204")
        )
        check_problem(await client.post(url, headers=BOB), 404, "not-found")
        replayed = await client.post(url, headers=AUTH)
        assert (replayed.status_code, replayed.json()["delivery"]["state"]) == (200, "pending")

    in_world(scenario)
