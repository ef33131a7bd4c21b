"""Webhooks, from the message that names one to its end: in virtual time, with receivers of every temper."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any, cast

import pytest

from core.circuit import GOOD_PLACES_MAX
from core.errors import Unavailable
from core.in_flight import PLACES_MAX
from core.messages import NotificationMessage, WaitingMessage, decode_webhooks
from core.request import DeliveryState, Request
from core.webhook import PostResult
from notifier.attempts import Attempts
from notifier.queues import Lane, ReceiverQueues
from notifier.receivers import Receivers
from ports import Conflict, Written
from proofs.simulation.virtual_time import EPOCH_MS, run
from tests.component.notifier_world import (
    DELAYS_MS,
    HOOK,
    SECRET,
    TIMEOUT,
    NotifierWorld,
    Seeded,
    answered,
    message_of,
)
from tests.component.world import SIGNATURE, Down

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
OUTAGE_MS = 600_000
HANGS_MS = 15_000
QUICK_MS = 50

BATCHES = 10
REFUSED = PostResult(None, "connect_refused", None, "")

Behave = Callable[[str, int], tuple[PostResult, int]]


def in_world(
    behave: Behave, scenario: Callable[[NotifierWorld], Awaitable[None]], **options: Any
) -> NotifierWorld:
    """Run a scenario in virtual time."""

    async def main() -> NotifierWorld:
        world = NotifierWorld(behave, **options)
        await scenario(world)
        return world

    return run(main())


def always(result: PostResult, takes_ms: int = QUICK_MS) -> Behave:
    return lambda _url, _before: (result, takes_ms)


def waits_s(world: NotifierWorld) -> list[int]:
    """The seconds between attempts, as the receiver saw them."""
    return [round((later.at_ms - post.at_ms) / 1000) for post, later in pairwise(world.receivers.posts)]


def messages_deferred(world: NotifierWorld) -> int:
    """How many messages were sent for webhooks that have to wait."""
    return sum(cast(int, fields.get("WebhooksDeferred", 0)) for _, fields in world.telemetry.events)


async def deliver_one(world: NotifierWorld, duration_ms: int = DAY_MS) -> DeliveryState:
    request = await world.closed()
    await world.announce(request)
    await world.run(duration_ms)
    return (await world.now(request)).delivery.state


def test_the_schedule_of_a_receiver_that_fails() -> None:
    """Each wait is the schedule's, never shorter; after the last one the delivery is kept with its reason."""

    async def scenario(world: NotifierWorld) -> None:
        request = await world.closed()
        await world.announce(request)
        await world.run(2 * DAY_MS)
        delivery = (await world.now(request)).delivery
        assert (delivery.state, delivery.attempts) == (DeliveryState.UNDELIVERABLE, 8)
        assert (delivery.reason, delivery.excerpt) == ("http_500", "out of order")
        assert (await world.now(request)).due_ms is None

    world = in_world(always(answered(500, excerpt="out of order")), scenario)
    for waited_s, delay_ms in zip(waits_s(world), DELAYS_MS, strict=True):
        assert delay_ms / 1000 <= waited_s <= delay_ms / 1000 + 70  # the circuit's minute, the sweep's 5 s


def test_the_id_never_changes_and_every_attempt_is_signed_anew() -> None:
    """One id over all attempts, the same bytes, and a time that a receiver's tolerance accepts."""

    async def scenario(world: NotifierWorld) -> None:
        await deliver_one(world, HOUR_MS)

    world = in_world(always(answered(500)), scenario)
    posts = world.receivers.posts
    assert len(posts) == 4
    assert len({(post.headers["webhook-id"], post.body) for post in posts}) == 1
    assert json.loads(posts[0].body)["signature"] == SIGNATURE
    assert json.loads(posts[0].body)["request_id"] == posts[0].headers["webhook-id"]
    for post in posts:
        assert abs(int(post.headers["webhook-timestamp"]) - post.at_ms / 1000) <= 1


def test_gone_stops_for_good() -> None:
    """410: one attempt, and none after it."""

    async def scenario(world: NotifierWorld) -> None:
        assert await deliver_one(world) is DeliveryState.GONE

    assert len(in_world(always(answered(410)), scenario).receivers.posts) == 1


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("retry_after", ["1200", "Fri, 15 Jan 2027 08:20:00 GMT"])
def test_retry_after_is_waited_for(status: int, retry_after: str) -> None:
    """In both forms, and although it is longer than a queue can delay a message."""
    assert EPOCH_MS == 1_800_000_000_000  # 2027-01-15T08:00:00Z

    def behave(_url: str, before: int) -> tuple[PostResult, int]:
        return (answered(204) if before else answered(status, retry_after)), QUICK_MS

    async def scenario(world: NotifierWorld) -> None:
        assert await deliver_one(world) is DeliveryState.DELIVERED

    (waited_s,) = waits_s(in_world(behave, scenario))
    assert 1200 <= waited_s <= 1200 + 10


def test_a_flapping_receiver_gets_everything() -> None:
    """Every second attempt fails: all are delivered in the end, most at their first or second."""

    def behave(url: str, before: int) -> tuple[PostResult, int]:
        return (answered(204) if (before + int(url[-1])) % 2 else answered(502)), QUICK_MS

    async def scenario(world: NotifierWorld) -> None:
        requests = [await world.closed(f"{HOOK}/{number}") for number in range(40)]
        await world.announce(*requests)
        await world.run(HOUR_MS)
        states = {(await world.now(request)).delivery.state for request in requests}
        assert states == {DeliveryState.DELIVERED}

    in_world(behave, scenario)


def test_messages_that_are_late_early_or_repeated_are_dropped() -> None:
    """Only the message that names the attempt that is due makes one."""

    async def scenario(world: NotifierWorld) -> None:
        request = await world.closed()
        first = message_of(request)
        await world.deliver(NotificationMessage(first.job_id, first.request_id, 1), Lane.RETRIES)
        assert len(world.receivers.posts) == 0
        await world.deliver(first)
        await world.deliver(first)  # repeated
        await world.deliver(message_of(await world.now(request)), Lane.RETRIES)  # early: the wait is 5 s
        assert len(world.receivers.posts) == 1
        await world.clock.sleep_ms(5_000)
        await world.deliver(message_of(await world.now(request)), Lane.RETRIES)
        assert len(world.receivers.posts) == 2

    in_world(always(answered(500)), scenario)


def test_an_attempt_is_fenced() -> None:
    """Of many that hold the same message at the same moment, one posts."""

    async def scenario(world: NotifierWorld) -> None:
        request = await world.closed()
        await asyncio.gather(*(world.deliver(message_of(request)) for _ in range(4)))
        assert len(world.receivers.posts) == 1
        assert (await world.now(request)).delivery.state is DeliveryState.DELIVERED

    in_world(always(answered(204)), scenario)


def test_a_webhook_that_waits_is_no_attempt() -> None:
    """Beyond the receiver's places the others wait: no attempt is counted, and none is lost."""

    async def scenario(world: NotifierWorld) -> None:
        requests = [await world.closed(f"{HOOK}?number={number}") for number in range(30)]
        await world.announce(*requests)
        await world.run(60_000)
        deliveries = [(await world.now(request)).delivery for request in requests]
        assert {(delivery.state, delivery.attempts) for delivery in deliveries} == {("delivered", 1)}

    world = in_world(always(answered(204)), scenario)
    assert world.receivers.in_flight_max["receiver.example"] == GOOD_PLACES_MAX


def test_deliveries_go_on_without_the_host_state() -> None:
    """It protects receivers, and promises nothing: while it is down all is sent, and the log says so."""

    async def scenario(world: NotifierWorld) -> None:
        assert await deliver_one(world, 1_000) is DeliveryState.DELIVERED

    world = in_world(always(answered(204)), scenario, receivers=cast(Any, Down()))
    assert any(fields.get("HostsUnknown") == 1 for _, fields in world.telemetry.events)


def test_a_dead_receiver_gets_one_probe_a_minute() -> None:
    """A hundred webhooks, a receiver that is down for ten minutes: few attempts, then all delivered."""

    def behave(_url: str, _before: int) -> tuple[PostResult, int]:
        now_ms = round(asyncio.get_running_loop().time() * 1000)
        return (REFUSED if now_ms < OUTAGE_MS else answered(204)), 5

    async def scenario(world: NotifierWorld) -> None:
        requests = [await world.closed(f"{HOOK}?number={number}") for number in range(100)]
        await world.announce(*requests)
        await world.run(OUTAGE_MS)
        assert len(world.receivers.posts) <= 25
        await world.run(2 * OUTAGE_MS)
        states = {(await world.now(request)).delivery.state for request in requests}
        assert states == {DeliveryState.DELIVERED}

    in_world(behave, scenario, randomness=Seeded(1))


def test_webhooks_that_wait_for_a_dead_receiver_cost_what_the_receiver_costs() -> None:
    """600 webhooks, two hours: a few messages a minute, not one per webhook."""

    async def scenario(world: NotifierWorld) -> None:
        requests = [await world.closed(f"{HOOK}?number={number}") for number in range(600)]
        await world.announce(*requests)
        await world.run(2 * HOUR_MS)
        states = {(await world.now(request)).delivery.state for request in requests}
        assert states == {DeliveryState.PENDING}

    world = in_world(always(REFUSED, 5), scenario, randomness=Seeded(1))
    assert len(world.receivers.posts) <= 150
    assert messages_deferred(world) <= 1_000  # one per webhook and minute would be 72,000


def test_a_webhook_whose_parking_fails_holds_up_no_other() -> None:
    """It waits in the message with the others, which are not received again after a visibility timeout."""

    async def scenario(world: NotifierWorld) -> None:
        first, second = [await world.closed(f"{HOOK}?number={number}") for number in range(2)]
        write = world.store.write_request

        async def refuse_first(before: Request, after: Request) -> Written[Request] | Conflict[Request]:
            if before.id == first.id and after.delivery.attempts == before.delivery.attempts == 0:
                raise Unavailable("out of order")
            return await write(before, after)

        world.store.write_request = refuse_first  # type: ignore[method-assign]
        rows = tuple(message_of(request) for request in (first, second, first))
        line = WaitingMessage(rows).encode()
        ports = world.ports
        receivers = Receivers(ports.receivers, ports.clock, ports.randomness, ports.telemetry)
        attempts = Attempts(ports, DELAYS_MS)
        await ReceiverQueues(ports, attempts, receivers, lane=Lane.FIRST, stop_mono_ms=0).deliver(line)
        (parked,) = map(decode_webhooks, world.retries.texts)
        assert parked == WaitingMessage(rows[:2])

    in_world(always(REFUSED, 5), scenario)


def test_a_fast_receiver_gets_its_webhooks_fast() -> None:
    """300 webhooks to one receiver that answers in milliseconds, and nobody else's wait for them."""

    async def scenario(world: NotifierWorld) -> None:
        requests = [await world.closed(f"{HOOK}?number={number}") for number in range(300)]
        others = [await world.closed("https://receiver.example/bob", "bob") for _ in range(3)]
        await world.announce(*requests, *others)
        await world.run(5_000)
        states = {(await world.now(request)).delivery.state for request in [*requests, *others]}
        assert states == {DeliveryState.DELIVERED}

    world = in_world(always(answered(204), 5), scenario, randomness=Seeded(3), instances_max=3)
    assert max(world.receivers.in_flight_max.values()) <= PLACES_MAX
    assert messages_deferred(world) == 0


@pytest.mark.parametrize("result", [(TIMEOUT, HANGS_MS), (REFUSED, 5)], ids=["hanging", "dead"])
@pytest.mark.parametrize("client", ["alice", "bob"])
def test_a_thousand_bad_receivers_delay_no_good_one(result: tuple[PostResult, int], client: str) -> None:
    """Whoever's they are: a webhook of a receiver that was never tried arrives within 5 s, at any moment."""

    def behave(url: str, _before: int) -> tuple[PostResult, int]:
        return result if "bad" in url else (answered(204), QUICK_MS)

    async def scenario(world: NotifierWorld) -> None:
        bad = [await world.closed(f"https://bad-{number}.example/") for number in range(1_000)]
        await world.announce(*bad)
        for number in range(12):
            good = await world.closed(f"https://good-{number}.example/", client)
            await world.announce(good)
            await world.run(5_000)
            assert (await world.now(good)).delivery.state is DeliveryState.DELIVERED

    in_world(behave, scenario, randomness=Seeded(2), instances_max=3)


@pytest.mark.parametrize("result", [(TIMEOUT, HANGS_MS), (answered(500), 5)], ids=["hanging", "failing"])
@pytest.mark.parametrize("client", ["alice", "bob"])
def test_a_good_path_is_served_beside_a_bad_one(result: tuple[PostResult, int], client: str) -> None:
    """A host's other path, of the same caller or another, says nothing of this one."""

    def behave(url: str, _before: int) -> tuple[PostResult, int]:
        return result if "bad" in url else (answered(204), QUICK_MS)

    async def scenario(world: NotifierWorld) -> None:
        await world.announce(*[await world.closed(f"{HOOK}/bad?{number}") for number in range(240)])
        for number in range(12):
            good = await world.closed(f"{HOOK}/good-{number}", client)
            await world.announce(good)
            await world.run(5_000)
            assert (await world.now(good)).delivery.state is DeliveryState.DELIVERED

    world = in_world(behave, scenario, randomness=Seeded(4), instances_max=3)
    assert world.receivers.in_flight_max["receiver.example"] <= PLACES_MAX


def test_hanging_paths_of_one_caller_leave_a_place_for_another() -> None:
    """Many URLs at one host, all hanging: another caller's webhook to that host arrives within 5 s."""

    def behave(url: str, _before: int) -> tuple[PostResult, int]:
        return (TIMEOUT, HANGS_MS) if "bad" in url else (answered(204), QUICK_MS)

    async def scenario(world: NotifierWorld) -> None:
        await world.announce(*[await world.closed(f"{HOOK}/bad-{number}") for number in range(100)])
        await world.run(2_000)
        good = await world.closed(f"{HOOK}/good", "bob")
        await world.announce(good)
        await world.run(5_000)
        assert (await world.now(good)).delivery.state is DeliveryState.DELIVERED

    world = in_world(behave, scenario, randomness=Seeded(5), instances_max=3)
    assert world.receivers.in_flight_max["receiver.example"] <= PLACES_MAX


def test_names_of_one_address_share_its_places() -> None:
    """Else a hundred names would open a hundred times four connections to one machine."""

    async def scenario(world: NotifierWorld) -> None:
        world.receivers.addresses = {f"name-{number}.example": "198.51.100.7" for number in range(40)}
        requests = [await world.closed(f"https://name-{number}.example/") for number in range(40)]
        await world.announce(*requests)
        await world.run(60_000)
        states = {(await world.now(request)).delivery.state for request in requests}
        assert states == {DeliveryState.DELIVERED}

    world = in_world(always(answered(204)), scenario, randomness=Seeded(6))
    assert world.receivers.in_flight_max["198.51.100.7"] <= PLACES_MAX


def test_webhooks_never_tried_probe_first() -> None:
    """Of those that wait for a receiver, one that failed before doesn't spend its attempts on the probes."""

    async def scenario(world: NotifierWorld) -> None:
        requests = [await world.closed(f"{HOOK}?number={number}") for number in range(50)]
        await world.announce(*requests)
        await world.run(HOUR_MS // 2)
        attempts = [(await world.now(request)).delivery.attempts for request in requests]
        assert max(attempts) == 1

    in_world(always(REFUSED, 5), scenario, randomness=Seeded(7))


def test_the_secrets_are_the_callers() -> None:
    """Each attempt is signed for the caller whose request it is."""

    async def scenario(world: NotifierWorld) -> None:
        world.secrets["alice"] = [SECRET, "whsec_" + "B" * 32]
        assert await deliver_one(world, 1_000) is DeliveryState.DELIVERED

    (post,) = in_world(always(answered(204)), scenario).receivers.posts
    assert post.headers["webhook-signature"].count("v1,") == 2


def test_an_attempt_that_cannot_be_signed_is_none() -> None:
    """Without a secret nothing is posted, and nothing counts against the schedule."""

    async def scenario(world: NotifierWorld) -> None:
        request = await world.closed()
        secrets, world.secrets = world.secrets, {}
        for _ in range(BATCHES):
            assert not await world.deliver(message_of(request))
        assert (await world.now(request)).delivery == request.delivery
        world.secrets = secrets
        assert await world.deliver(message_of(request))
        assert (await world.now(request)).delivery.state is DeliveryState.DELIVERED

    world = in_world(always(answered(204)), scenario)
    assert len(world.receivers.posts) == 1
