"""Flat records as DynamoDB items and back."""

from adapters import items
from core.circuit import Host


def test_a_record_comes_back_as_it_was() -> None:
    """Every scalar field survives; empty ones are not stored."""
    host = Host("example.com", failures=3)
    encoded = items.encode(host)
    assert "revision" not in encoded
    assert items.decode(Host, encoded, {}) == host
