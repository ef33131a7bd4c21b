"""Records as DynamoDB items and back."""

from adapters import items
from core.job import Request, RequestState

REQUEST = Request("id", "job", "hello", "alice", "https://example.com/", 1_000, state=RequestState.SIGNED)


def test_a_record_comes_back_as_it_was() -> None:
    """Every scalar field survives, states as what they are."""
    assert items.decode(Request, items.encode(REQUEST), {"state": RequestState}) == REQUEST


def test_a_request_without_a_webhook_comes_back() -> None:
    """Empty texts are not stored: a required one is empty again."""
    polled = Request("id", "job", "hello", "alice", "", 1_000)
    encoded = items.encode(polled)
    assert "webhook_url" not in encoded
    assert items.decode(Request, encoded, {"state": RequestState}) == polled
