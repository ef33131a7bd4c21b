"""One seed, from its first caller until all is at rest."""

import asyncio
import zlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from itertools import count
from random import Random
from typing import Any, cast

import httpx
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.app import create_app
from api.settings import ApiSettings
from api.wiring import ApiPorts
from api.wiring import assemble as assemble_api
from core import webhook
from core import window as windows
from core.config import CallSettings
from core.errors import InvalidMessage, Unavailable
from core.gate import Gate
from core.messages import WakeUp, decode_wake_up
from core.secrets import Secrets
from notifier.attempts import NotifierPorts
from notifier.queues import Lane
from notifier.wiring import Notifier
from ports import (
    ClaimStore,
    Deployment,
    JobStore,
    Poster,
    Queue,
    Received,
    ReceiverStore,
    Upstream,
    WindowStore,
)
from processor.run import ProcessorPorts
from processor.wiring import assemble
from proofs.simulation import virtual_time
from proofs.simulation.callers import Callers
from proofs.simulation.checks import ANSWER_MS_MAX, Answer, Checks
from proofs.simulation.faults import Faults, FaultyPort, Instance, LossyQueue, adopt_tasks
from proofs.simulation.operating import Operator, OperatorPorts
from proofs.simulation.plan import WEBHOOK_DELAYS_MS, Call, Plan, plan, stream
from proofs.simulation.troubles import SKEWS_MS, Act, Trouble
from proofs.simulation.virtual_time import VirtualClock
from proofs.simulation.world import (
    ObservedStore,
    ObservedWindow,
    Receivers,
    SeededRandomness,
    SimulatedUpstream,
)
from tests.fakes.deployment import FakeDeployment
from tests.fakes.memory import (
    MemoryClaimStore,
    MemoryHistory,
    MemoryQueue,
    MemoryReceiverStore,
    MemoryTable,
    MemoryWindow,
)

SCHEDULE_MS = 60_000
PROCESSOR_LIMIT_MS = 110_000
PROCESSORS_MAX = 2
MAPPING_LATE_MS = (5, 1_000)
WORK_VISIBILITY_MS = 660_000
NOTIFIER_LIMIT_MS = 100_000
NOTIFICATION_VISIBILITY_MS = 120_000
NOTIFICATION_RECEIVES_MAX = 5
NOTIFIERS_MAX = 20
API_INSTANCES_MAX = 4
COLD_MS = (50, 700)
SETTLING_MS = 200_000
REST_MS = 4 * 3_600_000
WATCH_MS = 5_000
RIGHT_SHARE = 0.7
NEWER_SHARE = 0.8
WEBHOOK_SECRET = "whsec_" + "A" * 32
STRANGER = "mallory"
REACHED = "x-reached-gateway-ms"
GIVEN_ID: ContextVar[str] = ContextVar("request id")
API_SETTINGS = ApiSettings.read(
    {
        "UPSTREAM_URL": "http://upstream.example",
        "PUBLIC_URL": "http://relay.example",
        **dict.fromkeys(
            (
                "TABLE_NAME",
                "WINDOW_TABLE_NAME",
                "SECRET_ID",
                "WORK_QUEUE_URL",
                "WORK_DEAD_LETTER_QUEUE_URL",
                "NOTIFICATION_QUEUE_URL",
                "NOTIFICATION_DEAD_LETTER_QUEUE_URL",
            ),
            "unused",
        ),
    }
)
GARBAGE = ("", "{", '{"v": 2}', '{"v": 1, "job_id": "x"}', '{"v": 1, "job_id": "' + "0" * 64 + '"}', "[]")


@dataclass(slots=True)
class Result:
    """What a seed came to. `digest` covers every event: the same seed gives the same one."""

    seed: int
    violations: list[str]
    counts: dict[str, int]
    digest: int
    ended_ms: int
    trace: list[str] = field(default_factory=list)


class Telemetry:
    """A `ports.Telemetry` that writes into the trace."""

    def __init__(self, simulation: "Simulation", instance: Instance) -> None:
        self._simulation = simulation
        self._instance = instance

    def event(self, name: str, metrics: Mapping[str, float] | None = None, **fields: object) -> None:
        """Note it."""
        self._simulation.trace(self._instance.name, name, *fields.values(), *(metrics or ()))

    def about(self, **_fields: object) -> AbstractContextManager[None]:
        """The trace names what each line is about."""
        return nullcontext()


@dataclass(frozen=True, slots=True)
class Api:
    """One API instance."""

    instance: Instance
    client: httpx.AsyncClient


class Simulation:
    """All functions and the world around them, in virtual time."""

    def __init__(self, planned: Plan, *, keep_trace: bool) -> None:
        self.plan = planned
        self.rng = stream(planned.seed, "run")
        self._keep_trace = keep_trace
        self._lines: list[str] = []
        self._digest = 0
        clock = VirtualClock()
        table = MemoryTable()
        self.checks = self._checks = Checks(planned, table)
        self._faults = Faults(planned, self._stream("faults"))
        self._store = ObservedStore(table, self._checks, self._faults, self._stream("index"))
        self._window = ObservedWindow(MemoryWindow(), self._first_window, self._checks)
        self._work_dead_letters = MemoryQueue(clock)
        self._work_queue = MemoryQueue(
            clock, visibility_ms=WORK_VISIBILITY_MS, dead_letters=self._work_dead_letters
        )
        self._notification_dead_letters = MemoryQueue(clock)
        self._receiver_states = MemoryReceiverStore()
        self._deployment = FakeDeployment(planned.settings.limits)
        self._table = table
        self._notifications, self._retries = (
            MemoryQueue(
                clock,
                visibility_ms=NOTIFICATION_VISIBILITY_MS,
                receives_max=NOTIFICATION_RECEIVES_MAX,
                dead_letters=self._notification_dead_letters,
            )
            for _ in range(2)
        )
        self._upstream = SimulatedUpstream(planned, self._checks, self._faults, self._stream("upstream"))
        self._receivers = Receivers(self._checks, self._stream("receivers"))
        self._randomness = SeededRandomness(self._stream("ids"))
        self._apis: list[Api] = []
        self._claims = MemoryClaimStore()
        self._callers = Callers(self, self._checks, self._stream("callers"))
        self._names = count(1)
        self._background: dict[asyncio.Task[Any], None] = {}
        self._asking = 0

    def _stream(self, name: str) -> Random:
        return stream(self.plan.seed, name)

    def _first_window(self) -> Gate:
        limits, settings = self.plan.settings.limits, self.plan.settings
        if self.plan.window_exists:
            return Gate(windows.empty(limits))
        lease_ms = settings.timing.lease_ms(settings.call_limit_ms, limits.window_ms)
        return Gate(windows.full(limits, VirtualClock().now_ms() + lease_ms))

    def trace(self, *parts: object) -> None:
        """Note an event."""
        line = " ".join(map(str, (VirtualClock().monotonic_ms(), *parts)))
        self._digest = zlib.crc32(line.encode(), self._digest)
        if self._keep_trace:
            self._lines.append(line)

    async def run(self) -> Result:
        """Run until all is at rest, or something is wrong."""
        self.begin()
        await self._rest()
        for client in sorted({call.client for call in self.plan.calls}):
            await self._callers.list_own(client)
        if not self._checks.violations:
            self._checks.at_rest()
        return self._result()

    def begin(self) -> None:
        """Start everything that moves by itself, and every caller."""
        loop = asyncio.get_running_loop()
        adopt_tasks(loop)
        loop.set_exception_handler(self._unforeseen)
        self._spawn(self._schedule())
        self._spawn(self._deliver_messages(self._notifications, Lane.FIRST))
        self._spawn(self._deliver_messages(self._retries, Lane.RETRIES))
        self._spawn(self._deliver_wake_ups())
        self._spawn(self._disturb())
        self._spawn(self._end_wrong_clocks())
        self._spawn(self._watch())
        self._spawn(self._deploy())
        self._spawn(self._list())
        for act in self.plan.acts:
            self._spawn(self._operate(act))
        for call in self.plan.calls:
            self._spawn(self._call(call))

    def _result(self) -> Result:
        counts = {**self._checks.counts, **{f"fault {name}": n for name, n in self._faults.counts.items()}}
        ended_ms = VirtualClock().monotonic_ms()
        return Result(self.plan.seed, self._checks.violations, counts, self._digest, ended_ms, self._lines)

    def _unforeseen(self, _loop: object, context: dict[str, Any]) -> None:
        self._checks.expect(False, "unforeseen:", repr(context.get("exception") or context["message"]))

    def _spawn(self, work: Any) -> None:
        """Run something in the world; what goes wrong in it is a violation."""
        task = asyncio.get_running_loop().create_task(work)
        self._background[task] = None
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._background.pop(task)
        if not task.cancelled() and (error := task.exception()):
            self._checks.expect(False, "unforeseen:", repr(error))

    async def _rest(self) -> None:
        """Wait until every caller has gone and nothing stands on the due index any more."""
        clock = VirtualClock()
        last_ms = self.plan.faults_end_ms
        while not self._checks.violations:
            await asyncio.sleep(WATCH_MS / 1000)
            now_ms = clock.monotonic_ms()
            if now_ms > last_ms + SETTLING_MS:
                self._checks.in_time()
            if now_ms > last_ms and not self._asking and not self._checks.unfinished():
                return
            if now_ms > last_ms + REST_MS:
                self._checks.expect(False, "no rest:", *self._checks.unfinished())

    # The world's own movements

    async def _schedule(self) -> None:
        """Start a processor run each minute, and let what has expired go."""
        await asyncio.sleep(self.rng.uniform(0, SCHEDULE_MS / 1000))
        while True:
            if self.rng.random() >= self._faults.rates.crash:
                self._spawn(self._process([]))
            self._store.expire()
            await asyncio.sleep(SCHEDULE_MS / 1000)

    async def _disturb(self) -> None:
        """Lose whole queues, and put nonsense into them."""
        for at_ms in self.plan.purges_ms:
            await asyncio.sleep(max(0, at_ms - VirtualClock().monotonic_ms()) / 1000)
            self.trace("world", "purge")
            queues = self._work_queue, self._notifications, self._retries
            for queue in self.rng.choice((queues[:1], queues[1:], queues)):
                queue.purge()
            for text in GARBAGE:
                await self.rng.choice(queues).send([text])

    async def _watch(self) -> None:
        """See every second that no call is late."""
        while True:
            await asyncio.sleep(1)
            self._checks.no_call_is_late(await self._window.read())

    async def _end_wrong_clocks(self) -> None:
        """When the faults end, so do the hosts whose clocks are wrong."""
        await asyncio.sleep(self.plan.faults_end_ms / 1000)
        for api in self._apis:
            if api.instance.wrong_clock:
                api.instance.crash()

    async def _deploy(self) -> None:
        """From some moment on new instances are of a newer version, with settings of its own."""
        if self.plan.deploy_ms is not None:
            await asyncio.sleep(self.plan.deploy_ms / 1000)
            self._deployment.deployed = self.plan.next_settings.limits

    async def _operate(self, act: Act) -> None:
        """Let the operator act."""
        await asyncio.sleep(act.at_ms / 1000)
        instance = Instance(f"operator-{next(self._names)}", self.rng)
        ports = OperatorPorts(
            self._store,
            self._window,
            self._queue_port(self._notifications, "notifications", instance),
            instance.clock,
            self._randomness,
        )
        self.trace("operator", act.trouble)
        await Operator(self._table, ports, self.plan.settings, self._stream("operator")).act(act)

    async def _deliver_messages(self, queue: MemoryQueue, lane: Lane) -> None:
        """An event source mapping: batches of notifications to as many notifiers as may run at once."""
        slots = asyncio.Semaphore(NOTIFIERS_MAX)
        while True:
            await slots.acquire()
            batch = await queue.receive(10, 20_000)
            if batch:
                self._spawn(self._notify(batch, queue, lane, slots))
            else:
                slots.release()

    async def _deliver_wake_ups(self) -> None:
        """The event source mapping of the work queue: up to a second late, two runs at once."""
        slots = asyncio.Semaphore(PROCESSORS_MAX)
        while True:
            await slots.acquire()
            batch = await self._work_queue.receive(10, 20_000)
            if batch:
                self._spawn(self._wake_processor(batch, slots))
            else:
                slots.release()

    async def _wake_processor(self, batch: list[Received], slots: asyncio.Semaphore) -> None:
        """Invoke a processor with a batch; what nobody can read comes again, and the rest is deleted."""
        await asyncio.sleep(self.rng.randint(*MAPPING_LATE_MS) / 1000)
        readable, wake_ups = [], []
        for message in batch:
            try:
                wake_ups.append(decode_wake_up(message.text))
                readable.append(message.receipt)
            except InvalidMessage:
                self.trace("world", "unreadable wake-up")
        if await self._process(wake_ups) is not None:
            await self._work_queue.delete(readable)
        slots.release()

    # The functions

    async def _sign(self, body: bytes, webhook_id: str, timestamp_s: int, _client: str) -> dict[str, str]:
        if self._faults.down("secrets"):
            raise Unavailable("GetSecretValue: refused")
        return webhook.sign(body, webhook_id, timestamp_s, [WEBHOOK_SECRET])

    def _instance(self, kind: str) -> Instance:
        instance = Instance(f"{kind}-{next(self._names)}", self.rng, wrong_by_ms=self._wrong_by_ms())
        instance.newer = self._is_deployed and self.rng.random() < NEWER_SHARE
        return instance

    @property
    def _is_deployed(self) -> bool:
        """Whether the newer version is there: a few instances of the older one still start."""
        return self.plan.deploy_ms is not None and VirtualClock().monotonic_ms() >= self.plan.deploy_ms

    def _settings(self, instance: Instance) -> CallSettings:
        return self.plan.next_settings if instance.newer else self.plan.settings

    def _wrong_by_ms(self) -> int:
        """How far the clock of a new instance is off, beyond what the margin covers."""
        drawn = [skew_ms for trouble in sorted(self.plan.troubles) for skew_ms in SKEWS_MS.get(trouble, ())]
        over = VirtualClock().monotonic_ms() >= self.plan.faults_end_ms
        return 0 if over or not drawn or self.rng.random() < RIGHT_SHARE else self.rng.choice(drawn)

    def _port(self, inner: object, name: str, instance: Instance, *, raises: bool = True) -> Any:
        return FaultyPort(inner, name, instance, self._faults, self.trace, raises=raises)

    def _store_port(self, instance: Instance) -> JobStore:
        return cast(JobStore, self._port(self._store, "store", instance))

    def _window_port(self, instance: Instance) -> WindowStore:
        return cast(WindowStore, self._port(self._window, "window", instance))

    def _upstream_port(self, instance: Instance) -> Upstream:
        return cast(Upstream, self._port(self._upstream, "upstream", instance, raises=False))

    def _queue_port(self, queue: MemoryQueue, name: str, instance: Instance) -> Queue:
        return cast(Queue, self._port(LossyQueue(queue, self._faults), name, instance))

    async def _process(self, wake_ups: Sequence[WakeUp]) -> int | None:
        """Make a processor run; return how many calls it made, None if it did not end well."""
        instance = self._instance("processor")
        ports = ProcessorPorts(
            store=self._store_port(instance),
            window_store=self._window_port(instance),
            upstream=self._upstream_port(instance),
            work_queue=self._queue_port(self._work_queue, "work_queue", instance),
            notifications=self._queue_port(self._notifications, "notifications", instance),
            deployment=cast(Deployment, self._port(self._deployment, "deployment", instance)),
            clock=instance.clock,
            randomness=self._randomness,
            telemetry=Telemetry(self, instance),
        )
        run = assemble(ports, self._settings(instance)).run(wake_ups)
        made: int | None = await self._invoke(instance, run, PROCESSOR_LIMIT_MS)
        return made

    async def _invoke(self, instance: Instance, work: Any, limit_ms: int) -> Any:
        """Run a handler to its end, its crash or its time limit; None unless it returned."""
        task = instance.start(work)
        await asyncio.wait({task}, timeout=limit_ms / 1000)
        ended = task.done()
        self._checks.ended_in_time(ended=ended, name=instance.name)
        if not ended or instance.dead or task.cancelled():
            instance.crash()
            return None
        try:
            return task.result()
        except Unavailable:
            return None

    async def _notify(
        self, batch: list[Received], queue: MemoryQueue, lane: Lane, slots: asyncio.Semaphore
    ) -> None:
        """Invoke a notifier with a batch; what it says is done is deleted, the rest comes again."""
        instance = self._instance("notifier")
        ports = NotifierPorts(
            store=self._store_port(instance),
            receivers=cast(ReceiverStore, self._port(self._receiver_states, "receivers", instance)),
            poster=cast(Poster, self._port(self._receivers, "poster", instance, raises=False)),
            notifications=self._queue_port(self._notifications, "notifications", instance),
            retries=self._queue_port(self._retries, "retries", instance),
            sign=self._sign,
            clock=instance.clock,
            randomness=self._randomness,
            telemetry=Telemetry(self, instance),
        )
        work = Notifier(ports, WEBHOOK_DELAYS_MS, "").batch(lane)
        records = [{"messageId": message.receipt, "body": message.text} for message in batch]
        failed = await self._invoke(instance, work.run(records), NOTIFIER_LIMIT_MS)
        if failed is not None:
            await queue.delete([message.receipt for message in batch if message.receipt not in failed])
        slots.release()

    def _api(self) -> tuple[Api, int]:
        """Return an instance and how long its cold start takes: 0 for a warm one."""
        self._apis = [api for api in self._apis if not api.instance.dead]
        if self._apis and (len(self._apis) >= API_INSTANCES_MAX or self.rng.random() < 0.7):
            return self.rng.choice(self._apis), 0
        api = self._new_api()
        self._apis.append(api)
        return api, self.rng.randint(*COLD_MS)

    def _new_api(self) -> Api:
        instance = self._instance("api")
        ports = ApiPorts(
            store=self._store_port(instance),
            window_store=self._window_port(instance),
            upstream=self._upstream_port(instance),
            work_queue=self._queue_port(self._work_queue, "work_queue", instance),
            notifications=self._queue_port(self._notifications, "notifications", instance),
            clock=instance.clock,
            randomness=GivenIds(self._randomness),
            telemetry=Telemetry(self, instance),
            claims=cast(ClaimStore, self._port(self._claims, "claims", instance)),
            dead_letters={},
            history=MemoryHistory(),
            secrets=self._secrets,
            checks={},
        )
        services = assemble_api(ports, replace(API_SETTINGS, calls=self._settings(instance)))
        transport = httpx.ASGITransport(_behind_gateway(create_app(services)))
        return Api(
            instance,
            httpx.AsyncClient(transport=transport, base_url="http://relay.example"),
        )

    # The callers

    async def _call(self, call: Call) -> None:
        """Ask once, then follow what was accepted to its end."""
        self._asking += 1
        await asyncio.sleep(call.at_ms / 1000)
        answer = await self._callers.sign(call)
        if answer:
            self.answered(call, answer)
        if answer and answer.accepted:
            if call.cancels:
                self._spawn(self._callers.cancel(call, answer.request_id, call.cancels))
            await self._follow(call, answer.request_id)
        self._asking -= 1

    def answered(self, call: Call, answer: Answer) -> None:
        """The answer that a caller got in the end."""

    def new_id(self) -> str:
        """Return a request id that was never used."""
        return self._randomness.request_id(VirtualClock().now_ms())

    async def request(
        self,
        client: str,
        request_id: str,
        path: str,
        *,
        method: str = "GET",
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        answer_ms_max: int = ANSWER_MS_MAX,
    ) -> Answer | None:
        """Send one request under this id to some instance; None if the caller gets no answer."""
        reached_ms = VirtualClock().now_ms()
        api, cold_ms = self._api()
        await asyncio.sleep(cold_ms / 1000)
        given = {"Authorization": key_of(client), REACHED: str(reached_ms), **(headers or {})}
        token = GIVEN_ID.set(request_id)
        task = api.instance.start(api.client.request(method, path, params=query, headers=given))
        GIVEN_ID.reset(token)
        await asyncio.wait({task})
        if api.instance.dead or task.cancelled():
            return None
        response = task.result()
        answer = Answer(response.status_code, response.json()["request_id"], response.json())
        self.trace("caller", method, path, query, request_id, answer)
        if not api.instance.was_frozen(reached_ms):
            took_ms = VirtualClock().now_ms() - reached_ms
            self._checks.in_answer_time(took_ms, answer.request_id, answer_ms_max)
        return None if self._faults.answer_lost() else answer

    async def _secrets(self) -> Secrets:
        names = sorted({STRANGER, *(call.client for call in self.plan.calls)})
        clients = {name: key_of(name) for name in names}
        return Secrets("upstream-key", clients, (WEBHOOK_SECRET,), (), ("token-key",), {})

    async def _list(self) -> None:
        """Let callers list their requests now and then, while faults last."""
        while VirtualClock().monotonic_ms() < self.plan.faults_end_ms:
            await asyncio.sleep(self.rng.uniform(1, 60))
            await self._callers.list_own(self.rng.choice(self.plan.calls).client)

    async def _follow(self, call: Call, request_id: str) -> None:
        """Poll until it has ended; nobody else finds it."""
        while not self._checks.violations:
            answer = await self._status(call.client, request_id)
            if answer and self._checks.polled(request_id, answer):
                break
            await asyncio.sleep(self.rng.choice((0.05, 2, 20, 60)))
        stranger = await self._status(STRANGER, request_id)
        self._checks.expect(
            stranger is None or stranger.status in {404, 503}, "status: shown to a stranger", request_id
        )

    async def _status(self, client: str, request_id: str) -> Answer | None:
        return await self.request(client, self.new_id(), f"/crypto/requests/{request_id}")


def key_of(client: str) -> str:
    """Return a caller's API key."""
    return f"key-of-{client.replace(' ', '-')}"


class GivenIds:
    """Chance of an API instance: the id of each request is the one that the simulation knows."""

    def __init__(self, inner: SeededRandomness) -> None:
        self._inner = inner

    def request_id(self, now_ms: int) -> str:
        """Return the id that the request under way was given."""
        del now_ms
        return GIVEN_ID.get()

    def token(self) -> str:
        """Return a token."""
        return self._inner.token()

    def fraction(self) -> float:
        """Return a number in [0, 1)."""
        return self._inner.fraction()


def _behind_gateway(app: ASGIApp) -> ASGIApp:
    """Tell the application when its request reached the gateway, as API Gateway does."""

    async def called(scope: Scope, receive: Receive, send: Send) -> None:
        reached_ms = int(Headers(scope=scope)[REACHED])
        scope = {**scope, "aws.event": {"requestContext": {"requestTimeEpoch": reached_ms}}}
        await app(scope, receive, send)

    return called


def run_seed(seed: int, *, trouble: Trouble | None = None, keep_trace: bool = False) -> Result:
    """Run one seed to its end, with the troubles that it draws, or with the one that is asked for."""
    return virtual_time.run(_run(plan(seed, trouble), keep_trace=keep_trace))


async def _run(planned: Plan, *, keep_trace: bool) -> Result:
    return await Simulation(planned, keep_trace=keep_trace).run()
