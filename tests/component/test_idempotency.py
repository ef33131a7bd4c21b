"""A lost answer can be asked for again: `Idempotency-Key`, and a caller's own `reference`."""

import asyncio

import httpx
import pytest

from core import job as jobs
from core import request as requests
from core.answers import Meaning
from core.due_index import DueKind
from core.errors import Unavailable
from core.request import Request
from tests.component.test_api import AUTH, check_problem, in_world
from tests.component.world import HOOK, SIGNATURE, ApiWorld, Down

KEY = '"8e03978e-40d5-43e8-bc93-6894a57f9324"'
DAY_MS = 24 * 3_600_000


async def ask(client: httpx.AsyncClient, key: str = KEY, auth: str = "", **params: str) -> httpx.Response:
    headers = {"Authorization": auth or AUTH["Authorization"], "Idempotency-Key": key}
    return await client.get("/crypto/sign", params={"message": "hello", **params}, headers=headers)


def test_a_lost_202_is_given_again() -> None:
    """The same id, the same link, one request stored; bare, quoted and escaped, the key is the same."""

    async def scenario(world: ApiWorld) -> None:
        world.fill_window()
        client = world.client()
        first = await ask(client, webhook_url=HOOK)
        assert first.status_code == 202
        again = await ask(world.client(), KEY.strip('"'), webhook_url=HOOK)
        assert (again.status_code, again.content) == (202, first.content)
        assert again.headers["location"] == first.headers["location"]
        escaped = KEY.replace("8e03", '8e\\"03')
        fourth = await ask(client, escaped, webhook_url=HOOK)
        fifth = await ask(client, escaped.strip('"').replace("\\", ""), webhook_url=HOOK)
        assert fifth.content == fourth.content != first.content
        _, page = await world.store.load(jobs.job_id("hello"))
        assert len(page.requests) == 2

    in_world(scenario)


def test_a_200_is_given_again() -> None:
    """Also when the signature would be made anew by then; after a day the key is free."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client()
        first = await ask(client)
        await world.clock.sleep_ms(DAY_MS - 1_000)
        assert (await ask(client)).content == first.content
        assert world.upstream.calls == ["hello"]
        await world.clock.sleep_ms(1_000)
        assert (await ask(client)).json()["request_id"] != first.json()["request_id"]

    in_world(scenario)


@pytest.mark.parametrize("changed", [{"message": "other"}, {"webhook_url": HOOK}, {"reference": "mine"}])
def test_a_key_stands_for_its_parameters(changed: dict[str, str]) -> None:
    """Other parameters: 422, and nothing is called."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client()
        await ask(client)
        refused = check_problem(await ask(client, **changed), 422, "invalid-parameter")
        assert refused["parameter"] == "Idempotency-Key"
        assert world.upstream.calls == ["hello"]

    in_world(scenario)


def test_a_key_is_its_callers_own() -> None:
    """Another caller may use the same text."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client()
        first, other = await ask(client), await ask(client, auth="key-of-bob")
        assert first.json()["request_id"] != other.json()["request_id"]

    in_world(scenario)


def test_what_promised_nothing_frees_the_key() -> None:
    """After a 502 the same key tries again."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client()
        world.upstream.meaning, world.upstream.status = Meaning.FAILED, 502
        check_problem(await ask(client), 502, "upstream-failed")
        await world.clock.sleep_ms(40_000)
        world.upstream.meaning, world.upstream.status = Meaning.SIGNED, 200
        assert (await ask(client)).status_code == 200

    in_world(scenario)


def test_a_caller_in_a_hurry_gets_its_answer_in_time_with_a_key_too() -> None:
    """`wait=1` bounds all that the answer waits for: the key, the secret, the call and the kept reply."""

    async def scenario(world: ApiWorld) -> None:
        hurried = {**AUTH, "Idempotency-Key": KEY, "Prefer": "wait=1"}
        world.upstream.takes_ms = 60_000
        client, path = world.client(), "/crypto/sign?message=hello"
        first = asyncio.create_task(client.get(path, headers={**AUTH, "Idempotency-Key": KEY}))
        await world.clock.sleep_ms(20)
        started_ms = world.clock.monotonic_ms()
        check_problem(await client.get(path, headers=hurried), 409, "still-answering")
        assert world.clock.monotonic_ms() - started_ms <= 1_000
        await first
        world.claims.write = Down(30).write  # type: ignore[method-assign, assignment]
        started_ms = world.clock.monotonic_ms()
        await client.get("/crypto/sign?message=other", headers={**hurried, "Idempotency-Key": "other"})
        assert world.clock.monotonic_ms() - started_ms <= 1_000

    in_world(scenario)


def test_a_repetition_waits_for_the_first_answer() -> None:
    """While the first is worked at: the same answer a moment later, or 409 if that takes too long."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client()
        world.upstream.takes_ms = 600
        first = asyncio.create_task(ask(client))
        await world.clock.sleep_ms(100)
        assert (await ask(client)).content == (await first).content
        world.upstream.takes_ms = 60_000
        first = asyncio.create_task(ask(client, "other", message="slow"))
        await world.clock.sleep_ms(20)
        started_ms = world.clock.monotonic_ms()
        world.claims.write = Down(30).write  # type: ignore[method-assign, assignment]
        check_problem(await ask(client, "other", message="slow"), 409, "still-answering")
        assert world.clock.monotonic_ms() - started_ms < 2_000
        await first

    in_world(scenario)


def test_a_crash_before_the_reply_was_kept_loses_nothing() -> None:
    """The next request goes on under the same id, and finds what was accepted."""

    async def scenario(world: ApiWorld) -> None:
        world.fill_window()
        write = world.claims.write
        world.claims.write = Down().write  # type: ignore[method-assign, assignment]
        first = await ask(world.client(), webhook_url=HOOK)
        world.claims.write = write  # type: ignore[method-assign]
        await world.clock.sleep_ms(3_000)
        again = await ask(world.client(), webhook_url=HOOK)
        assert again.status_code == 202
        assert again.json()["request_id"] == first.json()["request_id"]
        _, page = await world.store.load(jobs.job_id("hello"))
        assert len(page.requests) == 1

    in_world(scenario)


def test_an_acceptance_that_landed_unheard_is_found_by_its_key() -> None:
    """After a 503 nobody knows whether the request was stored: the key goes on with the same id."""

    async def scenario(world: ApiWorld) -> None:
        world.fill_window()
        accept = world.store.accept

        async def accept_unheard(request: Request) -> Request:
            await accept(request)
            raise Unavailable("no answer")

        world.store.accept = accept_unheard  # type: ignore[method-assign]
        first = check_problem(await ask(world.client(), webhook_url=HOOK), 503, "unavailable")
        world.store.accept = accept  # type: ignore[method-assign]
        await world.clock.sleep_ms(1_200)
        again = await ask(world.client(), webhook_url=HOOK)
        assert (again.status_code, again.json()["request_id"]) == (202, first["request_id"])
        _, page = await world.store.load(jobs.job_id("hello"))
        assert len(page.requests) == 1

    in_world(scenario)


def test_what_was_accepted_is_not_refused_when_its_key_comes_again() -> None:
    """A full backlog, or a refused message, concerns new requests: this one is stored, and will be told."""

    async def scenario(world: ApiWorld) -> None:
        world.fill_window()
        write = world.claims.write
        world.claims.write = Down().write  # type: ignore[method-assign, assignment]
        first = await ask(world.client(), webhook_url=HOOK)
        world.claims.write = write  # type: ignore[method-assign]
        await world.clock.sleep_ms(3_000)
        job = await world.store.job(jobs.job_id("hello"))
        assert job
        await world.store.write_job(job, jobs.refused(job, 400, world.clock.now_ms()))
        again = await ask(world.client(), webhook_url=HOOK)
        assert (again.status_code, again.json()["request_id"]) == (202, first.json()["request_id"])
        assert (await ask(world.client(), webhook_url=HOOK)).content == again.content

    in_world(scenario)


def test_a_key_keeps_its_request_while_the_first_one_s_fate_is_not_known() -> None:
    """Its write may still land, although the repetition was refused: then the key finds it."""

    async def scenario(world: ApiWorld) -> None:
        world.fill_window()
        accept, late = world.store.accept, list[Request]()

        async def accept_late(request: Request) -> Request:
            late.append(request)
            raise Unavailable("no answer")

        world.store.accept = accept_late  # type: ignore[method-assign]
        first = check_problem(await ask(world.client(), webhook_url=HOOK), 503, "unavailable")
        world.store.accept = accept  # type: ignore[method-assign]
        job = jobs.refused(jobs.new_job("hello", world.clock.now_ms()), 400, world.clock.now_ms())
        await world.store.write_job(await world.store.job(job.id), job)
        check_problem(await ask(world.client(), webhook_url=HOOK), 502, "upstream-refused")
        await accept(late[0])
        again = await ask(world.client(), webhook_url=HOOK)
        assert (again.status_code, again.json()["request_id"]) == (202, first["request_id"])

    in_world(scenario)


def test_a_repetition_leaves_an_outcome_as_it_is() -> None:
    """The request was closed while its repetition was worked at: its webhook stays due."""

    async def scenario(world: ApiWorld) -> None:
        world.fill_window()
        write, accept = world.claims.write, world.store.accept
        world.claims.write = Down().write  # type: ignore[method-assign, assignment]
        await ask(world.client(), webhook_url=HOOK)
        world.claims.write = write  # type: ignore[method-assign]
        await world.clock.sleep_ms(3_000)

        async def close_then_accept(request: Request) -> Request:
            job, page = await world.store.load(request.job_id)
            assert job
            now_ms = world.clock.now_ms()
            await world.store.write_job(job, jobs.signed(job, SIGNATURE, now_ms))
            await world.store.write_request(
                page.requests[0], requests.close_signed(page.requests[0], SIGNATURE, now_ms)
            )
            return await accept(request)

        world.store.accept = close_then_accept  # type: ignore[method-assign]
        world.store.request = lambda _: asyncio.sleep(0)  # type: ignore[method-assign, assignment]
        assert (await ask(world.client(), webhook_url=HOOK)).json()["signature"] == SIGNATURE
        assert await world.store.due_requests(DueKind.DELIVERY, world.clock.now_ms() + 60_000, 10)

    in_world(scenario)


@pytest.mark.parametrize("key", ['""', "ä" * 3, "a" * 256, '"open', '"one", "two"'])
def test_a_key_that_can_t_be_one(key: str) -> None:
    """422 that names the header."""

    async def scenario(world: ApiWorld) -> None:
        headers = [(b"authorization", AUTH["Authorization"].encode()), (b"idempotency-key", key.encode())]
        response = await world.client().get("/crypto/sign?message=a", headers=headers)
        assert check_problem(response, 422, "invalid-parameter")["parameter"] == "Idempotency-Key"

    in_world(scenario)


def test_without_a_key_nothing_is_stored() -> None:
    """The header is what costs."""

    async def scenario(world: ApiWorld) -> None:
        await world.client().get("/crypto/sign?message=hello", headers=AUTH)
        assert world.claims.claims == {}

    in_world(scenario)


def test_a_reference_comes_back() -> None:
    """In the status, as it was given; a long one is refused."""

    async def scenario(world: ApiWorld) -> None:
        world.fill_window()
        client = world.client()
        accepted = await ask(client, webhook_url=HOOK, reference="order 17 ä")
        status = await client.get(accepted.json()["status_url"])
        assert status.json()["reference"] == "order 17 ä"
        body = {"message": "b", "reference": "r" * 201}
        posted = await client.post("/crypto/sign", json=body, headers=AUTH)
        assert check_problem(posted, 422, "invalid-parameter")["parameter"] == "reference"

    in_world(scenario)
