"""The demo's verdict and its picture: it may not flatter."""

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from infra.demo import picture
from infra.demo.burst import Call, Seen, Sent, judge
from infra.demo.target import Target

TARGET = Target("http://api", "http://upstream", "http://inbox", "key", calls=2, window_s=10)


def delivered(number: int, at_s: float) -> Sent:
    webhook = {"t": at_s + 5, "verified": True, "body": {"signature": "c2ln"}}
    body = {"request_id": f"id-{number}", "estimated_ready_at": "1970-01-01T00:00:05.000Z"}
    return Sent(f"message {number}", at_s, 0.5, 202, body, webhook)


def kept() -> Seen:
    """Return a burst that kept every promise: one answered at once, one delivered."""
    at_once = Sent("message 0", 0, 1.9, 200, {"request_id": "id-0", "signature": "c2ln"})
    calls = [
        Call(0.5, "message 0", "signed"),
        Call(1, "message 1", "failed"),
        Call(11, "message 1", "signed"),
    ]
    return Seen(TARGET, 0, [at_once, delivered(1, 0.1)], calls)


def test_every_promise_kept() -> None:
    """A burst within the limit, answered in time, delivered and verified is a success."""
    seen = kept()
    assert seen.complete
    assert [promise.kept for promise in judge(seen)] == [True] * 4


@pytest.mark.parametrize("fault", ["limit", "late", "refused", "undelivered", "forged", "unsigned"])
def test_a_broken_promise_is_said(fault: str) -> None:
    """Whatever goes wrong, the exit status tells."""
    seen = kept()
    match fault:
        case "limit":
            seen.calls.append(Call(2, "message 2", "signed"))
        case "late":
            seen.sent[0].took_s = 2.1
        case "refused":
            seen.sent[0].status = 503
        case "undelivered":
            seen.sent[1].webhook = None
        case "forged":
            seen.unverified = ["message 0"]
        case _:
            seen.sent[0].body.pop("signature")
    assert not all(promise.kept for promise in judge(seen))


def test_a_webhook_that_is_not_ours_is_not_a_delivery() -> None:
    """What arrives without a good signature on it was not delivered."""
    seen = kept()
    seen.sent[1].webhook = {**(seen.sent[1].webhook or {}), "verified": False}
    assert [promise.kept for promise in judge(seen)] == [True, True, False, True]


def test_the_picture_is_whole_whatever_was_seen() -> None:
    """It is well-formed, has a title for who can't see it, and draws every call and every request."""
    for seen in (kept(), replace(kept(), sent=[]), replace(kept(), calls=[]), Seen(TARGET, 0)):
        drawn = ET.fromstring(picture.draw(seen))  # noqa: S314 - our own
        names = [element.tag.rpartition("}")[2] for element in drawn.iter()]
        assert "title" in names
        shown = {request.message for request in seen.sent}
        calls = sum(call.message in shown for call in seen.calls)
        assert names.count("circle") == len(picture.LEGEND) + calls + len(seen.sent)
