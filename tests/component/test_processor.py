"""The processor's run on memory adapters, in virtual time."""

import asyncio
from dataclasses import replace

import pytest

from api.settings import ApiSettings
from core import hints
from core import job as jobs
from core import request as requests
from core import window as windows
from core.answers import Meaning
from core.config import CallSettings
from core.due_index import DueKind
from core.errors import Unavailable, Unreadable
from core.gate import Gate
from core.job import Job, JobState
from core.messages import WakeUp, decode_wake_up
from core.request import DeliveryState, Failure, Request, RequestState, Success
from core.scheduling import Due
from core.waiting import field_of
from core.window import Change, Limits, Slot, Window
from ports import PAGE_MAX, Conflict, Page, RequestKey, Written
from processor.backoff import Backoff
from processor.due import DueJobs
from processor.run import FUNCTION_LIMIT_MS, ProcessorPorts
from processor.wiring import assemble
from proofs.simulation.virtual_time import run
from tests.component.notifier_world import TIMEOUT, NotifierWorld
from tests.component.world import ENVIRONMENT, HOOK, SIGNATURE, ScriptedUpstream, Slow
from tests.fakes.deployment import FakeDeployment
from tests.fakes.memory import MemoryQueue, MemoryWindow, MemoryWindowStore

HOUR_MS = 3_600_000
MINUTE_S = 60
CALLS = ApiSettings.read(ENVIRONMENT).calls


class ProcessorWorld:
    """A processor beside notifiers that share its table, woken by the schedule alone."""

    def __init__(self) -> None:
        self.notifiers = NotifierWorld(lambda _url, _before: (TIMEOUT, 15_000))
        world = self.notifiers
        self.window = MemoryWindow(Gate(windows.empty(CALLS.limits)))
        self.upstream = ScriptedUpstream(world.clock)
        self.work_queue = MemoryQueue(world.clock)
        self.deployment = FakeDeployment(CALLS.limits)
        self.ports = ProcessorPorts(
            store=world.store,
            window_store=MemoryWindowStore(self.window, lambda: Gate(windows.empty(CALLS.limits))),
            upstream=self.upstream,
            work_queue=self.work_queue,
            notifications=world.queue,
            deployment=self.deployment,
            clock=world.clock,
            randomness=world.randomness,
            telemetry=world.telemetry,
        )

    async def accept(self, message: str, client: str = "alice") -> Request:
        """Store a request whose job waits for its first call, as the API leaves it."""
        now_ms = self.notifiers.clock.now_ms()
        request = await self.wait_for(message, client, due_in_ms=5_000, estimated_ms=now_ms + 500)
        waiter = jobs.Waiter(request.id, client)
        await self.notifiers.store.write_job(None, jobs.schedule(None, message, now_ms, waiter))
        counted = hints.accept(windows.empty(CALLS.limits), client, now_ms, enters=True)
        await self.ports.window_store.apply(counted)
        return request

    async def wait_for(
        self, message: str, client: str = "alice", *, due_in_ms: int = 0, estimated_ms: int | None = None
    ) -> Request:
        """Store a request and no more, as an API does that crashes then."""
        world, now_ms = self.notifiers, self.notifiers.clock.now_ms()
        request = Request(
            world.randomness.request_id(now_ms), jobs.job_id(message), message, client, HOOK, now_ms,
            due_ms=now_ms + due_in_ms, estimated_ms=estimated_ms,
        )  # fmt: skip
        return await world.store.accept(request)

    async def fail_long_ago(self, message: str, client: str = "alice") -> None:
        """Store a request whose job has failed once, and has been due again for longer than ten windows."""
        request = await self.wait_for(message, client, due_in_ms=HOUR_MS)
        then_ms = self.notifiers.clock.now_ms() - 2 * HOUR_MS
        job = jobs.schedule(None, message, then_ms, jobs.Waiter(request.id, request.client))
        await self.notifiers.store.write_job(None, jobs.failed(job, then_ms, then_ms + HOUR_MS, counted=True))
        await self.ports.window_store.apply(hints.count_open(windows.empty(CALLS.limits), request.client))

    async def work(self, minutes: float, settings: CallSettings = CALLS) -> None:
        """Make a run each minute, and one for each wake-up, as the event source mapping does."""
        try:
            async with asyncio.timeout(minutes * MINUTE_S), asyncio.TaskGroup() as runs:
                runs.create_task(self._wake(settings))
                while True:
                    runs.create_task(assemble(self.ports, settings).run())
                    await asyncio.sleep(MINUTE_S)
        except TimeoutError:
            return

    async def _wake(self, settings: CallSettings) -> None:
        while True:
            received = await self.work_queue.receive(10, 20_000)
            if received:
                await assemble(self.ports, settings).run([decode_wake_up(each.text) for each in received])
                await self.work_queue.delete([each.receipt for each in received])

    def wake_ups(self) -> list[WakeUp]:
        """Return the wake-ups that are under way."""
        return [decode_wake_up(text) for text in self.work_queue.texts]


def test_a_run_calls_and_closes_what_waits() -> None:
    """A waiting job gets its call; its request is closed, and its delivery is announced."""

    async def scenario() -> None:
        world = ProcessorWorld()
        request = await world.accept("hello")
        assert await assemble(world.ports, CALLS).run() == 1
        closed = await world.notifiers.now(request)
        assert closed.state is RequestState.SIGNED
        assert closed.calls == 1
        assert len(world.notifiers.queue.texts) == 1
        (called,) = [fields for name, fields in world.notifiers.telemetry.events if name == "upstream_call"]
        assert (called["request_id"], called["job_id"]) == (request.id, request.job_id)
        judged = [fields for name, fields in world.notifiers.telemetry.events if name == "first_call_ended"]
        assert [fields["EtaErrorMs"] for fields in judged] == [200]  # told 500 ms, took 300

    run(scenario())


def test_rows_that_are_due_in_a_year_are_dealt_with_by_the_schedule() -> None:
    """A host with a wrong clock wrote a request, a webhook and a retry; the next scheduled run finds each."""

    async def scenario() -> None:
        world, year_ms = ProcessorWorld(), 365 * 24 * HOUR_MS
        store, now_ms = world.notifiers.store, world.notifiers.clock.now_ms()
        waiting = await world.wait_for("waits", due_in_ms=year_ms)
        told = await world.wait_for("told")
        await store.write_request(told, requests.close_signed(told, SIGNATURE, now_ms + year_ms))
        retried = jobs.schedule(None, "retried", now_ms)
        await store.write_job(None, jobs.failed(retried, now_ms, now_ms + year_ms, counted=True))
        await assemble(world.ports, CALLS).run([WakeUp()])
        assert (await world.notifiers.now(waiting)).due_ms == now_ms + year_ms  # other runs don't look so far
        await assemble(world.ports, CALLS).run()
        assert len(world.notifiers.queue.texts) == 1
        job = await store.job(retried.id)
        assert job
        assert job.due_ms == now_ms
        await world.work(1)
        assert (await world.notifiers.now(waiting)).state is RequestState.SIGNED

    run(scenario())


def test_an_idle_run_ends_at_once() -> None:
    """With nothing to do a run looks once and ends, and no wake-up follows: idle costs next to nothing."""

    async def scenario() -> None:
        world = ProcessorWorld()
        started_ms = world.notifiers.clock.monotonic_ms()
        assert await assemble(world.ports, CALLS).run() == 0
        assert world.notifiers.clock.monotonic_ms() == started_ms
        assert world.wake_ups() == []
        assert world.window.writes == 0

    run(scenario())


def test_a_run_that_ends_sets_the_next_wake_up() -> None:
    """Nothing is kept alive to wait for a slot: a message comes when one is free, and one only."""

    async def scenario() -> None:
        world = ProcessorWorld()
        clock = world.notifiers.clock
        free_at_ms = clock.now_ms() + 20_700
        world.window.window = windows.full(CALLS.limits, free_at_ms)
        requests = [await world.accept(f"hello {number}") for number in range(3)]
        started_ms = clock.monotonic_ms()
        assert await assemble(world.ports, CALLS).run() == 0
        assert clock.monotonic_ms() == started_ms
        assert await assemble(world.ports, CALLS).run() == 0
        (wake_up,) = world.wake_ups()
        assert wake_up.at_ms == free_at_ms
        await world.work(minutes=1)
        closed = [await world.notifiers.now(request) for request in requests]
        assert [request.closed_ms for request in closed] == [free_at_ms + 300] * 3

    run(scenario())


def test_a_run_ends_before_its_function_is_stopped() -> None:
    """However much there is to do: what is left has a wake-up."""

    async def scenario() -> None:
        world = ProcessorWorld()
        settings = replace(CALLS, limits=Limits(1, 1_000))
        world.window.gate, world.deployment.deployed = Gate(windows.empty(settings.limits)), settings.limits
        for number in range(300):
            await world.accept(f"message {number}")
        clock = world.notifiers.clock
        began_ms = clock.now_ms()
        await assemble(world.ports, settings).run()
        assert clock.now_ms() - began_ms < FUNCTION_LIMIT_MS
        assert len(world.wake_ups()) == 1

    run(scenario())


def test_what_is_due_in_a_moment_is_waited_for() -> None:
    """Slots are used again to the millisecond: a run sleeps the fraction of a second."""

    async def scenario() -> None:
        world = ProcessorWorld()
        clock = world.notifiers.clock
        world.window.window = windows.full(CALLS.limits, clock.now_ms() + 1_700)
        request = await world.accept("hello")
        assert await assemble(world.ports, CALLS).run() == 1
        assert (await world.notifiers.now(request)).closed_ms == clock.now_ms()

    run(scenario())


def test_what_is_due_much_later_is_left_to_the_schedule() -> None:
    """A wake-up more than ninety seconds ahead would cost a message for what the schedule does anyway."""

    async def scenario() -> None:
        world = ProcessorWorld()
        probe_at_ms = world.notifiers.clock.now_ms() + 91_000
        assert world.window.gate
        world.window.gate = world.window.gate.having(suspect_since_ms=1, probe_at_ms=probe_at_ms)
        await world.accept("hello")
        await assemble(world.ports, CALLS).run()
        assert world.wake_ups() == []

    run(scenario())


def test_a_job_that_a_wake_up_names_needs_no_index() -> None:
    """The index may not show yet what was written a moment before the run."""

    async def scenario() -> None:
        world = ProcessorWorld()

        async def nothing(
            kind: DueKind,
            until_ms: int,
            limit: int,
            after: Due | None = None,
            *,
            client: str = "",
            from_ms: int = 0,
        ) -> list[Due]:
            del kind, until_ms, limit, after, client, from_ms
            return []

        world.notifiers.store.due_jobs = nothing  # type: ignore[method-assign]
        request = await world.accept("hello")
        wake_up = WakeUp(request.job_id, world.notifiers.clock.now_ms())
        assert await assemble(world.ports, CALLS).run([wake_up]) == 1

    run(scenario())


def test_as_many_calls_as_there_are_slots_begin_side_by_side() -> None:
    """Ten messages and ten free slots: ten calls in the time of one, each through a slot of its own."""

    async def scenario() -> None:
        world = ProcessorWorld()
        for number in range(12):
            await world.accept(f"hello {number}")
        started_ms = world.notifiers.clock.monotonic_ms()
        assert await assemble(world.ports, CALLS).run() == 10
        assert world.notifiers.clock.monotonic_ms() - started_ms == world.upstream.takes_ms
        assert world.window.conflicts == 0

    run(scenario())


def test_a_dead_receiver_costs_no_upstream_call() -> None:
    """An hour of failing webhooks, and the one call that signed the message is still the only one."""

    async def scenario() -> None:
        world = ProcessorWorld()
        request = await world.accept("hello")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(world.notifiers.run(HOUR_MS))
            tasks.create_task(world.work(minutes=60))
        delivery = (await world.notifiers.now(request)).delivery
        assert world.upstream.calls == ["hello"]
        assert (delivery.state, delivery.reason) == (DeliveryState.PENDING, "timeout")
        assert delivery.attempts >= 3

    run(scenario())


@pytest.mark.parametrize("minutes", [1, 2, 10])
def test_a_refused_key_fails_no_request(minutes: int) -> None:
    """While our key is refused all calls stop but one probe each minute; afterwards everything is signed.

    So it is however soon the key is mended: a good probe says nothing of the message that met the refusal.
    """

    async def scenario() -> None:
        world = ProcessorWorld()
        world.upstream.meaning, world.upstream.status = Meaning.KEY_REFUSED, 401
        world.upstream.probe_meaning = Meaning.KEY_REFUSED
        request = await world.accept("hello")
        await world.work(minutes=minutes)
        assert world.upstream.calls == ["hello"]
        assert minutes <= world.upstream.probes <= minutes + 1
        assert (await world.notifiers.now(request)).open
        world.upstream.meaning, world.upstream.status = Meaning.SIGNED, 200
        world.upstream.probe_meaning = Meaning.WELCOME
        await world.work(minutes=3)
        assert (await world.notifiers.now(request)).state is RequestState.SIGNED

    run(scenario())


def test_a_flood_of_one_caller_delays_no_other() -> None:
    """Behind hundreds of another caller's messages a newcomer's first call comes within two windows."""

    async def scenario() -> None:
        world = ProcessorWorld()
        for number in range(300):
            await world.accept(f"flood {number}", "mallory")
        working = asyncio.create_task(world.work(minutes=4))
        await world.notifiers.clock.sleep_ms(30_000)
        request = await world.accept("hello", "bob")
        await working
        signed = await world.notifiers.now(request)
        assert signed.state is RequestState.SIGNED
        assert signed.closed_ms - request.created_ms <= 2 * CALLS.limits.window_ms

    run(scenario())


def test_old_retries_take_every_second_call_though_each_run_makes_one() -> None:
    """Whose turn it is outlives a run: who waits for a first call has every second one."""

    async def scenario() -> None:
        world = ProcessorWorld()
        now_ms = world.notifiers.clock.now_ms()
        slots = tuple(Slot(now_ms + 6_000 * number) for number in range(CALLS.limits.calls))
        world.window.gate = Gate(Window(CALLS.limits, slots))
        for number in range(10):
            await world.accept(f"fresh {number}")
            await world.fail_long_ago(f"retry {number}")
        await world.work(minutes=1)
        kinds = [message.split()[0] for message in world.upstream.calls]
        assert kinds == ["retry", "fresh"] * 5

    run(scenario())


def test_a_request_that_comes_while_its_job_is_parked_is_called_for() -> None:
    """It read the job before it was parked, so the parking side looks once more."""

    async def scenario() -> None:
        world = ProcessorWorld()
        store = world.notifiers.store
        first = await world.accept("hello")
        cancelled = requests.cancelled(first, world.notifiers.clock.now_ms(), calls=0, notify=False)
        assert isinstance(await store.write_request(first, cancelled), Written)
        write_job, came = store.write_job, list[Request]()

        async def accept_meanwhile(before: Job | None, after: Job) -> Written[Job] | Conflict[Job]:
            if not after.scheduled and not came:
                await world.notifiers.clock.sleep_ms(1)  # ids of one millisecond have no order
                came.append(await world.wait_for("hello", due_in_ms=HOUR_MS))
            return await write_job(before, after)

        store.write_job = accept_meanwhile  # type: ignore[method-assign]
        await world.work(minutes=1.5)
        assert came
        assert (await world.notifiers.now(came[0])).state is RequestState.SIGNED

    run(scenario())


def test_counts_are_set_right_by_what_the_index_shows() -> None:
    """One that a crash left too high holds newcomers back for a minute or two, not for good."""

    async def scenario() -> None:
        world = ProcessorWorld()
        await world.ports.window_store.apply(
            Change(CALLS.limits.version, increments={field_of("gone"): 7, field_of("alice"): 3})
        )
        await world.accept("hello")
        world.upstream.meaning, world.upstream.status = Meaning.LIMITED, 429
        processor = assemble(world.ports, CALLS)
        for _ in range(6):
            await processor.run()
            await world.notifiers.clock.sleep_ms(20_000)
        assert world.window.gate
        assert world.window.gate.waiting.keys() == {"alice"}
        assert world.window.gate.waiting["alice"] <= 1

    run(scenario())


def test_a_count_that_holds_up_newcomers_is_corrected_soon() -> None:
    """The run that notices it does not leave it to the next minutes' runs."""

    async def scenario() -> None:
        world = ProcessorWorld()
        await world.ports.window_store.apply(Change(CALLS.limits.version, increments={field_of("gone"): 7}))
        processor = assemble(world.ports, CALLS)
        await processor.run()
        (wake_up,) = world.wake_ups()
        assert wake_up.at_ms - world.notifiers.clock.now_ms() <= 5_000
        await world.notifiers.clock.sleep_ms(5_000)
        await processor.run([wake_up])
        assert world.window.gate
        assert world.window.gate.waiting == {}

    run(scenario())


def test_a_caller_that_a_crash_left_out_has_its_turn() -> None:
    """Its request is looked at when it is due, and enters its caller among those who wait."""

    async def scenario() -> None:
        world = ProcessorWorld()
        request = await world.wait_for("hello", "bob", due_in_ms=5_000)
        waiter = jobs.Waiter(request.id, "bob")
        now_ms = world.notifiers.clock.now_ms()
        await world.notifiers.store.write_job(None, jobs.schedule(None, "hello", now_ms, waiter))
        await world.work(minutes=2)
        assert (await world.notifiers.now(request)).state is RequestState.SIGNED

    run(scenario())


def test_a_host_that_is_a_day_ahead_stops_nobody_for_a_day() -> None:
    """The slots that it leased until tomorrow are free after the longest lease there is."""

    async def scenario() -> None:
        world = ProcessorWorld()
        now_ms = world.notifiers.clock.now_ms()
        ahead = windows.full(CALLS.limits, now_ms + 24 * HOUR_MS)
        world.window.gate = Gate(ahead).having(probe_at_ms=now_ms + 24 * HOUR_MS, suspect_since_ms=now_ms)
        request = await world.accept("hello")
        await world.work(minutes=20)
        signed = await world.notifiers.now(request)
        assert signed.state is RequestState.SIGNED
        assert signed.closed_ms - request.created_ms <= 20 * 60_000

    run(scenario())


def test_an_expired_signature_answers_nobody_who_came_later() -> None:
    """Whoever was accepted while it was valid gets it; for who came after, the message is signed again."""

    async def scenario() -> None:
        world = ProcessorWorld()
        store, clock = world.notifiers.store, world.notifiers.clock
        early = await world.wait_for("hello", due_in_ms=5_000)
        await store.write_job(None, jobs.signed(jobs.new_job("hello", 0), "old", clock.now_ms() + 1))
        await clock.sleep_ms(CALLS.signature_ttl_ms + 2)
        late = await world.wait_for("hello", due_in_ms=5_000)
        await world.work(minutes=3)
        assert (await world.notifiers.now(early)).outcome == Success("old")
        assert (await world.notifiers.now(late)).outcome == Success(SIGNATURE)
        assert world.upstream.calls == ["hello"]

    run(scenario())


def test_a_message_refused_with_403_alone_is_refused_however_far_apart_retries_are() -> None:
    """Its second call comes while the probe after the first still shows that the key is good."""

    async def scenario() -> None:
        world = ProcessorWorld()
        world.upstream.forbidden = frozenset({"forbidden"})
        request = await world.accept("forbidden")
        for _ in range(5):
            await assemble(world.ports, replace(CALLS, retry_ms=240_000)).run()
            await world.notifiers.clock.sleep_ms(31_000)
        assert (await world.notifiers.now(request)).outcome == Failure(502, "upstream_refused_403")

    run(scenario())


def test_messages_that_are_refused_with_403_delay_nobody() -> None:
    """Sixty of them cost two calls each and a few probes; another one waits for their first calls only."""

    async def scenario() -> None:
        world = ProcessorWorld()
        world.upstream.forbidden = frozenset(f"forbidden {number}" for number in range(60))
        refused = [await world.accept(message) for message in sorted(world.upstream.forbidden)]
        working = asyncio.create_task(world.work(minutes=20))
        await world.notifiers.clock.sleep_ms(30_000)
        request = await world.accept("hello")
        await working
        signed = await world.notifiers.now(request)
        waited_s = (signed.closed_ms - request.created_ms) / 1_000
        calls = len(world.upstream.calls) + world.upstream.probes
        assert signed.state is RequestState.SIGNED
        assert waited_s < 400  # 51 are before it, ten a minute
        outcomes = {(await world.notifiers.now(each)).outcome for each in refused}
        assert outcomes == {Failure(502, "upstream_refused_403")}
        assert calls <= 2 * 60 + 1 + 20

    run(scenario())


def test_a_far_retry_after_is_tested_each_window() -> None:
    """One 429 that asks for 16 hours stops calls for a window, and an answer to the next one ends it."""

    async def scenario() -> None:
        world = ProcessorWorld()
        world.upstream.meaning, world.upstream.status = Meaning.LIMITED, 429
        world.upstream.retry_after_ms = 60_000_000
        requests = [await world.accept(f"hello {number}") for number in range(3)]
        await world.work(minutes=5)
        assert 4 <= len(world.upstream.calls) <= 3 + 5  # three at once, then one each window
        world.upstream.meaning, world.upstream.status = Meaning.SIGNED, 200
        world.upstream.retry_after_ms = None
        await world.work(minutes=3)
        states = {(await world.notifiers.now(request)).state for request in requests}
        assert states == {RequestState.SIGNED}

    run(scenario())


def test_a_permanent_429_leaves_no_request_in_the_queue_without_an_outcome() -> None:
    """One call tests the upstream each window, so most messages have none; they are too old all the same."""

    async def scenario() -> None:
        world, settings = ProcessorWorld(), replace(CALLS, age_max_ms=600_000)
        world.upstream.meaning, world.upstream.status = Meaning.LIMITED, 429
        world.upstream.retry_after_ms = 24 * HOUR_MS
        waiting = [await world.accept(f"message {number}") for number in range(60)]
        await world.work(25, settings)
        assert len(world.upstream.calls) < 40
        closed = [await world.notifiers.now(request) for request in waiting]
        assert {request.failure.reason for request in closed if request.failure} == {"too_old"}
        assert not any(request.open for request in closed)

    run(scenario())


def test_nobody_is_given_up_because_the_service_stood_still() -> None:
    """A block of the day before says nothing about the upstream now: a call has to."""

    async def scenario() -> None:
        world = ProcessorWorld()
        world.upstream.meaning, world.upstream.status = Meaning.LIMITED, 429
        world.upstream.retry_after_ms = 24 * HOUR_MS
        first = await world.accept("first")
        await world.work(1)
        second = await world.accept("second")
        await world.notifiers.clock.sleep_ms(8 * HOUR_MS)
        world.upstream.meaning, world.upstream.status = Meaning.SIGNED, 200
        await world.work(2)
        for request in (first, second):
            assert (await world.notifiers.now(request)).state is RequestState.SIGNED

    run(scenario())


def test_a_permanent_429_leaves_no_request_without_an_outcome() -> None:
    """Its age is judged after any call, so the caller is told even if every answer is 429."""

    async def scenario() -> None:
        world = ProcessorWorld()
        world.upstream.meaning, world.upstream.status = Meaning.LIMITED, 429
        request = await world.accept("hello")
        await world.work(minutes=CALLS.age_max_ms // 60_000 + 5)
        assert (await world.notifiers.now(request)).outcome == Failure(504, "too_old")

    run(scenario())


def test_a_refused_message_is_told_from_a_refused_key() -> None:
    """The upstream refuses one message with 401 while the key is good: only that request fails."""

    async def scenario() -> None:
        world = ProcessorWorld()
        world.upstream.meaning, world.upstream.status = Meaning.KEY_REFUSED, 401
        request = await world.accept("hello")
        await world.work(minutes=3)
        closed = await world.notifiers.now(request)
        assert closed.outcome == Failure(502, "upstream_refused_401")
        assert (world.upstream.calls, world.upstream.probes) == (["hello", "hello"], 1)
        job = await world.notifiers.store.job(request.job_id)
        assert job
        assert job.state is JobState.REFUSED
        assert world.window.gate
        assert not world.window.gate.key.suspected

    run(scenario())


def test_no_call_beyond_the_last() -> None:
    """A request whose last call was the API's own is given up before another one is made."""

    async def scenario() -> None:
        world = ProcessorWorld()
        store, clock = world.notifiers.store, world.notifiers.clock
        request = await world.accept("hello")
        job = await store.job(request.job_id)
        assert job
        await store.write_job(job, replace(job, attempts=CALLS.attempts_max))
        await clock.sleep_ms(1_000)
        await assemble(world.ports, CALLS).run()
        closed = await world.notifiers.now(request)
        assert closed.outcome == Failure(502, "attempts_exhausted")
        assert world.upstream.calls == []

    run(scenario())


def test_a_sweep_ends_when_all_is_done() -> None:
    """Hundreds who wait for one message are told by one run, however few rows it reads at a time."""

    async def scenario() -> None:
        world = ProcessorWorld()
        store, now_ms = world.notifiers.store, world.notifiers.clock.now_ms()
        await world.accept("hello")
        await world.notifiers.clock.sleep_ms(1)
        for _ in range(1_100):
            await world.wait_for("hello")
        job = await store.job(jobs.job_id("hello"))
        assert job
        await store.write_job(job, jobs.signed(job, "signature", now_ms))  # and its caller crashed
        await world.notifiers.clock.sleep_ms(5_000)
        await assemble(world.ports, CALLS).run()
        told = world.notifiers.table.requests_of(jobs.job_id("hello"))
        assert {request.state for request in told} == {RequestState.SIGNED}
        assert len(world.notifiers.queue.texts) >= 1_101

    run(scenario())


async def _rows_read_by_one_signature(history: int) -> int:
    """Return how many requests are read until one is signed, after so many of its message had ended."""
    world = ProcessorWorld()
    store, now_ms = world.notifiers.store, world.notifiers.clock.now_ms()
    for _ in range(history):
        ended = await world.wait_for("hello")
        await store.write_request(ended, requests.close_signed(ended, SIGNATURE, now_ms, notify=False))
    await world.notifiers.clock.sleep_ms(1_000)
    request = await world.wait_for("hello", due_in_ms=5_000)
    await store.write_job(None, jobs.schedule(None, "hello", now_ms, jobs.Waiter(request.id, "alice")))
    await world.ports.window_store.apply(hints.enter(windows.empty(CALLS.limits), "alice", now_ms))
    await assemble(world.ports, CALLS).run()
    assert not (await world.notifiers.now(request)).open
    return world.notifiers.table.rows_read


def test_a_message_costs_the_same_whatever_its_history() -> None:
    """The one after a thousand of last week reads what the first one read."""

    async def scenario() -> None:
        assert await _rows_read_by_one_signature(1_000) == await _rows_read_by_one_signature(0)

    run(scenario())


def test_many_who_wait_are_closed_a_page_at_a_time() -> None:
    """Memory is bounded: however many wait for one message, no more are in hand than a page has."""

    async def scenario() -> None:
        world = ProcessorWorld()
        store, in_hand, most = world.notifiers.store, 0, 0
        await world.accept("hello")
        await world.notifiers.clock.sleep_ms(1)
        for _ in range(1_000):
            await world.wait_for("hello", due_in_ms=HOUR_MS)
        write = store.write_request

        async def counted(before: Request, after: Request) -> Written[Request] | Conflict[Request]:
            nonlocal in_hand, most
            in_hand += 1
            most = max(most, in_hand)
            await asyncio.sleep(0.01)
            in_hand -= 1
            return await write(before, after)

        store.write_request = counted  # type: ignore[method-assign]
        await assemble(world.ports, CALLS).run()
        assert all(not each.open for each in world.notifiers.table.requests_of(jobs.job_id("hello")))
        assert most <= PAGE_MAX

    run(scenario())


def test_rows_that_cannot_be_read_stop_no_sweep() -> None:
    """A page full of damaged records: those behind it are looked at too, and no run spins on them."""

    async def scenario() -> None:
        world = ProcessorWorld()
        store, now_ms = world.notifiers.store, world.notifiers.clock.now_ms()
        for number in range(150):
            await world.wait_for(f"damaged {number}")
        healthy = await world.accept("healthy")
        job = await store.job(healthy.job_id)
        assert job
        await store.write_job(job, jobs.signed(job, "signature", now_ms))
        load, loads = store.load, 0

        async def load_damaged(job_id: str) -> tuple[jobs.Job | None, Page]:
            nonlocal loads
            loads += 1
            if job_id != healthy.job_id:
                raise Unreadable("a job can't be read")
            return await load(job_id)

        store.load = load_damaged  # type: ignore[method-assign]
        await world.notifiers.clock.sleep_ms(6_000)
        await assemble(world.ports, CALLS).run()
        assert (await world.notifiers.now(healthy)).state is RequestState.SIGNED
        assert loads < 2_000

    run(scenario())


def test_whatever_ends_a_run_its_calls_are_seen_through() -> None:
    """An error nobody foresaw ends the run, but not before the calls in flight have told their outcome."""

    async def scenario() -> None:
        world = ProcessorWorld()
        request = await world.accept("hello")
        drain = assemble(world.ports, CALLS)
        due_jobs, reads = world.notifiers.store.due_jobs, 0

        async def fail_later(
            kind: DueKind,
            until_ms: int,
            limit: int,
            after: Due | None = None,
            *,
            client: str = "",
            from_ms: int = 0,
        ) -> list[Due]:
            nonlocal reads
            reads += not from_ms  # the sweep's read is another one
            if reads > 3:
                raise ZeroDivisionError
            return await due_jobs(kind, until_ms, limit, after, client=client, from_ms=from_ms)

        world.notifiers.store.due_jobs = fail_later  # type: ignore[method-assign]
        world.upstream.takes_ms = 8_000
        with pytest.raises(ZeroDivisionError):
            await drain.run()
        assert (await world.notifiers.now(request)).state is RequestState.SIGNED

    run(scenario())


@pytest.mark.parametrize("count", [1, 10, 100, 520])
def test_jobs_that_cannot_be_read_hold_up_no_other(count: int) -> None:
    """Damaged records before it, and a healthy one is called at once; no run spins on the damaged ones."""

    async def scenario() -> None:
        world = ProcessorWorld()
        store, loads = world.notifiers.store, 0
        damaged = {(await world.accept(f"damaged {number}")).job_id for number in range(count)}
        await world.notifiers.clock.sleep_ms(10)
        healthy = await world.accept("healthy")
        load = store.load

        async def load_damaged(job_id: str) -> tuple[jobs.Job | None, Page]:
            nonlocal loads
            loads += 1
            if job_id in damaged:
                raise Unreadable("a job can't be read")
            return await load(job_id)

        store.load = load_damaged  # type: ignore[method-assign]
        processor = assemble(world.ports, CALLS)
        assert await processor.run() == 1
        assert (await world.notifiers.now(healthy)).state is RequestState.SIGNED
        before = loads
        await processor.run()
        assert loads == before
        assert all(each.at_ms >= world.notifiers.clock.now_ms() + 2_000 for each in world.wake_ups())

    run(scenario())


def test_a_wake_up_that_names_a_damaged_job_stops_no_other() -> None:
    """What it names is stepped over, and the run calls what is due."""

    async def scenario() -> None:
        world = ProcessorWorld()
        store = world.notifiers.store
        damaged, healthy = await world.accept("damaged"), await world.accept("healthy")
        job, load = store.job, store.load

        async def read(job_id: str) -> jobs.Job | None:
            if job_id == damaged.job_id:
                raise Unreadable("a job can't be read")
            return await job(job_id)

        async def load_damaged(job_id: str) -> tuple[jobs.Job | None, Page]:
            await read(job_id)
            return await load(job_id)

        store.job, store.load = read, load_damaged  # type: ignore[method-assign]
        wake_up = WakeUp(damaged.job_id, world.notifiers.clock.now_ms())
        assert await assemble(world.ports, CALLS).run([wake_up]) == 1
        assert (await world.notifiers.now(healthy)).state is RequestState.SIGNED

    run(scenario())


def test_a_record_that_breaks_our_code_costs_only_itself() -> None:
    """A fault that one record provokes ends neither the run nor the sweep, and is told."""

    async def scenario() -> None:
        world = ProcessorWorld()
        store = world.notifiers.store
        bad, healthy = await world.accept("bad"), await world.accept("healthy")
        swept = await world.wait_for("swept")
        bad_swept = await world.wait_for("bad swept")
        load = store.load

        async def load_bad(job_id: str) -> tuple[jobs.Job | None, Page]:
            if job_id in {bad.job_id, bad_swept.job_id}:
                raise ZeroDivisionError
            return await load(job_id)

        store.load = load_bad  # type: ignore[method-assign]
        await assemble(world.ports, CALLS).run()
        assert (await world.notifiers.now(healthy)).state is RequestState.SIGNED
        assert await store.job(swept.job_id)
        events = [(name, fields.get("Unreadable")) for name, fields in world.notifiers.telemetry.events]
        assert events.count(("job_skipped", 1)) == 1
        assert events.count(("record_skipped", 1)) == 1

    run(scenario())


def test_a_sweep_that_breaks_is_told() -> None:
    """Calls go on without it, and an alarm rings."""

    async def scenario() -> None:
        world = ProcessorWorld()

        async def broken(*_: object) -> list[RequestKey]:
            raise ZeroDivisionError

        world.notifiers.store.due_requests = broken  # type: ignore[method-assign, assignment]
        await world.accept("hello")
        assert await assemble(world.ports, CALLS).run() == 1
        told = [fields for name, fields in world.notifiers.telemetry.events if name == "not_swept"]
        assert [fields["Unreadable"] for fields in told] == [1]

    run(scenario())


def test_calls_go_on_seconds_after_a_failure_is_over() -> None:
    """What can't be reached is tried again and again, however long that takes: it is no damaged record."""

    async def scenario() -> None:
        world = ProcessorWorld()
        clock, store = world.notifiers.clock, world.notifiers.store
        request = await world.accept("hello")
        load, works_at_ms = store.load, clock.now_ms() + 10 * 60_000

        async def load_later(job_id: str) -> tuple[jobs.Job | None, Page]:
            if clock.now_ms() < works_at_ms:
                raise Unavailable("throttled")
            return await load(job_id)

        store.load = load_later  # type: ignore[method-assign]
        processor = assemble(world.ports, CALLS)
        while (await world.notifiers.now(request)).open:
            await processor.run()
            await clock.sleep_ms(1_000)
        assert clock.now_ms() - works_at_ms < 20_000

    run(scenario())


def test_no_look_at_the_index_is_endless() -> None:
    """Where nothing that a look could reach may be called, the run does not look again at once."""

    async def scenario() -> None:
        world, backoff = ProcessorWorld(), Backoff()
        clock, store = world.notifiers.clock, world.notifiers.store

        async def damaged(
            kind: DueKind,
            until_ms: int,
            limit: int,
            after: Due | None = None,
            *,
            client: str = "",
            from_ms: int = 0,
        ) -> list[Due]:
            del kind, until_ms, client, from_ms
            first = int(after.job_id) + 1 if after else 0
            for number in range(first, first + limit):
                backoff.hold(str(number), clock.now_ms(), 60_000)
            return [Due(str(number), number, number) for number in range(first, first + limit)]

        store.due_jobs = damaged  # type: ignore[method-assign]
        due = DueJobs(store, clock, backoff)
        assert world.window.gate
        await due.look(world.window.gate, 5_000)
        assert not due.used_up

    run(scenario())


def test_nobody_is_given_up_for_what_is_not_its_fault() -> None:
    """A request older than the greatest age stays open when our key, not its message, is refused."""

    async def scenario() -> None:
        world = ProcessorWorld()
        world.upstream.meaning, world.upstream.status = Meaning.KEY_REFUSED, 401
        request = await world.accept("hello")
        await world.notifiers.clock.sleep_ms(2 * CALLS.age_max_ms)
        await assemble(world.ports, CALLS).run()
        assert world.upstream.calls == ["hello"]
        assert (await world.notifiers.now(request)).open

    run(scenario())


def test_of_two_deployments_side_by_side_only_the_newer_sets_the_limits() -> None:
    """A run of the older one leaves the newer one's limits alone, and so they do not alternate."""

    async def scenario() -> None:
        world, older = ProcessorWorld(), CALLS
        newer = replace(CALLS, limits=Limits(5, 90_000))
        world.deployment.deployed = newer.limits
        for calls in (newer, older, newer, older):
            await assemble(world.ports, calls).run()
            assert world.window.window.limits == Limits(5, 90_000, version=2)

    run(scenario())


def test_a_rollback_sets_the_limits_back() -> None:
    """The order is that of the deployments, not of their numbers."""

    async def scenario() -> None:
        world, changed = ProcessorWorld(), replace(CALLS, limits=Limits(5, 90_000))
        for calls in (changed, CALLS):
            world.deployment.deployed = calls.limits
            await assemble(world.ports, calls).run()
        assert world.window.window.limits == replace(CALLS.limits, version=3)

    run(scenario())


def test_limits_stand_while_nobody_knows_what_is_deployed() -> None:
    """The run goes on with the limits that the window has."""

    async def scenario() -> None:
        world = ProcessorWorld()
        world.deployment.deployed = None
        await world.accept("hello")
        assert await assemble(world.ports, replace(CALLS, limits=Limits(5, 90_000))).run() == 1
        assert world.window.window.limits == CALLS.limits

    run(scenario())


def test_webhooks_that_nobody_sends_are_told_as_overdue() -> None:
    """While no notifier works, the figure grows; it is there once the first resend was of no use."""

    async def scenario() -> None:
        world = ProcessorWorld()
        await world.accept("hello")
        await world.work(minutes=10)
        overdue_s = [
            float(str(fields["DeliveryOverdueS"]))
            for name, fields in world.notifiers.telemetry.events
            if name == "webhook_overdue"
        ]
        assert overdue_s == sorted(overdue_s)
        assert 29 <= overdue_s[0] <= 91
        assert overdue_s[-1] > 300

    run(scenario())


def test_how_many_retries_wait_for_a_slot_is_known() -> None:
    """The takes of slots record it, so that a retry's estimate counts the retries before it."""

    async def scenario() -> None:
        world = ProcessorWorld()
        for number in range(CALLS.limits.calls + 2):
            await world.fail_long_ago(f"retry {number}")
        await assemble(world.ports, CALLS).run()
        assert world.window.gate
        assert world.window.gate.hints.retries_due == 2

    run(scenario())


def test_two_runs_do_not_race_for_each_slot() -> None:
    """The one that loses a slot lets the other one have the next ones: each race costs five operations."""

    async def scenario() -> None:
        world = ProcessorWorld()
        for number in range(20):
            await world.accept(f"message {number}")
        now_ms = world.notifiers.clock.now_ms()
        slots = tuple(Slot(now_ms + number * 1_000) for number in range(CALLS.limits.calls))
        world.window.window = Window(CALLS.limits, slots)
        runs = await asyncio.gather(*(assemble(world.ports, CALLS).run() for _ in range(2)))
        assert sum(runs) == CALLS.limits.calls
        assert world.window.conflicts <= 2

    run(scenario())


def test_only_the_schedule_s_run_sweeps() -> None:
    """A wake-up comes for a call; what a crash left behind is found within the schedule's minute."""

    async def scenario() -> None:
        world = ProcessorWorld()
        request = await world.wait_for("left behind")
        await assemble(world.ports, CALLS).run([WakeUp("", world.notifiers.clock.now_ms())])
        assert await world.notifiers.store.job(request.job_id) is None
        await assemble(world.ports, CALLS).run()
        assert await world.notifiers.store.job(request.job_id)

    run(scenario())


def test_calls_begin_side_by_side() -> None:
    """A slow database delays ten calls by what it takes for one: else dense windows would stay unused."""

    async def scenario() -> None:
        world = ProcessorWorld()
        for number in range(CALLS.limits.calls):
            await world.accept(f"message {number}")
        clock = world.notifiers.clock
        store = Slow(world.notifiers.store, clock, 100)
        slow = replace(world.ports, store=store)  # type: ignore[arg-type]
        began_ms = clock.monotonic_ms()
        assert await assemble(slow, CALLS).run() == CALLS.limits.calls
        assert clock.monotonic_ms() - began_ms < 2_000

    run(scenario())
