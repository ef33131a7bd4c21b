"""The console's JSON: what it shows, to whom, and what it costs."""

from dataclasses import replace

import httpx

from core import job as jobs
from core import window as windows
from core.answers import Meaning
from core.job import DeliveryState, Request
from tests.functions.test_api import AUTH, check_problem, in_world, sign
from tests.functions.world import HOOK, OPERATOR_KEY, SIGNATURE, ApiWorld, Down

OPERATOR = {"Authorization": OPERATOR_KEY}
BOB = {"Authorization": "key-of-bob"}


async def state(client: httpx.AsyncClient, **headers: str) -> httpx.Response:
    return await client.get("/console/state", headers=headers or AUTH)


async def ended_delivery(world: ApiWorld, client: httpx.AsyncClient) -> Request:
    """Return a request whose webhook was given up."""
    world.fill_window()
    request_id = (await sign(client, webhook_url=HOOK)).json()["request_id"]
    request = await world.store.request(request_id)
    assert request
    now_ms = world.clock.now_ms()
    closed = replace(jobs.close_signed(request, SIGNATURE, now_ms), delivery=jobs.Delivery(attempts=7))
    await world.store.write_request(request, jobs.undeliverable(closed, now_ms, "http_500", "oops"))
    stored = await world.store.request(request_id)
    assert stored
    return stored


def test_the_window_and_the_queue() -> None:
    """Slots with when they free, calls in use, who waits and since when; the upstream is not called."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client()
        assert (await sign(client, "now")).status_code == 200
        body = (await state(client)).json()
        assert (body["window"]["calls"], body["window"]["used"], len(body["window"]["slots"])) == (10, 1, 10)
        assert body["waiting"] == {"count": 0, "oldest_at": None, "next_at": None}
        world.fill_window()
        for text in ("one", "two"):
            assert (await sign(client, text, HOOK)).status_code == 202
        body = (await state(client)).json()
        assert (body["window"]["used"], body["waiting"]["count"]) == (10, 2)
        assert [row["state"] for row in body["requests"]] == ["waiting", "waiting"]
        assert all(row["estimated_ready_at"] for row in body["requests"])
        assert world.upstream.calls == ["now"]

    in_world(scenario)


def test_retries_pauses_and_blocks_are_shown() -> None:
    """What keeps the service from calling is seen."""

    async def scenario(world: ApiWorld) -> None:
        world.upstream.meaning, world.upstream.status = Meaning.FAILED, 502
        client = world.client()
        assert (await sign(client, webhook_url=HOOK)).status_code == 202
        body = (await state(client)).json()
        assert (body["retrying"]["count"], body["requests"][0]["state"]) == (1, "retrying")
        assert world.window.window
        until_ms = world.clock.now_ms() + 5_000
        world.window.window = replace(world.window.window, paused=True, blocked_until_ms=until_ms)
        window = (await state(client)).json()["window"]
        assert window["paused"]
        assert window["blocked_until"]

    in_world(scenario)


def test_everybody_sees_their_own() -> None:
    """A caller's requests are shown to that caller and to operators; without a key nothing is."""

    async def scenario(world: ApiWorld) -> None:
        world.fill_window()
        client = world.client()
        await sign(client, "alice's", HOOK)
        await sign(client, "bob's", HOOK, **BOB)
        rows = (await state(client)).json()["requests"]
        assert [row["client"] for row in rows] == ["alice"]
        rows = (await state(client, **OPERATOR)).json()["requests"]
        assert {row["client"] for row in rows} == {"alice", "bob"}
        check_problem(await client.get("/console/state"), 401, "unauthorized")

    in_world(scenario)


def test_looking_on_is_cheap() -> None:
    """What has not changed is not read again, and not sent again."""

    async def scenario(world: ApiWorld) -> None:
        world.fill_window()
        client, reads = world.client(), 0
        for number in range(5):
            await sign(client, f"message {number}", HOOK)
        read = world.store.request_of

        async def counted(job_id: str, request_id: str) -> Request | None:
            nonlocal reads
            reads += 1
            return await read(job_id, request_id)

        world.store.request_of = counted  # type: ignore[method-assign]
        writes = world.table.writes
        first = await state(client)
        assert reads == 5
        again = await state(client, **AUTH, **{"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert (reads, world.table.writes) == (5, writes)
        await sign(client, "one more", HOOK)
        assert (await state(client, **AUTH, **{"If-None-Match": first.headers["etag"]})).status_code == 200
        assert reads == 6

    in_world(scenario)


def test_nothing_to_be_read() -> None:
    """The database down or silent: 503 in time."""

    async def scenario(world: ApiWorld) -> None:
        for hangs_s in (0, 30):
            started_ms = world.clock.monotonic_ms()
            check_problem(await state(world.client(store=Down(hangs_s))), 503, "service-unavailable")
            assert world.clock.monotonic_ms() - started_ms < 2_000

    in_world(scenario)


def test_replay_starts_a_delivery_again() -> None:
    """It is due at once, from its first attempt, and somebody is awake to see it."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client()
        request = await ended_delivery(world, client)
        woken = world.waker.woken
        response = await client.post("/console/replay", json={"request_id": request.id}, headers=AUTH)
        assert response.status_code == 200
        assert response.json()["delivery"]["state"] == "pending"
        stored = await world.store.request(request.id)
        assert stored
        assert (stored.delivery.state, stored.delivery.attempts) == (DeliveryState.PENDING, 0)
        assert stored.due_ms == world.clock.now_ms()
        assert world.waker.woken == woken + 1

    in_world(scenario)


def test_replay_survives_that_nobody_can_be_woken() -> None:
    """The due index has it: waking only makes it sooner."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client(waker=Down(30))
        request = await ended_delivery(world, client)
        response = await client.post("/console/replay", json={"request_id": request.id}, headers=AUTH)
        assert response.status_code == 200

    in_world(scenario)


def test_what_is_not_replayed() -> None:
    """Another caller's, an unknown one, one whose outcome is still to come, one that is under way."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client()
        request = await ended_delivery(world, client)
        body = {"request_id": request.id}
        check_problem(await client.post("/console/replay", json=body, headers=BOB), 404, "not-found")
        nonsense = {"request_id": "nonsense"}
        check_problem(await client.post("/console/replay", json=nonsense, headers=AUTH), 404, "not-found")
        check_problem(await client.post("/console/replay", json={}, headers=AUTH), 422, "invalid-parameter")
        check_problem(await client.post("/console/replay", json=body), 401, "unauthorized")
        still_open = (await sign(client, "another", HOOK)).json()["request_id"]
        refused = await client.post("/console/replay", json={"request_id": still_open}, headers=AUTH)
        check_problem(refused, 409, "not-replayable")
        replayed = jobs.replay_delivery(request, world.clock.now_ms())
        begun = jobs.begin_delivery(replayed, 0, world.clock.now_ms())
        assert begun
        await world.store.write_request(request, begun)
        check_problem(await client.post("/console/replay", json=body, headers=AUTH), 409, "not-replayable")
        assert (await client.post("/console/replay", json=body, headers=OPERATOR)).status_code == 409

    in_world(scenario)


def test_a_missing_window_is_not_an_empty_one() -> None:
    """Fail closed: where nothing is known, every slot is shown busy."""

    async def scenario(world: ApiWorld) -> None:
        world.window.window = windows.full(world.settings.calls.limits, world.clock.now_ms() + 60_000)
        assert (await state(world.client())).json()["window"]["used"] == 10

    in_world(scenario)
