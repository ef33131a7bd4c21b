"""What callers are answered, case by case, as README's table says it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from core import job as jobs
from core import request as requests
from core import window as windows
from core.answers import Meaning
from core.errors import Unavailable
from core.gate import Gate
from core.job import Job, JobState
from core.request import RequestState
from core.window import Change
from ports import Conflict, Page, Written
from proofs.simulation.virtual_time import run
from tests.component.world import HOOK, KEY, SIGNATURE, ApiWorld, Down, Slow

AUTH = {"Authorization": KEY}


def in_world(scenario: Callable[[ApiWorld], Awaitable[None]], **environment: str) -> None:
    """Run a scenario in virtual time."""

    async def main() -> None:
        await scenario(ApiWorld(**environment))

    run(main())


async def sign(
    client: httpx.AsyncClient, message: str = "hello", webhook_url: str = "", **headers: str
) -> httpx.Response:
    params = {"message": message} | ({"webhook_url": webhook_url} if webhook_url else {})
    return await client.get("/crypto/sign", params=params, headers=headers or AUTH)


def check_problem(response: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    """Every error is an RFC 9457 problem with our two fields."""
    body: dict[str, Any] = response.json()
    assert (response.status_code, body["status"]) == (status, status)
    assert response.headers["content-type"] == "application/problem+json"
    assert body["type"].endswith(kind)
    assert body["request_id"]
    assert body["title"]
    assert body["detail"] == body["message"]
    return body


def test_signed_in_time() -> None:
    """A free slot and a healthy upstream: 200 with the signature, and the slot is busy for W from then on."""

    async def scenario(world: ApiWorld) -> None:
        response = await sign(world.client())
        assert response.status_code == 200
        body = response.json()
        assert body == {"request_id": body["request_id"], "status": 200, "signature": SIGNATURE}
        window = world.window.window
        assert window
        busy = [slot for slot in window.slots if slot.free_at_ms]
        assert [slot.free_at_ms for slot in busy] == [world.clock.now_ms() + 60_000 + 250]

    in_world(scenario)


def test_known_signature_costs_no_call() -> None:
    """A message signed lately is answered from the record, until its time is up."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client()
        first, second = await sign(client), await sign(client)
        assert first.json()["signature"] == second.json()["signature"]
        assert first.json()["request_id"] != second.json()["request_id"]
        assert world.upstream.calls == ["hello"]
        await world.clock.sleep_ms(3_600_000)
        assert (await sign(client)).status_code == 200
        assert world.upstream.calls == ["hello", "hello"]

    in_world(scenario)


def test_accepted_when_the_upstream_fails() -> None:
    """A failed call with a webhook named: 202, durable, scheduled, and a wake-up under way."""

    async def scenario(world: ApiWorld) -> None:
        world.upstream.meaning, world.upstream.status = Meaning.FAILED, 502
        response = await sign(world.client(), webhook_url=HOOK)
        body = response.json()
        assert response.status_code == body["status"] == 202
        assert set(body) == {"request_id", "status", "message", "estimated_ready_at", "status_url"}
        assert response.headers["location"] == body["status_url"]
        assert response.headers["cache-control"] == "no-store"
        assert int(response.headers["retry-after"]) >= 30
        job, page = await world.store.load(jobs.job_id("hello"))
        (request,) = page.requests
        assert job
        assert (job.state, job.attempts) == (JobState.RETRYING, 1)
        assert (request.state, request.webhook_url, request.client) == (RequestState.OPEN, HOOK, "alice")
        assert len(world.queue.texts) == 1

    in_world(scenario)


def test_accepted_requests_are_counted_for_the_history() -> None:
    """Each with the write that counts it as open."""

    async def scenario(world: ApiWorld) -> None:
        world.fill_window()
        client = world.client()
        for number in range(5):
            assert (await sign(client, f"message {number}", HOOK)).status_code == 202
        assert world.window.gate
        assert world.window.gate.tally.accepted == 5

    in_world(scenario)


def test_every_log_line_of_a_request_names_it() -> None:
    """Also those about a step that fails after the acceptance, which knows no request."""

    async def scenario(world: ApiWorld) -> None:
        world.fill_window()
        response = await sign(world.client(queue=Down()), webhook_url=HOOK)
        assert response.status_code == 202
        lines = {name: fields.get("request_id") for name, fields in world.telemetry.events}
        assert "wake_up_not_sent" in lines
        assert {*lines.values()} == {response.json()["request_id"]}

    in_world(scenario)


def test_accepted_when_no_slot_is_free() -> None:
    """A full window with a webhook named: 202 without a call, and a message says to look."""

    async def scenario(world: ApiWorld) -> None:
        world.fill_window()
        response = await sign(world.client(), webhook_url=HOOK)
        assert response.status_code == 202
        assert world.upstream.calls == []
        assert len(world.queue.texts) == 1
        job = await world.store.job(jobs.job_id("hello"))
        assert job
        assert (job.state, job.attempts) == (JobState.WAITING, 0)

    in_world(scenario)


def test_a_burst_sends_one_wake_up() -> None:
    """Of many who leave something for the next free slot, one sets a wake-up for it."""

    async def scenario(world: ApiWorld) -> None:
        world.fill_window()
        client = world.client()
        for number in range(20):
            assert (await sign(client, f"message {number}", HOOK)).status_code == 202
        assert len(world.queue.texts) == 1

    in_world(scenario)


def test_limit_reached_without_a_webhook() -> None:
    """Nothing is queued: 429, with when to come back."""

    async def scenario(world: ApiWorld) -> None:
        world.fill_window()
        response = await sign(world.client())
        check_problem(response, 429, "limit-reached")
        assert 60 <= int(response.headers["retry-after"]) <= 62
        assert await world.store.load(jobs.job_id("hello")) == (None, Page())

    in_world(scenario)


def test_newcomers_do_not_overtake() -> None:
    """While a fresh request waits, a free slot is not for a newcomer."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client()
        world.fill_window(1_000)
        assert (await sign(client, "first", HOOK)).status_code == 202
        await world.clock.sleep_ms(5_000)
        check_problem(await sign(client, "second"), 429, "limit-reached")
        assert world.upstream.calls == []

    in_world(scenario)


@pytest.mark.parametrize(
    ("meaning", "status", "expected", "kind"),
    [
        (Meaning.FAILED, 502, 502, "upstream-failed"),
        (Meaning.FAILED, 200, 502, "upstream-failed"),
        (Meaning.LIMITED, 429, 429, "upstream-limited"),
        (Meaning.KEY_REFUSED, 401, 502, "upstream-failed"),
        (Meaning.REFUSED, 414, 502, "upstream-refused"),
    ],
)
def test_upstream_error_without_a_webhook(meaning: Meaning, status: int, expected: int, kind: str) -> None:
    """Without a webhook the caller gets the error at once, and nothing is queued."""

    async def scenario(world: ApiWorld) -> None:
        world.upstream.meaning, world.upstream.status = meaning, status
        response = await sign(world.client())
        body = check_problem(response, expected, kind)
        if meaning is Meaning.REFUSED:
            assert "414" in body["detail"]
        else:
            assert int(response.headers["retry-after"]) >= 1
        requests = world.table.requests_of(jobs.job_id("hello"))
        assert requests == []

    in_world(scenario)


def test_upstream_too_slow() -> None:
    """A hanging upstream: 504 without a webhook, 202 with one, both within two seconds."""

    async def scenario(world: ApiWorld) -> None:
        world.upstream.takes_ms = 60_000
        client = world.client()
        started_ms = world.clock.monotonic_ms()
        check_problem(await sign(client), 504, "upstream-too-slow")
        assert world.clock.monotonic_ms() - started_ms < 2_000
        started_ms = world.clock.monotonic_ms()
        assert (await sign(client, "another", HOOK)).status_code == 202
        assert world.clock.monotonic_ms() - started_ms < 2_000

    in_world(scenario)


def test_no_inline_call_that_cannot_finish() -> None:
    """While the upstream is slower than the time left, one call per window probes it; the others wait."""

    async def scenario(world: ApiWorld) -> None:
        world.slow_upstream(5_000)
        client = world.client()
        assert (await sign(client, "probe")).status_code == 200
        world.slow_upstream(5_000)
        check_problem(await sign(client, "another"), 504, "upstream-too-slow")
        assert world.upstream.calls == ["probe"]
        await world.clock.sleep_ms(60_000)
        assert (await sign(client, "a window later")).status_code == 200

    in_world(scenario)


def test_no_inline_call_once_the_time_is_used_up() -> None:
    """Where fence and slot took too long, nothing is sent, and job and slot are what they were."""

    async def scenario(world: ApiWorld) -> None:
        write_job = world.store.write_job

        async def slow_write(before: Job | None, after: Job) -> Written[Job] | Conflict[Job]:
            await world.clock.sleep_ms(0 if before else 1_000)
            return await write_job(before, after)

        world.store.write_job = slow_write  # type: ignore[method-assign]
        check_problem(await sign(world.client()), 504, "upstream-too-slow")
        assert world.upstream.calls == []
        job = await world.store.job(jobs.job_id("hello"))
        assert job
        assert (job.attempts, job.call, job.next_try_ms) == (0, None, 0)
        assert world.window.window
        assert world.window.window.free_slots(world.clock.now_ms()) == 10

    in_world(scenario)


def test_failed_lately() -> None:
    """A message that failed a moment ago is not tried again for every caller who asks."""

    async def scenario(world: ApiWorld) -> None:
        world.upstream.meaning, world.upstream.status = Meaning.FAILED, 502
        client = world.client()
        check_problem(await sign(client), 502, "upstream-failed")
        response = await sign(client)
        check_problem(response, 502, "upstream-failed")
        assert int(response.headers["retry-after"]) <= 33
        assert world.upstream.calls == ["hello"]
        await world.clock.sleep_ms(33_000)
        world.upstream.meaning, world.upstream.status = Meaning.SIGNED, 200
        assert (await sign(client)).status_code == 200

    in_world(scenario)


def test_backlog_that_cannot_be_served_in_time() -> None:
    """Who could not have a first call within half of the greatest age is refused, and nothing is queued."""

    async def scenario(world: ApiWorld) -> None:
        world.fill_window()
        client = world.client()
        statuses = [(await sign(client, f"message {number}", HOOK)).status_code for number in range(12)]
        assert statuses == [202] * 5 + [429] * 7  # of ten calls, retries may take every second
        check_problem(await sign(client, "one more", HOOK), 429, "backlog-too-long")
        assert (await sign(client, "message 0", HOOK)).status_code == 202  # waits already: adds nothing

    in_world(scenario, UPSTREAM_MAX_AGE_SECONDS="120", CLIENT_BACKLOG_PERCENT="100")


def test_one_caller_leaves_room_for_another() -> None:
    """Half of what fits is one caller's at most; the refusal says so, and another one is accepted."""

    async def scenario(world: ApiWorld) -> None:
        world.fill_window()
        client = world.client()
        statuses = [(await sign(client, f"message {number}", HOOK)).status_code for number in range(4)]
        assert statuses == [202] * 3 + [429]
        check_problem(response := await sign(client, "one more", HOOK), 429, "client-backlog-full")
        assert int(response.headers["retry-after"]) <= 60
        other = {"Authorization": "key-of-bob"}
        assert (await sign(client, "another's", HOOK, **other)).status_code == 202

    in_world(scenario, UPSTREAM_MAX_AGE_SECONDS="120")


def test_a_message_has_a_limit_of_waiters() -> None:
    """One caller can't attach requests to one message without end."""

    async def scenario(world: ApiWorld) -> None:
        world.fill_window()
        client = world.client()
        assert (await sign(client, webhook_url=HOOK)).status_code == 202
        (first,) = world.table.requests_of(jobs.job_id("hello"))
        for number in range(999):
            await world.store.accept(replace(first, id=f"{first.id}{number:03}"))
        await world.count_open("alice", 999)
        check_problem(await sign(client, "hello", HOOK), 429, "message-waiters-full")

    in_world(scenario)


class Counted:
    """A store that notes which of its methods are called."""

    def __init__(self, store: object) -> None:
        self._store = store
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.calls.append(name)
        return getattr(self._store, name)


def test_admission_costs_the_same_whatever_the_backlog() -> None:
    """No row of the due index is read for it, and the job's and the window's reads are all there are."""

    async def scenario(world: ApiWorld) -> None:
        world.fill_window()
        counted = Counted(world.store)
        client = world.client(store=counted)
        for number in range(50):
            await sign(client, f"message {number}", HOOK)
        counted.calls.clear()
        assert (await sign(client, "one more", HOOK)).status_code == 202
        assert counted.calls == ["job", "accept_and_schedule"]

    in_world(scenario)


def test_an_unknown_backlog_admits_a_safe_share_only() -> None:
    """While nobody can tell how many wait, an instance accepts what one window serves, and no more."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client(window_store=Down(0))
        statuses = [(await sign(client, f"message {number}", HOOK)).status_code for number in range(12)]
        assert statuses == [202] * 10 + [503] * 2

    in_world(scenario)


@pytest.mark.parametrize("headers", [{"X": "y"}, {"Authorization": "wrong"}, {"Authorization": "Bearer "}])
def test_no_or_wrong_key(headers: dict[str, str]) -> None:
    """401, whatever else is wrong with the request."""

    async def scenario(world: ApiWorld) -> None:
        response = await world.client().get("/crypto/sign", headers=headers)
        check_problem(response, 401, "unauthorized")
        assert world.upstream.calls == []

    in_world(scenario)


def test_bearer_prefix_is_tolerated() -> None:
    """A client library that insists on a scheme works too."""

    async def scenario(world: ApiWorld) -> None:
        assert (await sign(world.client(), Authorization=f"Bearer {KEY}")).status_code == 200

    in_world(scenario)


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("", "message"),
        ("message=", "message"),
        ("message=a&message=b", "message"),
        ("message=%FF", "message"),
        ("message=a%00b", "message"),
        ("message=%EF%BF%BD", "message"),
        ("message=" + "a" * 2_049, "message"),
        ("message=" + quote("ä") * 1_025, "message"),
        ("message=a&webhook_url=x&webhook_url=y", "webhook_url"),
        ("message=a&webhook_url=ftp://example.com/", "webhook_url"),
        ("message=a&webhook_url=http://example.com/", "webhook_url"),
        ("message=a&webhook_url=https://user:secret@example.com/", "webhook_url"),
        ("message=a&webhook_url=https://169.254.169.254/", "webhook_url"),
        ("message=a&webhook_url=https://example.com:22/", "webhook_url"),
        ("message=a&webhook_url=https://example.com/" + "a" * 1_024, "webhook_url"),
        ("&".join(f"a{number}=1" for number in range(21)), "query"),
        ("message=a&webhook=https://example.com/", "webhook"),
        ("message=a&webhook_url=https://example.com/?a=1&b=2", "b"),
        ("mesage=a", "mesage"),
    ],
)
def test_bad_input_names_the_parameter(query: str, parameter: str) -> None:
    """422, nothing is called and nothing is stored."""

    async def scenario(world: ApiWorld) -> None:
        response = await world.client().get(f"/crypto/sign?{query}", headers=AUTH)
        assert check_problem(response, 422, "invalid-parameter")["parameter"] == parameter
        assert "secret" not in response.text
        assert world.upstream.calls == []

    in_world(scenario)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://example.com/", "must start with https://"),
        ("https://upstream.example/hook", "must not name the signing API or this service"),
        ("https://relay.example/hook", "must not name the signing API or this service"),
        ("https://10.0.0.1/hook", "must not name a private address"),
    ],
)
def test_a_webhook_url_is_refused_in_words(url: str, expected: str) -> None:
    """A caller reads what is expected, not what we call it."""

    async def scenario(world: ApiWorld) -> None:
        response = await sign(world.client(), webhook_url=url)
        assert check_problem(response, 422, "invalid-parameter")["detail"] == f"webhook_url: {expected}"

    in_world(scenario)


def test_an_unknown_parameter_names_the_nearest_known_one() -> None:
    """A misspelled one would never call anybody; an `&` that is not encoded cuts a URL short."""

    async def scenario(world: ApiWorld) -> None:
        url = "/crypto/sign?message=a&webhook=https://example.com/"
        detail = (await world.client().get(url, headers=AUTH)).json()["detail"]
        assert detail == "webhook: is not known here; did you mean webhook_url?"
        url = "/crypto/sign?message=a&webhook_url=http://example.com/"
        assert "must start with https://" in (await world.client().get(url, headers=AUTH)).json()["detail"]
        url = "/crypto/sign?message=a&webhook_url=https://example.com/?a=1&b=2"
        assert "%26" in (await world.client().get(url, headers=AUTH)).json()["detail"]
        detail = (await world.client().get("/crypto/sign?MESSAGE=a", headers=AUTH)).json()["detail"]
        assert detail == "MESSAGE: is not known here; did you mean message?"

    in_world(scenario)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("a+b", "a b"),
        ("a%20b", "a b"),
        ("a%2Bb", "a+b"),
        ("%C3%A4%F0%9F%94%91", "ä🔑"),
        ("%2541", "%41"),
        ("a%0Ab", "a\nb"),
        ("a" * 2_048, "a" * 2_048),
    ],
)
def test_the_query_is_decoded_once(query: str, message: str) -> None:
    """Form-decoded once: what the caller meant is what is signed, byte for byte."""

    async def scenario(world: ApiWorld) -> None:
        response = await world.client().get(f"/crypto/sign?message={query}", headers=AUTH)
        assert response.status_code == 200
        assert world.upstream.calls == [message]

    in_world(scenario)


@pytest.mark.parametrize("hangs_s", [0, 30])
def test_nothing_durable_nothing_promised(hangs_s: float) -> None:
    """The database down, at once or silently: 503 with Retry-After in time, and no call."""

    async def scenario(world: ApiWorld) -> None:
        started_ms = world.clock.monotonic_ms()
        response = await sign(world.client(store=Down(hangs_s)), webhook_url=HOOK)
        check_problem(response, 503, "unavailable")
        assert response.headers["retry-after"] in {"1", "2", "3"}
        assert world.clock.monotonic_ms() - started_ms < 2_000
        assert world.upstream.calls == []

    in_world(scenario)


@pytest.mark.parametrize("hangs_s", [0, 30])
def test_no_window_no_call(hangs_s: float) -> None:
    """The window out of reach: no upstream call; accepted if a webhook is named, else 503, each in time."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client(window_store=Down(hangs_s))
        started_ms = world.clock.monotonic_ms()
        check_problem(await sign(client), 503, "unavailable")
        assert (await sign(client, webhook_url=HOOK)).status_code == 202
        assert world.clock.monotonic_ms() - started_ms < 4_000
        assert world.upstream.calls == []

    in_world(scenario)


@pytest.mark.parametrize("hangs_s", [0, 30])
def test_what_an_answer_can_do_without_does_not_fail_it(hangs_s: float) -> None:
    """The window out of reach: a known signature is answered, and a request is accepted."""

    async def scenario(world: ApiWorld) -> None:
        assert (await sign(world.client())).status_code == 200
        client = world.client(window_store=Down(hangs_s))
        assert (await sign(client, webhook_url=HOOK)).status_code == 200
        assert (await sign(client, "other", webhook_url=HOOK)).status_code == 202

    in_world(scenario)


@pytest.mark.parametrize("takes_ms", [200, 350, 450, 550, 600])
def test_a_slow_database_is_no_reason_to_refuse(takes_ms: int) -> None:
    """An inline call never uses up what the durable write needs: 200 or 202, and no slot held for nothing."""

    async def scenario(world: ApiWorld) -> None:
        started_ms = world.clock.monotonic_ms()
        store = Slow(world.store, world.clock, takes_ms)
        window_store = Slow(world.window_store, world.clock, takes_ms)
        world.upstream.meaning, world.upstream.status = Meaning.FAILED, 502
        response = await sign(world.client(store=store, window_store=window_store), webhook_url=HOOK)
        assert response.status_code == 202
        assert world.clock.monotonic_ms() - started_ms < 2_000
        assert world.window.window
        held = len(world.window.window.slots) - world.window.window.free_slots(world.clock.now_ms())
        assert held == len(world.upstream.calls)

    in_world(scenario)


def test_a_call_withdrawn_in_time_is_as_if_it_never_was() -> None:
    """The slot came too late: nothing is sent, and the accepted request waits for its first call."""

    async def scenario(world: ApiWorld) -> None:
        write_job = world.store.write_job

        async def slow_fence(before: Job | None, after: Job) -> Written[Job] | Conflict[Job]:
            await world.clock.sleep_ms(1_100 if after.call else 0)
            return await write_job(before, after)

        world.store.write_job = slow_fence  # type: ignore[method-assign]
        response = await sign(world.client(), webhook_url=HOOK)
        assert (response.status_code, world.upstream.calls) == (202, [])
        job = await world.store.job(jobs.job_id("hello"))
        assert job
        assert (job.state, job.attempts) == (JobState.WAITING, 0)
        assert world.window.window
        assert world.window.window.free_slots(world.clock.now_ms()) == 10

    in_world(scenario)


def test_why_there_is_no_call_is_said_truly() -> None:
    """Only the limit is called the limit: no pause, no trouble with our key, no call under way or unsent."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client()
        gate = world.window.gate = Gate(windows.empty(world.settings.calls.limits))
        world.window.gate = gate.having(paused=True)
        check_problem(await sign(client), 503, "paused")
        world.window.gate = gate.having(suspect_since_ms=1, probe_at_ms=world.clock.now_ms() + 9_000)
        check_problem(await sign(client), 502, "upstream-failed")
        far_ms = world.clock.now_ms() + 3_600_000
        blocked = windows.block(gate.window, world.clock.now_ms(), far_ms)
        assert blocked
        world.window.gate = gate.having(None, **blocked.values)
        check_problem(response := await sign(client), 429, "upstream-limited")
        assert int(response.headers["retry-after"]) <= 61
        assert (await sign(client, webhook_url=HOOK)).status_code == 202
        world.window.gate = gate
        world.table.jobs.clear()
        world.upstream.meaning = Meaning.NEVER_SENT
        check_problem(await sign(client), 502, "upstream-failed")
        response = await sign(client)
        check_problem(response, 502, "upstream-failed")
        assert 29 <= int(response.headers["retry-after"]) <= 33
        world.upstream.meaning = Meaning.SIGNED
        first = asyncio.create_task(sign(client, "twice"))
        await world.clock.sleep_ms(100)
        check_problem(await sign(client, "twice"), 429, "call-in-progress")
        assert (await first).status_code == 200

    in_world(scenario)


@pytest.mark.parametrize("slots_are_free", [True, False])
def test_a_refusal_is_not_believed_for_ever(slots_are_free: bool) -> None:
    """It answers new callers for as long as a signature would; then the message is tried again."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client()
        world.upstream.meaning, world.upstream.status = Meaning.REFUSED, 404
        check_problem(await sign(client), 502, "upstream-refused")
        await world.clock.sleep_ms(3_599_000)
        check_problem(await sign(client, webhook_url=HOOK), 502, "upstream-refused")
        assert world.upstream.calls == ["hello"]
        await world.clock.sleep_ms(1_001)
        world.upstream.meaning, world.upstream.status = Meaning.SIGNED, 200
        if not slots_are_free:
            world.fill_window()
        assert (await sign(client, webhook_url=HOOK)).status_code == (200 if slots_are_free else 202)
        job = await world.store.job(jobs.job_id("hello"))
        assert job
        assert job.state is (JobState.SIGNED if slots_are_free else JobState.RETRYING)

    in_world(scenario)


def test_a_job_that_waits_for_its_time_holds_nobody_up() -> None:
    """A call that could not be sent is tried again later: until then newcomers are called at once."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client()
        world.upstream.meaning = Meaning.NEVER_SENT
        assert (await sign(client, webhook_url=HOOK)).status_code == 202
        await world.clock.sleep_ms(3_000)
        world.upstream.meaning = Meaning.SIGNED
        assert (await sign(client, "other")).status_code == 200

    in_world(scenario)


@pytest.mark.parametrize("hangs_s", [0, 30])
def test_queue_down_is_no_reason_to_refuse(hangs_s: float) -> None:
    """SQS and waking are best effort: 202 all the same, in time; the due index has the request."""

    async def scenario(world: ApiWorld) -> None:
        world.fill_window()
        started_ms = world.clock.monotonic_ms()
        response = await sign(world.client(queue=Down(hangs_s)), webhook_url=HOOK)
        assert response.status_code == 202
        assert world.clock.monotonic_ms() - started_ms < 2_000
        (request,) = world.table.requests_of(jobs.job_id("hello"))
        assert request.due_ms

    in_world(scenario)


def test_unknown_paths_and_methods() -> None:
    """404 and 405 look like every other answer."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client()
        check_problem(await client.get("/nothing", headers=AUTH), 404, "not-found")
        check_problem(await client.get("/crypto/sign/?message=x", headers=AUTH), 404, "not-found")
        for method in ("DELETE", "HEAD"):
            refused = await client.request(method, "/crypto/sign", headers=AUTH)
            assert refused.status_code == 405
            assert {*refused.headers["allow"].split(", ")} == {"GET", "POST"}
        for path in ("/", "/health", "/console", "/docs", "/openapi.json"):
            assert (await client.head(path)).status_code == 200
        assert (await client.get("/")).json()["status"] == 200
        health = (await client.get("/health")).json()
        assert health["parts"] == {"database": "up", "queue": "up"}

    in_world(scenario)


def test_status_of_a_request() -> None:
    """Its caller sees it at once; another caller's, and one that never was, are 404."""

    async def scenario(world: ApiWorld) -> None:
        world.fill_window()
        client = world.client()
        accepted = (await sign(client, webhook_url=HOOK)).json()
        url = f"/crypto/requests/{accepted['request_id']}"
        body = (await client.get(url, headers=AUTH)).json()
        assert body["request_id"] == accepted["request_id"]
        assert (body["status"], body["state"], body["attempts"]) == (200, "waiting", 0)
        assert body["delivery"]["state"] == "none"
        assert body["created_at"].endswith("Z")
        assert len(body["created_at"]) == len("2026-01-01T00:00:00.000Z")
        other = await client.get(url, headers={"Authorization": "key-of-bob"})
        check_problem(other, 404, "not-found")
        check_problem(await client.get("/crypto/requests/nonsense", headers=AUTH), 404, "not-found")

    in_world(scenario)


def test_an_attacher_sees_a_signature_that_came_meanwhile() -> None:
    """Put the request, then read the job: a signature recorded in between is answered at once, and once."""

    async def scenario(world: ApiWorld) -> None:
        world.fill_window()
        accept = world.store.accept

        async def slow_accept(request: requests.Request) -> requests.Request:
            stored = await accept(request)
            job = jobs.signed(jobs.new_job("hello", 0), SIGNATURE, world.clock.now_ms())
            await world.store.write_job(None, job)
            return stored

        world.store.accept = slow_accept  # type: ignore[method-assign]
        response = await sign(world.client(), webhook_url=HOOK)
        assert (response.status_code, response.json()["signature"]) == (200, SIGNATURE)
        (request,) = world.table.requests_of(jobs.job_id("hello"))
        assert request.state is RequestState.SIGNED
        assert not request.delivery_due
        status = await world.client().get(f"/crypto/requests/{request.id}", headers=AUTH)
        assert (status.json()["state"], status.json()["attempts"]) == ("signed", 1)

    in_world(scenario)


def test_an_error_nobody_foresaw() -> None:
    """Whatever goes wrong, the answer is a problem with the request's id, and tells nothing of the inside."""

    async def scenario(world: ApiWorld) -> None:
        class Broken:
            def __getattr__(self, name: str) -> object:
                raise ZeroDivisionError("a key, perhaps")

        response = await sign(world.client(store=Broken()))
        check_problem(response, 500, "internal-server-error")
        assert "ZeroDivision" not in response.text
        (said,) = [str(fields["error"]) for name, fields in world.telemetry.events if name == "error"]
        assert said.startswith("ZeroDivisionError at ")
        assert "a key" not in said

    in_world(scenario)


def test_a_message_that_moves_to_another_queue_is_counted_once() -> None:
    """It stands in the shorter of two callers' queues, and in that one only."""

    async def scenario(world: ApiWorld) -> None:
        world.fill_window()
        client = world.client()
        for message in ("one", "two"):
            assert (await sign(client, message, HOOK)).status_code == 202
        bobs = {"Authorization": "key-of-bob"}
        params = {"message": "two", "webhook_url": HOOK}
        assert (await client.get("/crypto/sign", params=params, headers=bobs)).status_code == 202
        job = await world.store.job(jobs.job_id("two"))
        assert job
        assert job.client == "bob"
        assert world.window.gate
        assert world.window.gate.waiting == {"alice": 1, "bob": 1}

    in_world(scenario)


def test_a_slow_upstream_makes_nobody_wait_for_a_turn() -> None:
    """A server works at so many at a time, but what waits for the upstream keeps none of them busy."""

    async def scenario(world: ApiWorld) -> None:
        world.upstream.takes_ms = 60_000
        client, started_ms = world.client(), world.clock.monotonic_ms()
        answers = await asyncio.gather(*(sign(client, f"message {number}", HOOK) for number in range(60)))
        assert {answer.status_code for answer in answers} == {202}
        assert world.clock.monotonic_ms() - started_ms < 2_000
        assert len(world.upstream.calls) == 10

    in_world(scenario)


def test_a_server_works_at_so_many_at_a_time() -> None:
    """The others wait for their turn; who gets none in time is told so in time."""

    async def scenario(world: ApiWorld) -> None:
        world.fill_window()
        job, at_once, most = world.store.job, 0, 0

        async def slow_job(job_id: str) -> Job | None:
            nonlocal at_once, most
            at_once, most = at_once + 1, max(most, at_once + 1)
            await world.clock.sleep_ms(600)
            at_once -= 1
            return await job(job_id)

        world.store.job = slow_job  # type: ignore[method-assign]
        client, started_ms = world.client(), world.clock.monotonic_ms()
        answers = await asyncio.gather(*(sign(client, f"message {number}") for number in range(40)))
        assert most == 10
        assert {answer.status_code for answer in answers} == {429, 503}
        assert world.clock.monotonic_ms() - started_ms < 2_000

    in_world(scenario)


def test_time_counts_from_the_front() -> None:
    """Where our own front is trusted, time spent in its queue is time spent."""

    async def scenario(world: ApiWorld) -> None:
        world.upstream.takes_ms = 60_000
        headers = {"X-Request-Start": f"t={world.clock.now_ms() - 1_000}", **AUTH}
        started_ms = world.clock.monotonic_ms()
        response = await world.client().get("/crypto/sign?message=hello", headers=headers)
        assert response.status_code == 504
        assert world.clock.monotonic_ms() - started_ms < 1_000

    in_world(scenario, TRUST_REQUEST_START="true")


def test_once_the_front_has_answered_nothing_is_called() -> None:
    """However late the emulator starts the function: its caller has a 503, and the id is that of the 503."""

    async def scenario(world: ApiWorld) -> None:
        request_id = "01a213e1-0592-786a-bf46-975a02769319"
        headers = {
            "X-Request-Start": f"t={world.clock.now_ms() - 60_000}",
            "X-Request-Id": request_id,
            **AUTH,
        }
        response = await world.client().get("/crypto/sign?message=hello", headers=headers)
        assert response.status_code >= 429
        assert response.json()["request_id"] == request_id
        assert world.upstream.calls == []

    in_world(scenario, TRUST_REQUEST_START="true")


def test_a_caller_s_own_id_is_not_believed() -> None:
    """Two requests with one id would share a webhook's id: only our own front gives it."""

    async def scenario(world: ApiWorld) -> None:
        given = "01a213e1-0592-786a-bf46-975a02769319"
        response = await world.client().get("/health", headers={"X-Request-Id": given})
        assert response.json()["request_id"] != given

    in_world(scenario)


def test_a_call_that_got_no_slot_counts_for_nothing() -> None:
    """Where the window can't be written, the fence is taken back: nothing was sent, and nothing counts."""

    async def scenario(world: ApiWorld) -> None:
        async def refused(change: Change) -> Written[Gate] | Conflict[Gate]:
            raise Unavailable(f"no write of {change}")

        world.window_store.apply = refused  # type: ignore[method-assign]
        assert (await sign(world.client(), webhook_url=HOOK)).status_code == 202
        job = await world.store.job(jobs.job_id("hello"))
        assert job
        assert (job.state, job.attempts, job.call) == (JobState.WAITING, 0, None)

    in_world(scenario)


def test_a_call_cut_off_by_our_two_seconds_is_no_failure() -> None:
    """It says nothing about the message: the message waits among those never tried, and is due at once."""

    async def scenario(world: ApiWorld) -> None:
        world.upstream.takes_ms = 5_000
        assert (await sign(world.client(), webhook_url=HOOK)).status_code == 202
        job = await world.store.job(jobs.job_id("hello"))
        assert job
        assert (job.state, job.attempts, job.call) == (JobState.WAITING, 0, None)
        assert job.callable_by_processor(world.clock.now_ms())

    in_world(scenario)
