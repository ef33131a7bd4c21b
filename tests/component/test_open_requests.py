"""How many open requests a caller has is counted, and limited."""

import asyncio
from collections.abc import Awaitable, Callable

from api.signing import MESSAGE_WAITERS_MAX
from core.answers import Meaning
from core.errors import Unavailable
from core.waiting import field_of, open_field_of
from core.window import Change
from processor.wiring import assemble
from proofs.simulation.virtual_time import run
from tests.component.test_api import AUTH, check_problem, in_world, sign
from tests.component.test_own import BOB
from tests.component.test_processor import CALLS, ProcessorWorld
from tests.component.world import HOOK, ApiWorld

LIMIT = 10_000


def test_a_caller_has_a_limit_of_open_requests() -> None:
    """Over all messages, also for those that others wait for; the refusal names it, and others go on."""

    async def scenario(world: ApiWorld) -> None:
        world.fill_window()
        client = world.client()
        assert (await sign(client, "another's", HOOK, **BOB)).status_code == 202
        await world.count_open("alice", LIMIT - 1)
        assert (await sign(client, "the last", HOOK)).status_code == 202
        for message in ("new", "another's", "the last"):
            refused = await sign(client, message, HOOK)
            check_problem(refused, 429, "client-requests-full")
            assert int(refused.headers["retry-after"]) <= 60
        assert (await sign(client, "the last", HOOK, **BOB)).status_code == 202

    in_world(scenario)


def test_requests_are_counted_until_they_end() -> None:
    """A new job, one that waits already, a failed call: each counts one, and a cancelled one no longer."""

    async def scenario(world: ApiWorld) -> None:
        client = world.client()
        world.upstream.meaning, world.upstream.status = Meaning.FAILED, 502
        await sign(client, "fails", HOOK)
        world.fill_window()
        request_id = (await sign(client, "waits", HOOK)).json()["request_id"]
        await sign(client, "waits", HOOK)
        await sign(client, "refused")
        assert opened(world) == {"alice": 3}
        await client.delete(f"/crypto/requests/{request_id}", headers=AUTH)
        assert opened(world) == {"alice": 2}

    in_world(scenario)


def test_a_request_that_is_not_stored_is_not_counted() -> None:
    """Else a database that fails for a while would leave a caller's limits used up by nothing."""

    async def scenario(world: ApiWorld) -> None:
        world.fill_window()
        client = world.client(store=Refusing(world, "accept_and_schedule"))
        check_problem(await sign(client, "hello", HOOK), 503, "unavailable")
        assert world.window.gate
        assert (opened(world), world.window.gate.waiting) == ({"alice": 0}, {"alice": 0})

    in_world(scenario)


def test_a_wrong_count_that_refuses_a_caller_is_looked_at_soon() -> None:
    """Jobs are said to wait although a slot is free: the processor has a look, once for many refusals."""

    async def scenario(world: ApiWorld) -> None:
        version = world.window.window.limits.version
        await world.window_store.apply(Change(version, increments={field_of("gone"): 1}))
        for _ in range(5):
            check_problem(await sign(world.client()), 429, "limit-reached")
        assert len(world.queue.texts) == 1

    in_world(scenario)


def test_a_job_whose_count_fails_is_counted_with_its_wake_up() -> None:
    """Else nobody would read its caller's queue until the request is looked at."""

    async def scenario(world: ApiWorld) -> None:
        world.fill_window()
        apply, failures = world.window_store.apply, [Unavailable("UpdateItem: timeout")]

        async def failing_once(change: Change) -> object:
            if failures:
                raise failures.pop()
            return await apply(change)

        world.window_store.apply = failing_once  # type: ignore[method-assign, assignment]
        assert (await sign(world.client(), "hello", HOOK)).status_code == 202
        assert world.window.gate
        assert world.window.gate.waiting == {"alice": 1}

    in_world(scenario)


def test_a_message_whose_waiters_cannot_be_counted_accepts_none() -> None:
    """An unknown count is no permission."""

    async def scenario(world: ApiWorld) -> None:
        world.fill_window()
        assert (await sign(world.client(), "hello", HOOK)).status_code == 202
        await world.count_open("alice", MESSAGE_WAITERS_MAX)
        client = world.client(store=Refusing(world, "count_requests"))
        check_problem(await sign(client, "hello", HOOK), 503, "unavailable")

    in_world(scenario)


def test_a_wrong_count_is_corrected() -> None:
    """One that lost writes left too high, too low, or with a caller of whom nothing is left."""

    async def scenario() -> None:
        world = ProcessorWorld()
        wrong = {open_field_of("alice"): 7, open_field_of("bob"): -1, open_field_of("gone"): 3}
        world.upstream.meaning, world.upstream.status = Meaning.FAILED, 502
        for client in ("alice", "bob"):
            await world.accept(client, client)
        await world.ports.window_store.apply(Change(CALLS.limits.version, increments=wrong))
        processor = assemble(world.ports, CALLS)
        for _ in range(24):
            await processor.run()
            await world.notifiers.clock.sleep_ms(60_000)
        assert world.window.gate
        assert world.window.gate.open_requests == {"alice": 1, "bob": 1}

    run(scenario())


def test_another_callers_retry_has_its_turn() -> None:
    """It waits for one call of each caller, not for a thousand that are due before it."""

    async def scenario() -> None:
        world = ProcessorWorld()
        for number in range(30):
            await world.fail_long_ago(f"flood {number}")
        await world.fail_long_ago("bob's", "bob")
        await assemble(world.ports, CALLS).run()
        assert "bob's" in world.upstream.calls[:2]

    run(scenario())


def opened(world: ApiWorld) -> dict[str, int]:
    assert world.window.gate
    return dict(world.window.gate.open_requests)


class Refusing:
    """A store of which one method is out of order."""

    def __init__(self, world: ApiWorld, method: str) -> None:
        self._world = world
        self._method = method

    def __getattr__(self, name: str) -> Callable[..., Awaitable[object]]:
        if name == self._method:
            return self._refuse
        method: Callable[..., Awaitable[object]] = getattr(self._world.store, name)
        return method

    async def _refuse(self, *_: object) -> object:
        await asyncio.sleep(0.05)
        raise Unavailable("out of order")
