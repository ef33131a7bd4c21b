"""`POST /crypto/sign` and `Prefer: respond-async`: other ways to ask for the same."""

import gzip
import json

import pytest

from core import job as jobs
from core import request as requests
from tests.component.test_api import AUTH, check_problem, in_world, sign
from tests.component.world import HOOK, SIGNATURE, ApiWorld, Down

JSON = {"Content-Type": "application/json", **AUTH}


def test_a_posted_message_is_signed() -> None:
    """The JSON body says what the query does, and nothing of it is decoded twice."""

    async def scenario(world: ApiWorld) -> None:
        response = await world.client().post("/crypto/sign", json={"message": "a+b %41 ä"}, headers=AUTH)
        assert (response.status_code, response.json()["signature"]) == (200, SIGNATURE)
        assert world.upstream.calls == ["a+b %41 ä"]

    in_world(scenario)


def test_a_posted_webhook_is_kept() -> None:
    """A 202 for a POST promises what one for a GET does."""

    async def scenario(world: ApiWorld) -> None:
        world.fill_window()
        body = {"message": "hello", "webhook_url": HOOK}
        assert (await world.client().post("/crypto/sign", json=body, headers=AUTH)).status_code == 202
        (request,) = world.table.requests_of(jobs.job_id("hello"))
        assert request.webhook_url == HOOK

    in_world(scenario)


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        ({}, "message"),
        ({"message": None}, "message"),
        ({"message": ""}, "message"),
        ({"message": 1}, "message"),
        ({"message": "a" * 2_049}, "message"),
        ({"message": "\ud800"}, "message"),
        ({"message": "a\0"}, "message"),
        ({"message": "a", "webhook_url": 5}, "webhook_url"),
        ({"message": "a", "webhook_url": "http://example.com/"}, "webhook_url"),
        ({"message": "a", "webhook_url": "https://example.com/\ud800"}, "webhook_url"),
    ],
)
def test_bad_parameters_are_named(body: dict[str, object], parameter: str) -> None:
    """The same limits and the same 422 as for the query."""

    async def scenario(world: ApiWorld) -> None:
        response = await world.client().post("/crypto/sign", content=json.dumps(body), headers=JSON)
        assert check_problem(response, 422, "invalid-parameter")["parameter"] == parameter
        assert world.upstream.calls == []

    in_world(scenario)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"hello"', b"\xff", b"[" * 20_000, '{"message":"a"}'.encode("utf-16")]
)
def test_a_body_that_is_no_object(body: bytes) -> None:
    """400: it can't be read."""

    async def scenario(world: ApiWorld) -> None:
        response = await world.client().post("/crypto/sign", content=body, headers=JSON)
        check_problem(response, 400, "malformed-body")

    in_world(scenario)


def test_a_parameter_given_twice() -> None:
    """Which of the two would be signed is nothing to guess."""

    async def scenario(world: ApiWorld) -> None:
        body = b'{"message":"a","message":"b"}'
        response = await world.client().post("/crypto/sign", content=body, headers=JSON)
        assert check_problem(response, 422, "invalid-parameter")["parameter"] == "message"

    in_world(scenario)


def test_an_unknown_member_names_the_known_ones() -> None:
    """The nearest one, or all. In a body nothing is to be encoded, and a query has no parameters there."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client()
        for body, query, detail in (
            (
                {"message": "a", "webhookUrl": HOOK},
                "",
                "webhookUrl: is not known here; did you mean webhook_url?",
            ),
            ({"message": "a", "x": 1}, "", "x: is not known here; known are message, reference, webhook_url"),
            ({"message": "a"}, "?message=b", "message: is not known here; this query has no parameters"),
        ):
            response = await client.post(f"/crypto/sign{query}", json=body, headers=AUTH)
            assert check_problem(response, 422, "invalid-parameter")["detail"] == detail

    in_world(scenario)


def test_a_compressed_body_is_refused_as_such() -> None:
    """The gateway may change its bytes, so it can't be read; the caller is told what to send."""

    async def scenario(world: ApiWorld) -> None:
        headers = {**JSON, "Content-Encoding": "gzip"}
        response = await world.client().post("/crypto/sign", content=gzip.compress(b"{}"), headers=headers)
        assert "Content-Encoding" in check_problem(response, 415, "unsupported-media-type")["detail"]
        same = {**JSON, "Content-Encoding": "identity"}
        response = await world.client().post("/crypto/sign", content=b'{"message":"a"}', headers=same)
        assert response.status_code == 200

    in_world(scenario)


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_a_body_that_is_not_json(content_type: str) -> None:
    """415: a page on another site can't send JSON without being asked for it."""

    async def scenario(world: ApiWorld) -> None:
        headers = {**AUTH, "Content-Type": content_type}
        response = await world.client().post("/crypto/sign", content=b'{"message":"a"}', headers=headers)
        check_problem(response, 415, "unsupported-media-type")

    in_world(scenario)


def test_a_body_that_is_too_large() -> None:
    """413, before it is read as JSON."""

    async def scenario(world: ApiWorld) -> None:
        body = json.dumps({"message": "a", "more": "a" * 40_000})
        response = await world.client().post("/crypto/sign", content=body, headers=JSON)
        check_problem(response, 413, "body-too-large")

    in_world(scenario)


def test_the_key_comes_first() -> None:
    """Without a key nothing of a body is judged."""

    async def scenario(world: ApiWorld) -> None:
        check_problem(await world.client().post("/crypto/sign", content=b"{"), 401, "unauthorized")

    in_world(scenario)


@pytest.mark.parametrize("preference", ["respond-async", "wait=1, Respond-Async", "respond-async; a=b"])
def test_accepted_without_a_webhook(preference: str) -> None:
    """Who prefers an asynchronous answer gets a 202 to poll for, and is told that this was heeded."""

    async def scenario(world: ApiWorld) -> None:
        world.fill_window()
        client = world.client()
        response = await sign(client, Prefer=preference, **AUTH)
        assert response.status_code == 202
        assert "respond-async" in response.headers["preference-applied"]
        assert "status_url" in response.json()["message"]
        (request,) = world.table.requests_of(jobs.job_id("hello"))
        await world.store.write_request(
            request, requests.close_signed(request, SIGNATURE, world.clock.now_ms())
        )
        found = (await client.get(response.json()["status_url"])).json()
        assert (found["state"], found["signature"]) == ("signed", SIGNATURE)
        assert found["delivery"]["state"] == "none"

    in_world(scenario)


@pytest.mark.parametrize(
    "preference", ["", "wait=2", 'a="respond-async"', "respond-asynchronously", "handling=lenient"]
)
def test_other_preferences_change_nothing(preference: str) -> None:
    """Without a webhook and without that preference nothing is queued."""

    async def scenario(world: ApiWorld) -> None:
        world.fill_window()
        check_problem(await sign(world.client(), Prefer=preference, **AUTH), 429, "limit-reached")

    in_world(scenario)


@pytest.mark.parametrize(
    ("preference", "applied", "at_most_ms"),
    [
        ("wait=1", "wait=1", 1_000),
        ("wait=60", "wait=2", 2_000),
        (f"wait={'9' * 5_000}", "wait=2", 2_000),
        ("wait=001", "wait=1", 1_000),
        ("wait=0", None, 2_000),
        ("wait=x", None, 2_000),
    ],
)
def test_a_shorter_wait_is_kept(preference: str, applied: str | None, at_most_ms: int) -> None:
    """`wait` ends the wait for the upstream sooner, and the answer says what was applied."""

    async def scenario(world: ApiWorld) -> None:
        world.upstream.takes_ms = 60_000
        started_ms = world.clock.monotonic_ms()
        response = await sign(world.client(), webhook_url=HOOK, Prefer=preference, **AUTH)
        assert response.status_code == 202
        assert response.headers.get("preference-applied") == applied
        assert at_most_ms - 600 < world.clock.monotonic_ms() - started_ms < at_most_ms

    in_world(scenario)


def test_a_202_without_an_estimate_says_why() -> None:
    """While calls are paused nobody knows when they go on; without the window nobody knows anything."""

    async def scenario(world: ApiWorld) -> None:
        assert world.window.gate
        world.window.gate = world.window.gate.having(paused=True)
        body = (await sign(world.client(), webhook_url=HOOK)).json()
        assert (body["no_estimate"], "estimated_ready_at" in body) == ("paused", False)
        blind = world.client(window_store=Down())
        assert (await sign(blind, "other", HOOK)).json()["no_estimate"] == "not_known"

    in_world(scenario)
