"""Who may see what: keys, tokens, operators; and pages that hold nothing."""

import re

import pytest

from core.job import OUTCOME_KEPT_MS
from tests.component.test_api import AUTH, check_problem, in_world, sign
from tests.component.world import HOOK, KEY, OPERATOR_KEY, ApiWorld

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
REQUEST = "/crypto/requests/01a209d9-5b1c-7c3e-9d52-0f2b8f0b6a11"
PAGES = ("/console", "/docs", f"{REQUEST}/page")


def test_the_status_url_opens_its_request_alone() -> None:
    """The token in it needs no key, opens nothing else, and is not the key."""

    async def scenario(world: ApiWorld) -> None:
        world.fill_window()
        client = world.client()
        urls = []
        for text in ("one", "two"):
            urls.append((await sign(client, text, HOOK)).json()["status_url"])
            await world.clock.sleep_ms(1)
        assert KEY not in urls[0]
        first = await client.get(urls[0])
        assert (first.status_code, first.json()["position"]) == (200, 1)
        assert first.headers["cache-control"] == "no-store"
        assert (await client.get(urls[1])).json()["position"] == 2
        swapped = urls[0].partition("?")[0] + "?" + urls[1].partition("?")[2]
        check_problem(await client.get(swapped), 401, "unauthorized")
        check_problem(await client.get(urls[0][:-1]), 401, "unauthorized")
        check_problem(await client.get("/crypto/sign" + "?" + urls[0].partition("?")[2]), 401, "unauthorized")

    in_world(scenario)


def test_a_key_is_enough_beside_a_bad_token() -> None:
    """An expired link opens for whoever has a key."""

    async def scenario(world: ApiWorld) -> None:
        world.fill_window()
        client = world.client()
        url = (await sign(client, webhook_url=HOOK)).json()["status_url"]
        assert (await client.get(url[:-1], headers=AUTH)).status_code == 200
        check_problem(await client.get(url[:-1], headers={"Authorization": "x"}), 401, "unauthorized")

    in_world(scenario)


def test_an_id_in_upper_case_is_the_same() -> None:
    """Some tools print UUIDs so."""

    async def scenario(world: ApiWorld) -> None:
        world.fill_window()
        client = world.client()
        body = (await sign(client, webhook_url=HOOK)).json()
        url = body["status_url"].replace(body["request_id"], body["request_id"].upper())
        assert (await client.get(url)).json()["request_id"] == body["request_id"]

    in_world(scenario)


def test_a_missing_key_is_told_where_it_goes() -> None:
    """The refusal names the header."""

    async def scenario(world: ApiWorld) -> None:
        assert "Authorization" in (await world.client().get("/console/state")).json()["detail"]

    in_world(scenario)


def test_a_token_expires_with_the_record() -> None:
    """It is good for as long as a request may wait and its record is kept, and no longer."""

    async def scenario(world: ApiWorld) -> None:
        world.fill_window()
        client = world.client()
        url = (await sign(client, webhook_url=HOOK)).json()["status_url"]
        await world.clock.sleep_ms(21_600_000 + OUTCOME_KEPT_MS - 2_000)
        assert (await client.get(url)).status_code == 200
        await world.clock.sleep_ms(2_000)
        check_problem(await client.get(url), 401, "unauthorized")

    in_world(scenario)


def test_an_operator_sees_every_request_and_signs_nothing() -> None:
    """The operator's key reads; it is no caller's key."""

    async def scenario(world: ApiWorld) -> None:
        world.fill_window()
        client, operator = world.client(), {"Authorization": OPERATOR_KEY}
        request_id = (await sign(client, webhook_url=HOOK)).json()["request_id"]
        assert (await client.get(f"/crypto/requests/{request_id}", headers=operator)).status_code == 200
        check_problem(await sign(client, **operator), 401, "unauthorized")

    in_world(scenario)


@pytest.mark.parametrize("path", PAGES)
def test_pages_run_only_what_they_hold(path: str) -> None:
    """One style and at most one script, by their hashes; nothing else inline, nothing from elsewhere."""

    async def scenario(world: ApiWorld) -> None:
        response = await world.client().get(path, headers=BROWSER)
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        policy = response.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert policy.count("'sha256-") == response.text.count("<style>") + response.text.count("<script>")
        assert response.headers["referrer-policy"] == "no-referrer"
        assert not re.search(r"\son\w+=|\sstyle=|javascript:|innerHTML", response.text)
        assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", response.text)

    in_world(scenario)


def test_a_page_shows_nothing_of_a_request() -> None:
    """It is the same file for everybody: what it shows it has to ask for."""

    async def scenario(world: ApiWorld) -> None:
        world.fill_window()
        client = world.client()
        url = (await sign(client, webhook_url=HOOK)).json()["status_url"]
        known = await client.get(url, headers=BROWSER, follow_redirects=True)
        assert str(known.url) == url.replace("?", "/page?")
        unknown = await client.get(PAGES[2], headers=BROWSER)
        assert known.content == unknown.content

    in_world(scenario)


@pytest.mark.parametrize("accept", ["*/*", "application/json", "application/json, text/html;q=0.5", ""])
def test_programs_get_json(accept: str) -> None:
    """Only who names HTML, and JSON not, gets a page."""

    async def scenario(world: ApiWorld) -> None:
        response = await world.client().get(REQUEST, headers={**AUTH, "Accept": accept})
        check_problem(response, 404, "not-found")

    in_world(scenario)
