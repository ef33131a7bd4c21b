"""What every `ports.ClaimStore` promises: in memory, and on DynamoDB."""

from dataclasses import replace
from typing import Any

import pytest

from adapters.dynamodb_claims import DynamoClaimStore
from core.claim import KEPT_MS, Reply, new_claim
from core.errors import Unavailable
from ports import ClaimStore
from tests.fakes.memory import MemoryClaimStore

NOW_MS = 1_800_000_000_000
CLAIM = new_claim("alice", "key", "parameters", "request 1", NOW_MS)
REPLY = Reply(202, (("location", "https://relay.example/ä"),), '{"status":202}')


@pytest.fixture(params=["memory", "dynamodb"])
def store(request: pytest.FixtureRequest, client: Any, table: str) -> ClaimStore:
    return MemoryClaimStore() if request.param == "memory" else DynamoClaimStore(client, table)


async def test_one_of_two_has_the_key(store: ClaimStore) -> None:
    """The other is told who has it, until it expires."""
    assert await store.take(CLAIM) == CLAIM
    later = replace(CLAIM, request_id="request 2", claimed_ms=NOW_MS + 1)
    assert await store.take(later) == CLAIM
    tomorrow = replace(later, claimed_ms=NOW_MS + KEPT_MS)
    assert await store.take(tomorrow) == tomorrow


async def test_a_reply_is_kept_once(store: ClaimStore) -> None:
    """As it was given; nothing is written over it."""
    await store.take(CLAIM)
    answered = replace(CLAIM, reply=REPLY)
    assert await store.write(CLAIM, answered)
    assert await store.take(replace(CLAIM, request_id="request 2")) == answered
    assert not await store.write(CLAIM, replace(CLAIM, expires_ms=NOW_MS))


async def test_an_abandoned_key_is_taken_over_by_one(store: ClaimStore) -> None:
    """A write lands only on the claim as it was seen."""
    await store.take(CLAIM)
    assert await store.write(CLAIM, replace(CLAIM, claimed_ms=NOW_MS + 5_000))
    assert not await store.write(CLAIM, replace(CLAIM, claimed_ms=NOW_MS + 5_001))


async def test_a_table_that_is_gone_is_unavailable(client: Any) -> None:
    """Every failure is the one error that callers handle."""
    with pytest.raises(Unavailable):
        await DynamoClaimStore(client, "none").take(CLAIM)
