"""The console's JSON: what it shows, to whom, and what it costs."""

import asyncio
from dataclasses import replace

import httpx
import pytest

from console.dead_letters import COUNTED_MS
from console.reading import DONE_MAX, MINUTES_READ_MS, REQUESTS_MAX
from core import request as requests
from core import window as windows
from core.answers import Meaning
from core.due_index import DueKind
from core.headline import RUN_MISSED_MS
from core.history import Minute
from core.messages import NotificationMessage, WakeUp
from core.request import DeliveryState, Request
from ports import RequestKey
from tests.component.test_api import AUTH, check_problem, in_world, sign
from tests.component.world import HOOK, OPERATOR_KEY, SIGNATURE, ApiWorld, Down
from web.bodies import timestamp

OPERATOR = {"Authorization": OPERATOR_KEY}
BOB = {"Authorization": "key-of-bob"}
FRESH = WakeUp("0" * 64).encode()
NOTIFICATION = NotificationMessage("0" * 64, "00000000-0000-7000-8000-000000000000", 0).encode()


async def state(client: httpx.AsyncClient, **headers: str) -> httpx.Response:
    return await client.get("/console/state", headers=headers or AUTH)


async def ended_delivery(world: ApiWorld, client: httpx.AsyncClient) -> Request:
    """Return a request whose webhook was given up."""
    world.fill_window()
    request_id = (await sign(client, webhook_url=HOOK)).json()["request_id"]
    request = await world.store.request(request_id)
    assert request
    now_ms = world.clock.now_ms()
    closed = replace(
        requests.close_signed(request, SIGNATURE, now_ms), delivery=requests.Delivery(attempts=7)
    )
    await world.store.write_request(request, requests.undeliverable(closed, now_ms, "http_500", "oops"))
    stored = await world.store.request(request_id)
    assert stored
    return stored


async def finished(
    world: ApiWorld, client: httpx.AsyncClient, text: str = "hello", took_ms: int = 40_000, **headers: str
) -> Request:
    """Return a request that its first call signed some time later, with its webhook delivered at once."""
    world.fill_window(free_in_ms=30_000)
    request_id = (await sign(client, text, HOOK, **headers)).json()["request_id"]
    await world.clock.sleep_ms(took_ms)
    request = await world.store.request(request_id)
    assert request
    now_ms = world.clock.now_ms()
    closed = requests.close_signed(request, SIGNATURE, now_ms, calls=1)
    written = await world.store.write_request(request, requests.delivered(closed, now_ms, "http_204"))
    assert written.record
    return written.record


def test_what_has_finished_is_seen_by_whoever_looks_then() -> None:
    """A request that ended before is listed with what became of it, and the figures are judged by it."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client()
        request = await finished(world, client)
        body = (await state(client)).json()
        (row,) = body["requests"]
        assert (row["request_id"], row["state"], row["attempts"]) == (request.id, "signed", 1)
        assert row["delivery"]["state"] == "delivered"
        assert row["estimated_ready_at"] is None
        assert request.estimated_ms
        error_ms = abs(request.closed_ms - request.estimated_ms)
        assert 0 < error_ms < 10_000
        assert body["figures"] == {
            "signed": 1,
            "seconds": 300,
            "signed_per_minute": 0.2,
            "time_to_signature_ms": 40_000,
            "estimate_error_ms": error_ms,
            "delivered": 1,
            "failing": 0,
            "undeliverable": 0,
        }
        status = (await client.get(f"/crypto/requests/{request.id}", headers=AUTH)).json()
        assert (status["state"], status["attempts"]) == ("signed", 1)

    in_world(scenario)


def test_a_webhook_that_was_given_up_is_seen_however_many_ended_since() -> None:
    """It stands apart from what ended well, of which the last ones are shown."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client()
        undeliverable = await ended_delivery(world, client)
        texts = [f"message {number}" for number in range(DONE_MAX + 1)]
        last = [await finished(world, client, text, 2_000) for text in texts]
        body = (await state(client)).json()
        ids = {row["request_id"] for row in body["requests"]}
        assert ids == {undeliverable.id, *(request.id for request in last[1:])}
        assert (body["figures"]["undeliverable"], body["more"]) == (1, False)
        listed_for_s = 2 * (DONE_MAX - 1)
        assert (body["figures"]["signed"], body["figures"]["seconds"]) == (DONE_MAX - 1, listed_for_s)
        assert body["figures"]["signed_per_minute"] == 30

    in_world(scenario)


def test_more_is_said_of_what_is_not_listed() -> None:
    """Too many open ones, or too many that were given up: never those that ended well."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client()
        request = await ended_delivery(world, client)
        for number in range(REQUESTS_MAX - 1):
            assert not (await state(client)).json()["more"]
            other = replace(request, id=f"{number:08x}-0000-7000-8000-000000000000", due_ms=1)
            stored = await world.store.accept(other)
            await world.store.write_request(stored, replace(stored, due_ms=None))
        assert (await state(client)).json()["more"]

    in_world(scenario)


def test_what_ended_meanwhile_is_shown_once_and_as_it_is() -> None:
    """The index may show a request where it stood before, there and where it stands now, or both."""

    async def scenario(world: ApiWorld) -> None:
        world.fill_window()
        client, due_requests = world.client(), world.store.due_requests
        await sign(client, webhook_url=HOOK)
        stale = {kind: await due_requests(kind, 10**15, 10) for kind in DueKind}
        assert (await state(client)).json()["requests"][0]["state"] == "waiting"  # and remembered so
        (key,) = stale[DueKind.OPEN]
        request = await world.store.request(key.request_id)
        assert request
        closed = requests.close_signed(replace(request, webhook_url=""), SIGNATURE, key.due_ms, calls=1)
        await world.store.write_request(request, closed)

        async def lagging(
            kind: DueKind, until_ms: int, limit: int, after: RequestKey | None = None, *, from_ms: int = 0
        ) -> list[RequestKey]:
            del until_ms, limit, after, from_ms
            return stale[kind]

        assert [row["state"] for row in (await state(client)).json()["requests"]] == ["signed"]
        world.store.due_requests = lagging  # type: ignore[method-assign]
        assert [row["state"] for row in (await state(client)).json()["requests"]] == ["signed"]
        world.store.ended = lambda _kind, _limit: asyncio.sleep(0, [])  # type: ignore[method-assign,assignment]
        unseen = world.client()
        assert [row["state"] for row in (await state(unseen)).json()["requests"]] == ["signed"]

    in_world(scenario)


def test_the_window_and_the_queue() -> None:
    """Slots with when they free, calls in use, who waits and since when; the upstream is not called."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client()
        assert (await sign(client, "now")).status_code == 200
        body = (await state(client)).json()
        assert (body["window"]["calls"], body["window"]["used"], len(body["window"]["slots"])) == (10, 1, 10)
        assert body["waiting"] == {"count": 0, "more": False, "oldest_at": None, "next_at": None}
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
        assert world.window.gate
        until_ms = world.clock.now_ms() + 5_000
        world.window.gate = world.window.gate.having(paused=True, blocked_until_ms=until_ms)
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
        await finished(world, client, "bob's, finished", 40_000, **BOB)
        body = (await state(client)).json()
        assert [row["client"] for row in body["requests"]] == ["alice"]
        assert body["figures"]["signed"] == 0
        body = (await state(client, **OPERATOR)).json()
        assert sorted(row["client"] for row in body["requests"]) == ["alice", "bob", "bob"]
        assert body["figures"]["signed"] == 1
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
        await finished(world, client, "finished")
        reads = 0
        for _ in range(3):
            await state(client)
            assert reads == 1

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
    """From its first attempt, by a message that is sent at once; the due index stands behind it."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client()
        request = await ended_delivery(world, client)
        before = len(world.notifications.texts)
        response = await client.post("/console/replay", json={"request_id": request.id}, headers=AUTH)
        assert response.status_code == 200
        assert response.json()["delivery"]["state"] == "pending"
        stored = await world.store.request(request.id)
        assert stored
        assert (stored.delivery.state, stored.delivery.attempts) == (DeliveryState.PENDING, 0)
        assert stored.due_ms == world.clock.now_ms() + requests.RESEND_MS
        assert len(world.notifications.texts) == before + 1

    in_world(scenario)


def test_replay_survives_that_no_message_can_be_sent() -> None:
    """The due index has it: the message only makes it sooner."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client(notifications=Down(30))
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
        replayed = requests.replay_delivery(request, world.clock.now_ms())
        begun = requests.begin_delivery(replayed, 0, world.clock.now_ms())
        assert begun
        await world.store.write_request(request, begun)
        check_problem(await client.post("/console/replay", json=body, headers=AUTH), 409, "not-replayable")
        assert (await client.post("/console/replay", json=body, headers=OPERATOR)).status_code == 409

    in_world(scenario)


def test_dead_letters_are_counted_for_operators() -> None:
    """Callers are told nothing of them; operators every few seconds anew."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client()
        await world.dead_letters.send(["garbage", FRESH])
        assert "dead_letters" not in (await state(client)).json()
        counted = {"work": 2, "notification": 0}
        assert (await state(client, **OPERATOR)).json()["dead_letters"] == counted
        await world.dead_notifications.send([NOTIFICATION])
        await world.clock.sleep_ms(COUNTED_MS - 1_000)
        assert (await state(client, **OPERATOR)).json()["dead_letters"] == counted
        await world.clock.sleep_ms(1_000)
        assert (await state(client, **OPERATOR)).json()["dead_letters"] == {"work": 2, "notification": 1}

    in_world(scenario)


@pytest.mark.parametrize("hangs_s", [0, 30])
def test_the_console_does_without_a_count(hangs_s: int) -> None:
    """A queue that is down or silent costs the number, and no more time than there is."""

    async def scenario(world: ApiWorld) -> None:
        client, started_ms = world.client(dead_letters=Down(hangs_s)), world.clock.monotonic_ms()
        body = (await state(client, **OPERATOR)).json()
        assert body["dead_letters"] == {"work": None, "notification": 0}
        assert world.clock.monotonic_ms() - started_ms < 2_000

    in_world(scenario)


def test_a_missing_window_is_not_an_empty_one() -> None:
    """Fail closed: where nothing is known, every slot is shown busy."""

    async def scenario(world: ApiWorld) -> None:
        world.window.window = windows.full(world.settings.calls.limits, world.clock.now_ms() + 60_000)
        assert (await state(world.client())).json()["window"]["used"] == 10

    in_world(scenario)


def test_the_headline_is_the_same_for_everybody_but_what_to_do() -> None:
    """Callers see the state and why; only operators are told what to do, and since when by the notes."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client()
        told = (await state(client)).json()["headline"]
        assert (told["state"], told["severity"], told.get("since")) == ("healthy", "good", None)
        assert world.window.gate
        now_ms = world.clock.now_ms()
        world.window.gate = world.window.gate.having(paused=True, paused_by="otto", paused_at_ms=now_ms)
        told = (await state(client)).json()["headline"]
        assert (told["title"], told["todo"]) == ("Calls are paused by otto", "")
        assert told["since"] == timestamp(now_ms)
        assert "resume" in (await state(client, **OPERATOR)).json()["headline"]["todo"]

    in_world(scenario)


def test_no_run_is_noticed() -> None:
    """The notes of the scheduled runs tell since when there is none."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client()
        await world.history.write(Minute(world.clock.now_ms(), state="healthy", since_ms=1))
        told = (await state(client)).json()["headline"]
        assert (told["state"], told["since"]) == ("healthy", timestamp(1))
        await world.clock.sleep_ms(RUN_MISSED_MS)
        assert (await state(client)).json()["headline"]["state"] == "no_run"

    in_world(scenario)


def test_no_run_for_hours_is_still_noticed() -> None:
    """The last item may be older than the hour that the console reads."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client()
        await world.history.write(Minute(world.clock.now_ms(), state="healthy", since_ms=1))
        await world.clock.sleep_ms(9 * 3_600_000)
        told = (await state(client)).json()["headline"]
        assert (told["state"], told["title"]) == ("no_run", "No run for 9 h")

    in_world(scenario)


def test_a_processor_that_never_ran_is_noticed() -> None:
    """Without any item, a request that has waited for minutes shows that there was no run."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client()
        world.fill_window()
        assert (await sign(client, webhook_url=HOOK)).status_code == 202
        assert (await state(client)).json()["headline"]["state"] == "at_limit"
        await world.clock.sleep_ms(RUN_MISSED_MS)
        assert (await state(client)).json()["headline"]["state"] == "no_run"

    in_world(scenario)


def test_webhooks_that_fail_make_the_headline_of_those_who_see_them() -> None:
    """Alice's receiver is no news for bob."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client()
        await ended_delivery(world, client)
        await world.clock.sleep_ms(90_000)
        assert (await state(client)).json()["headline"]["state"] == "webhooks_failing"
        assert (await state(client, **BOB)).json()["headline"]["state"] == "at_limit"
        told = (await state(client, **OPERATOR)).json()["headline"]
        assert "HTTP 500" in told["why"]
        await world.clock.sleep_ms(3_600_000)
        await world.history.write(Minute(world.clock.now_ms()))
        assert (await state(client)).json()["headline"]["state"] == "at_limit"

    in_world(scenario)


def test_a_retried_request_says_what_its_last_call_met() -> None:
    """In words, read once for each call; and where its webhook will go."""

    async def scenario(world: ApiWorld) -> None:
        world.upstream.meaning, world.upstream.status = Meaning.FAILED, 502
        client = world.client()
        await sign(client, webhook_url=HOOK)
        (row,) = (await state(client)).json()["requests"]
        assert (row["state"], row["error"], row["receiver"]) == ("retrying", "HTTP 502", "receiver.example")
        assert row["delivery"]["state"] == "none"
        world.store.job = Down().job  # type: ignore[method-assign,assignment]
        assert (await state(client)).json()["requests"][0]["error"] == "HTTP 502"

    in_world(scenario)


def test_next_in_line_comes_first() -> None:
    """Open requests in the order of their next calls, then what has ended, newest first."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client()
        ended = await finished(world, client, "ended")
        world.fill_window()
        ids = []
        for text in ("one", "two", "three"):
            ids.append((await sign(client, text, HOOK)).json()["request_id"])
            await world.clock.sleep_ms(5)
        rows = (await state(client)).json()["requests"]
        assert [row["request_id"] for row in rows] == [*ids, ended.id]
        times = [row["estimated_ready_at"] for row in rows[:3]]
        assert times == sorted(times)
        assert all(times)

    in_world(scenario)


def test_the_history_is_for_operators() -> None:
    """Minute by minute, an hour or a day; a caller is not told that there is one."""

    async def scenario(world: ApiWorld) -> None:
        client, now_ms = world.client(), world.clock.now_ms()
        for number in range(3):
            at_ms = now_ms - 60_000 * (2 - number)
            await world.history.write(
                Minute(at_ms, signed=2 * number, waiting=number, used=4, calls=10, window_ms=60_000)
            )
        await world.clock.sleep_ms(MINUTES_READ_MS)
        body = (await client.get("/console/history?hours=1", headers=OPERATOR)).json()
        assert [(point["signed"], point["backlog"]) for point in body["points"]] == [(2, 1), (2, 2)]
        assert (await client.get("/console/history?hours=24", headers=OPERATOR)).json()["points"]
        check_problem(await client.get("/console/history", headers=AUTH), 404, "not-found")
        check_problem(
            await client.get("/console/history?hours=7", headers=OPERATOR), 422, "invalid-parameter"
        )
        body = (await state(client, **OPERATOR)).json()
        assert body["calls"] == {"seconds": 125, "signed": 0, "at_once": 0, "failed": 0}
        assert body["window"]["most_used"] == 4
        assert "calls" not in (await state(client)).json()

    in_world(scenario)


def test_an_operator_resumes_calls() -> None:
    """At once, and somebody is awake to make them; a caller can't."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client()
        world.fill_window()
        assert world.window.gate
        world.window.gate = world.window.gate.having(paused=True, paused_by="otto")
        check_problem(await client.post("/console/resume", headers=AUTH), 404, "not-found")
        assert world.window.gate.paused
        before = len(world.queue.texts)
        assert (await client.post("/console/resume", headers=OPERATOR)).json()["resumed"]
        assert not world.window.gate.paused
        assert len(world.queue.texts) == before + 1
        assert not (await client.post("/console/resume", headers=OPERATOR)).json()["resumed"]

    in_world(scenario)


def test_health_tells_operators_the_headline() -> None:
    """Nobody else; and a store that is down makes it no slower, nor fail."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client()
        assert (await client.get("/health", headers=OPERATOR)).json()["headline"]["state"] == "healthy"
        for headers in ({}, AUTH, {"Authorization": "wrong"}):
            assert "headline" not in (await client.get("/health", headers=headers)).json()
        body = (await world.client(store=Down(30)).get("/health", headers=OPERATOR)).json()
        assert "headline" not in body

    in_world(scenario)
