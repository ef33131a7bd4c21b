import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks.webhooks import Webhook

from infra.local import inbox, serve

SECRET = "whsec_" + "c2VjcmV0IHNlY3JldCBzZWNyZXQh"
BODY = '{"request_id": "r", "status": 200, "signature": "s"}'


@asynccontextmanager
async def running_inbox(state_dir: Path, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    app = inbox.create_app(
        inbox.Settings(**{"state_dir": state_dir, "secret": SECRET, **settings}), clock=lambda: 1_000.5
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://inbox") as client:
        yield client


def signed(webhook_id: str, body: str = BODY) -> dict[str, str]:
    now = datetime.now(tz=UTC)
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(SECRET).sign(webhook_id, now, body),
    }


async def deliver(client: httpx.AsyncClient, webhook_id: str, path: str = "/hook") -> httpx.Response:
    return await client.post(path, content=BODY, headers=signed(webhook_id))


async def received(client: httpx.AsyncClient, query: str = "") -> Any:
    return (await client.get(f"/_received{query}")).json()


async def test_a_signed_webhook_is_received_whole(tmp_path: Path) -> None:
    """Everything a reader needs is in the list: id, time, name, verdict, answer and body."""
    async with running_inbox(tmp_path) as client:
        assert (await deliver(client, "a", "/hook/shop")).status_code == 204
        listed = await received(client)
    webhook = {
        "webhook_id": "a",
        "t": 1_000.5,
        "name": "shop",
        "verified": True,
        "status": 204,
        "body": json.loads(BODY),
    }
    assert listed == {"received": [webhook], "count": 1, "distinct": 1}


@pytest.mark.parametrize(
    "broken",
    [
        {"webhook-signature": "v1,AAAA"},
        {"webhook-signature": "v1,A"},
        {"webhook-signature": "no comma"},
        {"webhook-timestamp": "1"},
        {"webhook-id": "another"},
    ],
)
async def test_a_wrong_signature_is_shown_and_refused(tmp_path: Path, broken: dict[str, str]) -> None:
    """Whatever is wrong with the headers, the webhook is listed as not verified and answered 401."""
    async with running_inbox(tmp_path) as client:
        answer = await client.post("/hook", content=BODY, headers=signed("a") | broken)
        listed = await received(client)
    assert (answer.status_code, listed["received"][0]["verified"]) == (401, False)


async def test_without_a_secret_nothing_is_verified_nor_refused(tmp_path: Path) -> None:
    """An inbox that knows no secret says so of every webhook, and takes it."""
    async with running_inbox(tmp_path, secret="") as client:
        assert (await deliver(client, "a")).status_code == 204
        assert (await received(client))["received"][0]["verified"] is False


async def test_the_secret_can_come_from_a_file(tmp_path: Path) -> None:
    """The file's text is the secret, line end or not."""
    (tmp_path / "secret").write_text(SECRET + "\n")
    async with running_inbox(tmp_path, secret="", secret_file=tmp_path / "secret") as client:
        await deliver(client, "a")
        assert (await received(client))["received"][0]["verified"] is True


async def test_the_newest_come_first_and_repeats_are_told_apart(tmp_path: Path) -> None:
    """`count` has every delivery, `distinct` every id once, `limit` only shortens the list."""
    async with running_inbox(tmp_path) as client:
        for webhook_id in ["a", "b", "b"]:
            await deliver(client, webhook_id)
        listed = await received(client, "?limit=2")
    assert [webhook["webhook_id"] for webhook in listed["received"]] == ["b", "b"]
    assert (listed["count"], listed["distinct"]) == (3, 2)


@pytest.mark.parametrize("limit", ["-1", "x", "%C2%B2"])
async def test_a_limit_that_is_no_number_is_refused(tmp_path: Path, limit: str) -> None:
    """Nonsense gets a 422, not a guess."""
    async with running_inbox(tmp_path) as client:
        assert (await client.get(f"/_received?limit={limit}")).status_code == 422


async def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    """The list and both counts are those of before, however often it restarts."""
    async with running_inbox(tmp_path) as client:
        await deliver(client, "a")
        before = await received(client)
    for _ in range(2):
        async with running_inbox(tmp_path) as client:
            assert before == await received(client)


def test_only_the_last_webhooks_are_kept_but_all_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory and file are bounded; the counts outlive the webhooks they came from."""
    monkeypatch.setattr(inbox, "RECEIVED_KEPT", 3)
    monkeypatch.setattr(inbox, "LINES_BEFORE_COMPACTING", 6)
    path = tmp_path / "received"
    kept = inbox.Received(path)
    for number in range(20):
        kept.add({"webhook_id": str(number)})
    assert len(path.read_text().splitlines()) <= 7
    for same in (kept, inbox.Received(path)):
        assert (same.count, same.distinct, len(same.last)) == (20, 20, 3)


async def test_it_fails_as_told_for_one_name_only(tmp_path: Path) -> None:
    """A name's own setting wins; the others answer as set for everybody; null takes it back."""
    async with running_inbox(tmp_path) as client:
        await client.post("/_config", json={"name": "bad", "status": 503, "retry_after": 9})
        bad = await deliver(client, "a", "/hook/bad")
        good = await deliver(client, "b", "/hook/good")
        await client.post("/_config", json={"status": 500})
        everybody = await deliver(client, "c")
        await client.post("/_config", json={"name": "bad", "status": None, "retry_after": None})
        again = await deliver(client, "d", "/hook/bad")
    assert (bad.status_code, bad.headers["retry-after"]) == (503, "9")
    assert [good.status_code, everybody.status_code, again.status_code] == [204, 500, 204]


@pytest.mark.parametrize("body", [[], {"status": 1}, {"unknown": 1}, {"delay_ms": -1}])
async def test_nonsense_is_refused_by_config(tmp_path: Path, body: object) -> None:
    """An unknown name or an impossible value changes nothing."""
    async with running_inbox(tmp_path) as client:
        assert (await client.post("/_config", json=body)).status_code == 422


async def test_the_number_of_names_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One name more than allowed is refused; those that are known can still change."""
    monkeypatch.setattr(inbox, "NAMES_MAX", 1)
    async with running_inbox(tmp_path) as client:
        statuses = [
            (await client.post("/_config", json={"name": name, "status": 500})).status_code
            for name in ["a", "b", "a"]
        ]
    assert statuses == [200, 422, 200]


async def test_a_body_that_is_not_json_is_shown_as_text(tmp_path: Path) -> None:
    """Whatever somebody posts, the list stays readable."""
    async with running_inbox(tmp_path) as client:
        await client.post("/hook", content=b"\xff<script>")
        assert (await received(client))["received"][0]["body"] == {"text": "\ufffd<script>"}


async def test_a_large_body_is_refused(tmp_path: Path) -> None:
    """A webhook of ours is small; anything above the cap is not kept."""
    async with running_inbox(tmp_path) as client:
        assert (await client.post("/hook", content=b"a" * 65_537)).status_code == 413
        assert (await received(client))["count"] == 0


async def test_the_page_needs_nothing_from_outside(tmp_path: Path) -> None:
    """The policy allows no other origin, and what was received is only ever set as text."""
    async with running_inbox(tmp_path) as client:
        page = await client.get("/")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert "://" not in page.text
    assert ".innerHTML" not in page.text


def test_a_missing_secret_file_stops_the_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The complaint names the setting, instead of every webhook being refused later."""
    with pytest.raises(SystemExit):
        serve.parse(inbox.Settings, "INBOX", [], {"INBOX_SECRET_FILE": str(tmp_path / "none")})
    assert "--secret-file (INBOX_SECRET_FILE): Path does not point to a file" in capsys.readouterr().err
