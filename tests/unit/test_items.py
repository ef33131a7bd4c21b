"""Flat records as DynamoDB items and back."""

from adapters import items
from core.circuit import Receiver


def test_a_record_comes_back_as_it_was() -> None:
    """Every scalar field survives; empty ones are not stored."""
    receiver = Receiver("alice https://example.com:443/", answered=True, failures=3)
    encoded = items.encode(receiver)
    assert "revision" not in encoded
    assert items.decode(Receiver, encoded) == receiver
