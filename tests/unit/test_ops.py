"""The operator's actions, on memory adapters."""

import copy
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from adapters import ed25519
from core import job as jobs
from core import request as requests
from core import window as windows
from core.due_index import DueKind
from core.gate import Gate
from core.job import Job, JobState
from core.messages import NotificationMessage, WakeUp
from core.request import DeliveryState, Failure, Request, RequestState
from core.secrets import Secrets
from core.window import Limits
from infra.local.keys import new_token_key, new_webhook_secret
from infra.ops import dead_letters, finding, keys, overview, secret, show, tool
from infra.ops import requests as ops_requests
from infra.ops import window as ops_window
from infra.ops.finding import Filter, State
from infra.ops.ports import NothingFound, Ports, Refused, StoredSecret
from ports import Conflict, Received, Written
from tests.fakes.memory import (
    MemoryDeadLetters,
    MemoryHistory,
    MemoryJobStore,
    MemoryQueue,
    MemoryTable,
    MemoryWindow,
    MemoryWindowStore,
)

NOW_MS = 1_800_000_000_000
HOOK = "https://receiver.example/hook"
OWN_SECRET, NEW_SECRET = "whsec_" + "B" * 32, "whsec_" + "C" * 32
OLD_SECRET, OLD_TOKEN_KEY = "whsec_" + "A" * 32, "T" * 32
SIGNING_KEY, OTHER_SIGNING_KEY = (ed25519.generate_private_key() for _ in range(2))


@dataclass
class StoppedClock:
    at_ms: int = NOW_MS

    def now_ms(self) -> int:
        return self.at_ms

    def monotonic_ms(self) -> int:
        return self.at_ms

    async def sleep_ms(self, duration_ms: int) -> None:
        self.at_ms += duration_ms


class HastyDeadLetters(MemoryDeadLetters):
    """Waits for nothing: time stands still here."""

    async def receive(self, limit: int, wait_ms: int) -> list[Received]:
        del wait_ms
        return await super().receive(limit, 0)


@dataclass
class MemoryScan:
    table: MemoryTable

    async def requests(self) -> AsyncIterator[Request]:
        for of_job in self.table.requests.values():
            for request in of_job.values():
                yield request


@dataclass
class MemoryVault:
    """`meanwhile`: changes that others make, each just before a write of ours."""

    secret: dict[str, Any] = field(
        default_factory=lambda: {
            "upstream_key": "upstream",
            "clients": {"alice": "key-of-alice"},
            "webhook_secrets": [OLD_SECRET],
            "token_key": OLD_TOKEN_KEY,
        }
    )
    version: int = 0
    meanwhile: list[dict[str, Any]] = field(default_factory=list)

    async def read(self) -> StoredSecret:
        return StoredSecret(str(self.version), copy.deepcopy(self.secret))

    async def write(
        self, before: StoredSecret | None, after: dict[str, Any]
    ) -> Written[StoredSecret] | Conflict[StoredSecret]:
        if self.meanwhile:
            self._replace(self.secret | self.meanwhile.pop())
        if before is None or before.version != str(self.version):
            return Conflict(await self.read())
        self._replace(after)
        return Written(await self.read())

    async def fill(self, document: dict[str, Any]) -> bool:
        if self.secret:
            return False
        self._replace(document)
        return True

    def _replace(self, secret: dict[str, Any]) -> None:
        self.secret, self.version = secret, self.version + 1


class World:
    """A service in memory, and an operator's ports to it."""

    def __init__(self) -> None:
        self.clock = StoppedClock()
        self.table = MemoryTable()
        self.store = MemoryJobStore(self.table)
        self.notifications = MemoryQueue(self.clock)
        self.work_dead, self.notification_dead = (
            HastyDeadLetters(self.clock),
            HastyDeadLetters(self.clock),
        )
        self.window = MemoryWindow(Gate(windows.empty(Limits(10, 60_000))))
        self.vault = MemoryVault()
        self.ports = Ports(
            store=self.store,
            scan=MemoryScan(self.table),
            window_store=MemoryWindowStore(self.window, lambda: Gate(windows.empty(Limits(10, 60_000)))),
            notifications=self.notifications,
            dead_letters={"work": self.work_dead, "notification": self.notification_dead},
            vault=self.vault,
            history=MemoryHistory(),
            clock=self.clock,
        )

    async def accept(self, number: int, *, client: str = "alice", webhook: str = HOOK) -> Request:
        """Accept a request of a message of its own, which waits for its first call."""
        message = f"message {number}"
        job = jobs.schedule(None, message, NOW_MS)
        await self.store.write_job(None, job)
        created_ms = NOW_MS + number
        return await self.store.accept(
            Request(request_id(number), job.id, message, client, webhook, created_ms, due_ms=created_ms)
        )

    async def job_of(self, request: Request) -> Job:
        job = await self.store.job(request.job_id)
        assert job is not None
        return job

    async def stored(self, request: Request) -> Request:
        found = await self.store.request(request.id)
        assert found is not None
        return found

    async def end(self, request: Request, state: DeliveryState) -> Request:
        """Close a request, and end its delivery so."""
        closed = requests.close_signed(request, "c2ln", NOW_MS)
        ended = replace(closed, delivery=replace(closed.delivery, state=state, attempts=7), due_ms=None)
        await self.store.write_request(request, ended)
        return await self.stored(request)


def request_id(number: int) -> str:
    return f"0000000a-0000-7000-8000-{number:012}"


@pytest.fixture
def world() -> World:
    return World()


async def found_ids(world: World, wanted: Filter, *states: State) -> list[str]:
    return [row.request.id for row in await finding.find(world.ports, wanted, frozenset(states))]


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (Filter(), [1, 2, 3]),
        (Filter(client="bob"), [2]),
        (Filter(since_ms=NOW_MS + 2), [2, 3]),
        (Filter(until_ms=NOW_MS + 2), [1]),
        (Filter(ids=frozenset({request_id(3), request_id(9)})), [3]),
        (Filter(ids=frozenset({request_id(3)}), client="bob"), []),
        (tool.wanted_by([f" {request_id(3).upper()}"], "", "", ""), [3]),
    ],
)
async def test_requests_are_found_by_id_caller_and_time(
    world: World, wanted: Filter, numbers: list[int]
) -> None:
    """Every given condition must hold; an unknown id is no error."""
    for number in (1, 2, 3):
        await world.accept(number, client="bob" if number == 2 else "alice")
    assert await found_ids(world, wanted) == [request_id(number) for number in numbers]


async def test_requests_are_found_by_where_they_stand(world: World) -> None:
    """Waiting and retrying are told apart by the job's calls; an outcome and its webhook are found alike."""
    waiting, retried, undeliverable = [await world.accept(number) for number in (1, 2, 3)]
    job = await world.job_of(retried)
    called = jobs.fence(job, "call", NOW_MS, call_for_ms=1, retry_ms=1)
    await world.store.write_job(job, jobs.failed(called, NOW_MS, NOW_MS + 1, counted=True))
    await world.end(undeliverable, DeliveryState.UNDELIVERABLE)
    assert await found_ids(world, Filter(), State.WAITING) == [waiting.id]
    assert await found_ids(world, Filter(), State.RETRYING) == [retried.id]
    assert await found_ids(world, Filter(), State.OPEN) == [waiting.id, retried.id]
    assert await found_ids(world, Filter(), State.SIGNED) == [undeliverable.id]
    assert await found_ids(world, Filter(), State.UNDELIVERABLE, State.GONE) == [undeliverable.id]


async def test_an_operator_ends_the_wait_that_a_429_asked_for(world: World) -> None:
    """Calls go on at once; a second time there is nothing to end."""
    window = (await world.ports.window_store.read()).window
    block = windows.block(window, NOW_MS, NOW_MS + 3_600_000)
    assert block
    await world.ports.window_store.apply(block)
    assert await ops_window.unblock(world.ports)
    assert not (await world.ports.window_store.read()).window.blocked(NOW_MS)
    assert not await ops_window.unblock(world.ports)


async def test_a_purge_fails_and_tells(world: World) -> None:
    """Each open request fails and says why, its caller is told, and its job is called no more."""
    requests = [await world.accept(number) for number in (1, 2)]
    assert await ops_requests.purge(world.ports, requests, notify=True) == 2
    for request in requests:
        purged = await world.stored(request)
        assert purged.outcome == Failure(503, "purged_by_operator")
        assert purged.delivery_due
        assert purged.calls == 0
        assert (await world.job_of(request)).state is JobState.IDLE
    expected = [NotificationMessage(request.job_id, request.id, 0).encode() for request in requests]
    assert world.notifications.texts == expected
    assert await world.store.due_jobs(DueKind.FRESH, NOW_MS * 2, 10) == []


async def test_a_purge_can_be_silent(world: World) -> None:
    """Told not to notify, it sends nothing, now or later."""
    request = await world.accept(1)
    assert await ops_requests.purge(world.ports, [request], notify=False) == 1
    assert (await world.stored(request)).due_ms is None
    assert world.notifications.texts == []


async def test_a_purge_leaves_what_was_signed_meanwhile(world: World) -> None:
    """Between the listing and the purge a signature may come: it stands."""
    seen = await world.accept(1)
    await world.end(seen, DeliveryState.DELIVERED)
    assert await ops_requests.purge(world.ports, [seen], notify=True) == 0
    assert (await world.stored(seen)).state is RequestState.SIGNED


async def test_a_purge_is_not_put_off_by_the_sweep(world: World) -> None:
    """A request that was only looked at meanwhile is purged all the same."""
    seen = await world.accept(1)
    await world.store.write_request(seen, replace(seen, due_ms=NOW_MS + 10_000))
    assert await ops_requests.purge(world.ports, [seen], notify=True) == 1


async def test_a_purge_keeps_jobs_that_others_wait_for(world: World) -> None:
    """Whoever is not purged is served."""
    purged = await world.accept(1)
    await world.store.accept(replace(purged, id=request_id(2), client="bob"))
    await ops_requests.purge(world.ports, [purged], notify=True)
    assert (await world.job_of(purged)).state is JobState.WAITING


async def test_a_purge_cuts_no_call_off(world: World) -> None:
    """A job whose call is under way is left to whoever makes it."""
    request = await world.accept(1)
    job = await world.job_of(request)
    await world.store.write_job(job, jobs.fence(job, "call", NOW_MS, call_for_ms=10_000, retry_ms=1))
    await ops_requests.purge(world.ports, [request], notify=True)
    assert (await world.job_of(request)).call_live(NOW_MS)


@pytest.mark.parametrize(
    ("state", "count"),
    [
        (DeliveryState.UNDELIVERABLE, 1),
        (DeliveryState.GONE, 1),
        (DeliveryState.DELIVERED, 1),
        (DeliveryState.PENDING, 1),
        (DeliveryState.NONE, 0),
    ],
)
async def test_a_delivery_starts_again(world: World, state: DeliveryState, count: int) -> None:
    """A replay begins at the first attempt, is due, and does not expire; without a webhook there is none."""
    ended = await world.end(await world.accept(1), state)
    results = await ops_requests.replay(world.ports, [ended])
    assert (results[ended.id] == ops_requests.REPLAYED) is bool(count)
    after = await world.stored(ended)
    texts = [NotificationMessage(ended.job_id, ended.id, 0).encode()]
    assert world.notifications.texts == texts * count
    assert (after.delivery_due, after.delivery.attempts) == ((True, 0) if count else (False, 7))


async def test_dead_letters_are_looked_at_and_left(world: World) -> None:
    """A listing names what each letter is about, hides nothing, and can be repeated."""
    request = await world.accept(1)
    await world.work_dead.send([WakeUp(request.job_id).encode(), "garbage"])
    for _ in range(2):
        letters = await dead_letters.list_all(world.ports, Filter())
        assert [(letter.queue, letter.readable, letter.requests) for letter in letters] == [
            ("work", True, (request,)),
            ("work", False, ()),
        ]


async def test_dead_letters_are_deleted(world: World) -> None:
    """Of both queues, those that nobody can read too."""
    request = await world.accept(1)
    await world.work_dead.send([WakeUp(request.job_id).encode(), "garbage"])
    await world.notification_dead.send([NotificationMessage(request.job_id, request.id, 3).encode()] * 25)
    assert await dead_letters.delete(world.ports, Filter()) == 27
    assert world.work_dead.texts == world.notification_dead.texts == []


async def test_dead_letters_of_others_are_left(world: World) -> None:
    """Only letters about a request that fits are deleted; the others can be received at once."""
    hers, his = await world.accept(1), await world.accept(2, client="bob")
    texts = [WakeUp(request.job_id).encode() for request in (hers, his)]
    await world.work_dead.send(texts)
    assert await dead_letters.delete(world.ports, Filter(client="bob")) == 1
    assert world.work_dead.texts == [texts[0]]
    assert await world.work_dead.count() == 1


async def test_a_pause_holds_until_resumed(world: World) -> None:
    """The window says so to every function; saying it twice changes nothing."""
    assert await ops_window.pause(world.ports, by="olga")
    assert (await world.ports.window_store.read()).paused
    assert not await ops_window.pause(world.ports, by="otto")
    assert await ops_window.resume(world.ports)
    assert not (await world.ports.window_store.read()).paused


async def test_a_retry_comes_sooner(world: World) -> None:
    """What waits for its next try is due now; what is due, or being called, is left as it is."""
    later, due = await world.accept(1), await world.accept(2)
    job = await world.job_of(later)
    await world.store.write_job(
        job, replace(job, attempts=1, due_ms=NOW_MS + 9_000, next_try_ms=NOW_MS + 9_000)
    )
    results = await ops_requests.retry_now(world.ports, [later, due])
    assert results == {later.id: ops_requests.DUE_NOW, due.id: ops_requests.NOT_HURRIED}
    assert (await world.job_of(later)).due_ms == NOW_MS
    called = jobs.fence(await world.job_of(later), "call", NOW_MS, call_for_ms=5_000, retry_ms=1_000)
    await world.store.write_job(await world.job_of(later), called)
    assert await ops_requests.retry_now(world.ports, [later]) == {later.id: ops_requests.NOT_HURRIED}


async def test_a_filled_window_grants_nothing_for_a_lease(world: World) -> None:
    """And no slot that is busy for longer is freed by it."""
    assert await ops_window.fill_window(world.ports, 100_000)
    assert {slot.free_at_ms for slot in world.window.window.slots} == {NOW_MS + 100_000}
    await ops_window.fill_window(world.ports, 1_000)
    assert {slot.free_at_ms for slot in world.window.window.slots} == {NOW_MS + 100_000}


async def test_the_upstreams_key_is_replaced_alone(world: World) -> None:
    """Callers keep theirs, whatever others changed meanwhile; a suspected key is probed at once."""
    assert world.window.gate
    world.window.gate = world.window.gate.having(suspect_since_ms=1, probe_at_ms=NOW_MS + 60_000)
    before = dict(world.vault.secret)
    world.vault.meanwhile = [{"clients": {"alice": "key-of-alice", "carol": "key-of-carol"}}]
    await secret.set_upstream_key(world.ports, "the-new-one")
    changed = {"upstream_key": "the-new-one", "clients": {"alice": "key-of-alice", "carol": "key-of-carol"}}
    assert world.vault.secret == before | changed
    assert world.window.gate.key.probe_at_ms == NOW_MS
    with pytest.raises(Refused):
        await secret.set_upstream_key(world.ports, "")


async def test_the_overview_is_the_consoles_headline(world: World) -> None:
    """State, why and what to do, with the figures that it was judged by."""
    assert world.window.gate
    world.window.gate = world.window.gate.having(None, **{"waits:alice": 1})
    document = await overview.document(world.ports)
    assert (document["state"], document["waiting"], document["slots_in_use"]) == ("at_limit", "1", "0 of 10")
    await ops_window.pause(world.ports, by="olga")
    document = await overview.document(world.ports)
    assert (document["title"], document["todo"]) == (
        "Calls are paused by olga",
        "Ask the operator who paused calls, then continue: `resume`.",
    )
    await world.work_dead.send(["garbage"])
    assert (await overview.document(world.ports))["dead_letters_work"] == 1


async def test_limits_set_by_an_operator_stand(world: World) -> None:
    """They hold until a deployment asks for other numbers than the last one did."""
    assert await ops_window.set_limits(world.ports, 5, 30_000)
    window = world.window.window
    assert window is not None
    assert (window.limits.calls, window.limits.window_ms) == (5, 30_000)
    assert not windows.wants_deployed(window, Limits(10, 60_000))
    assert not await ops_window.set_limits(world.ports, 5, 30_000)


async def test_the_first_secret_is_made_once(world: World) -> None:
    """A filled secret is never replaced, and one that the functions could not use is not written."""
    document = secret.first_secret("upstream", "default", secret.new_key(), OWN_SECRET)
    with pytest.raises(Refused, match="filled already"):
        await secret.init_secret(world.vault, document)
    world.vault.secret = {}
    with pytest.raises(Refused, match="upstream_key"):
        await secret.init_secret(world.vault, document | {"upstream_key": ""})
    assert world.vault.secret == {}
    await secret.init_secret(world.vault, document)
    assert world.vault.secret == document


async def test_the_first_caller_has_a_webhook_secret_of_its_own(world: World) -> None:
    """A caller that is added later cannot forge a webhook to it."""
    world.vault.secret = {}
    document = secret.first_secret("upstream", "first", secret.new_key(), OWN_SECRET)
    await secret.init_secret(world.vault, document)
    await keys.add_key(world.vault, "second", webhook_secret=NEW_SECRET)
    stored = Secrets.parse(json.dumps(world.vault.secret))
    assert (stored.webhook_secrets_of("first"), stored.webhook_secrets_of("second")) == (
        (OWN_SECRET,),
        (NEW_SECRET,),
    )
    assert not {OWN_SECRET, NEW_SECRET} & {*stored.webhook_secrets}


async def test_a_caller_has_a_secret_of_its_own(world: World) -> None:
    """No caller can sign a webhook to another: its secret comes with its key and outlives it."""
    await keys.add_key(world.vault, "bob", webhook_secret=OWN_SECRET)
    assert world.vault.secret["client_webhook_secrets"]["bob"] == [OWN_SECRET]
    await keys.add_client_secret(world.vault, "bob", NEW_SECRET)
    assert world.vault.secret["client_webhook_secrets"]["bob"] == [NEW_SECRET, OWN_SECRET]
    await keys.retire_client_secrets(world.vault, "bob")
    assert world.vault.secret["client_webhook_secrets"]["bob"] == [NEW_SECRET]
    with pytest.raises(NothingFound):
        await keys.retire_client_secrets(world.vault, "bob")
    await keys.revoke_key(world.vault, "bob")
    assert world.vault.secret["client_webhook_secrets"]["bob"] == [NEW_SECRET]
    with pytest.raises(NothingFound):
        await keys.add_client_secret(world.vault, "bob", OWN_SECRET)


async def test_a_caller_of_before_keeps_its_secret_while_it_changes_over(world: World) -> None:
    """Whose webhooks the shared secret signed gets one of its own beside it."""
    shared = world.vault.secret["webhook_secrets"]
    await keys.add_client_secret(world.vault, "alice", OWN_SECRET)
    assert world.vault.secret["client_webhook_secrets"]["alice"] == [OWN_SECRET, *shared]


async def test_keys_are_added_and_revoked(world: World) -> None:
    """A new key is long, of its own, and the rest of the secret stays as it is."""
    before = (await world.vault.read()).document
    key = await keys.add_key(world.vault, "bob")
    assert len(key) >= 32
    assert world.vault.secret == before | {"clients": {"alice": "key-of-alice", "bob": key}}
    with pytest.raises(Refused):
        await keys.add_key(world.vault, "bob")
    await keys.revoke_key(world.vault, "bob")
    assert world.vault.secret == before
    with pytest.raises(NothingFound):
        await keys.revoke_key(world.vault, "bob")


async def test_operators_have_keys_of_their_own(world: World) -> None:
    """A secret of before operators has none; a caller of the same name keeps the other key."""
    before = (await world.vault.read()).document
    assert await keys.key_names(world.vault, secret.OPERATORS) == []
    key = await keys.add_key(world.vault, "alice", secret.OPERATORS)
    assert world.vault.secret == before | {"operators": {"alice": key}}
    assert await keys.key_names(world.vault, secret.OPERATORS) == ["alice"]
    await keys.revoke_key(world.vault, "alice", secret.OPERATORS)
    assert world.vault.secret == before | {"operators": {}}
    with pytest.raises(NothingFound):
        await keys.revoke_key(world.vault, "alice", secret.OPERATORS)


async def test_a_change_keeps_what_another_operator_changed(world: World) -> None:
    """Of two changes at once none is lost: the second is decided again on what the first one left."""
    world.vault.meanwhile = [{"clients": {"alice": "key-of-alice", "carol": "key-of-carol"}}]
    key = await keys.add_key(world.vault, "bob")
    assert world.vault.secret["clients"] == {"alice": "key-of-alice", "carol": "key-of-carol", "bob": key}


async def test_a_change_that_the_functions_could_not_read_is_refused(world: World) -> None:
    """The same rules hold for those who write the secret and those who read it."""
    world.vault.secret["operators"] = {"olga": "key-of-alice"}
    before = (await world.vault.read()).document
    with pytest.raises(Refused, match="operators must be other keys than those of clients"):
        await keys.add_key(world.vault, "bob")
    assert world.vault.secret == before


async def test_webhook_secrets_overlap_while_they_are_rotated(world: World) -> None:
    """Both sign until the old one is retired; the last one can't be."""
    new = new_webhook_secret()
    await secret.add_signer(world.vault, "webhook_secrets", new)
    assert world.vault.secret["webhook_secrets"] == [new, OLD_SECRET]
    assert await secret.retire_signers(world.vault, "webhook_secrets") == 1
    assert world.vault.secret["webhook_secrets"] == [new]
    for kind in ("webhook_secrets", "signing_keys", "token_keys"):
        with pytest.raises(NothingFound):
            await secret.retire_signers(world.vault, kind)


async def test_token_keys_overlap_while_they_are_rotated(world: World) -> None:
    """The one key of version 0.1 becomes the older of two; a third is refused until it is retired."""
    new = new_token_key()
    await secret.add_signer(world.vault, "token_keys", new)
    assert Secrets.parse(json.dumps(world.vault.secret)).token_keys == (new, OLD_TOKEN_KEY)
    with pytest.raises(Refused, match="token_keys must be 1 to 2 keys"):
        await secret.add_signer(world.vault, "token_keys", new_token_key())
    assert await secret.retire_signers(world.vault, "token_keys") == 1
    assert world.vault.secret["token_keys"] == [new]
    assert "token_key" not in world.vault.secret


async def test_a_retired_signing_key_stays_published(world: World) -> None:
    """What it signed can still be verified; what it would sign now is nobody's."""
    pairs = [(key, ed25519.public_key(key)) for key in (SIGNING_KEY, OTHER_SIGNING_KEY)]
    for key, public_key in pairs:
        await secret.add_signer(world.vault, "signing_keys", key, public_key)
    (_, public_1), (key_2, public_2) = pairs
    assert world.vault.secret["public_keys"] == [public_2, public_1]
    assert await secret.retire_signers(world.vault, "signing_keys") == 1
    kept = {name: world.vault.secret[name] for name in ("signing_keys", "public_keys", "retired_public_keys")}
    assert kept == {
        "signing_keys": [key_2],
        "public_keys": [public_2],
        "retired_public_keys": [public_1],
    }


async def test_a_secret_that_was_filled_by_hand_publishes_what_it_names(world: World) -> None:
    """Signing keys without public halves beside them can be retired all the same."""
    world.vault.secret |= {"signing_keys": [OTHER_SIGNING_KEY, SIGNING_KEY]}
    assert await secret.retire_signers(world.vault, "signing_keys") == 1
    assert world.vault.secret["signing_keys"] == [OTHER_SIGNING_KEY]
    assert world.vault.secret["public_keys"] == []


async def test_nothing_shown_is_the_callers(world: World) -> None:
    """Neither the message nor the signature is shown to an operator."""
    request = await world.end(await world.accept(1), DeliveryState.GONE)
    (standing,) = await finding.find(world.ports, Filter(ids=frozenset({request.id})))
    shown = ops_requests.standing_document(standing)
    assert shown["webhook"] == "gone"
    assert {request.message, request.signature}.isdisjoint(map(str, shown.values()))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ("2026-01-02T03:04:05", "2026-01-02T03:04:05Z"),
        ("2026-01-02T03:04:05+02:00", "2026-01-02T01:04:05Z"),
        ("2026-01-02", "2026-01-02T00:00:00Z"),
    ],
)
def test_times_are_utc_unless_they_say_otherwise(text: str, moment: str) -> None:
    """An ISO 8601 time without a zone is UTC, whatever zone the operator is in."""
    assert show.time_text(show.moment_ms(text)) == moment


def test_times_may_be_distances() -> None:
    """A number and a unit count back from now; anything else is refused."""
    assert show.moment_ms("2h") - show.moment_ms("3h") == pytest.approx(3_600_000, abs=1000)
    for nonsense in ("", "2", "h", "2w", "-2h"):
        with pytest.raises(ValueError, match=r"Invalid isoformat"):
            show.moment_ms(nonsense)
