"""The operator's actions: functions on ports, independent of AWS and of the command line."""

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from adapters.secrets import parse_and_check
from calling import redelivery
from calling.conditional import amend, amend_gate, amend_request
from calling.parking import park_unless_wanted
from calling.redelivery import NotReplayable
from core import gate as gates
from core import job as jobs
from core import window as windows
from core.errors import RelayError, SettingError
from core.gate import Gate
from core.job import Job
from core.messages import NotificationMessage
from core.request import Request, close_failed
from core.window import Change
from ports import Clock, Conflict, History, JobStore, Queue, Received, WindowStore, Written

PURGED = "purged_by_operator"
PURGED_STATUS = 503
KEY_BYTES = 32
REPLAYED, DUE_NOW, NOT_HURRIED = "sent again", "due now", "due already, or being called"
GOOD = frozenset({REPLAYED, DUE_NOW, NOT_HURRIED})
CLIENTS, OPERATORS = "clients", "operators"
WEBHOOK_SECRETS, SIGNING_KEYS = "webhook_secrets", "signing_keys"
CLIENT_WEBHOOK_SECRETS = "client_webhook_secrets"
TOKEN_KEYS, ONLY_TOKEN_KEY = "token_keys", "token_key"
PUBLIC_KEYS, RETIRED_PUBLIC_KEYS = "public_keys", "retired_public_keys"

Secret = dict[str, Any]


class Refused(RelayError):
    """The action is not allowed, and nothing was changed."""


class NothingFound(RelayError):
    """The action found no object."""


class RequestScan(Protocol):
    """Finds requests by properties that no index has."""

    def requests(self) -> AsyncIterator[Request]:
        """Return every request; reads the whole table."""
        ...


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """The secret's document as it was read, and the id of its version."""

    version: str
    document: Secret


class Vault(Protocol):
    """The service's secret."""

    async def read(self) -> StoredSecret:
        """Return the current version; raises `Unavailable`."""
        ...

    async def write(
        self, before: StoredSecret | None, after: Secret
    ) -> Written[StoredSecret] | Conflict[StoredSecret]:
        """Replace the document if the current version is still the one that was read."""
        ...

    async def fill(self, document: Secret) -> bool:
        """Write the first version; False if there is one already."""
        ...


class DeadLetterQueue(Protocol):
    """Messages that could not be handled. A received message is held until it is deleted or released."""

    async def receive(self, limit: int, wait_ms: int) -> list[Received]:
        """Receive up to `limit` (at most 10), waiting for the first one up to `wait_ms` (at most 20 s)."""
        ...

    async def delete(self, receipts: Sequence[str]) -> None:
        """Delete messages that were received."""
        ...

    async def release(self, receipts: Sequence[str]) -> None:
        """Make them receivable again at once."""
        ...

    async def count(self) -> int:
        """Return the approximate number of messages that are not held."""
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """The world, as the operator's tool needs it."""

    store: JobStore
    scan: RequestScan
    window_store: WindowStore
    notifications: Queue
    dead_letters: Mapping[str, DeadLetterQueue]
    vault: Vault
    history: History
    clock: Clock


class State(StrEnum):
    """The states to find requests by: of the request, of its outcome, or of its webhook."""

    OPEN = "open"
    WAITING = "waiting"
    RETRYING = "retrying"
    SIGNED = "signed"
    FAILED = "failed"
    PENDING = "pending"
    DELIVERED = "delivered"
    GONE = "gone"
    UNDELIVERABLE = "undeliverable"


POSITIONS = frozenset({State.WAITING, State.RETRYING})
ENDED_UNHEARD = frozenset({State.GONE, State.UNDELIVERABLE})


@dataclass(frozen=True, slots=True)
class Filter:
    """Selects requests by id, caller and time of acceptance. An empty filter selects all."""

    ids: frozenset[str] = frozenset()
    client: str = ""
    since_ms: int | None = None
    until_ms: int | None = None

    @property
    def empty(self) -> bool:
        """Whether it selects all requests."""
        return self == Filter()

    def fits(self, request: Request) -> bool:
        """Whether it selects the request."""
        return (
            (not self.ids or request.id in self.ids)
            and (not self.client or request.client == self.client)
            and (self.since_ms is None or request.created_ms >= self.since_ms)
            and (self.until_ms is None or request.created_ms < self.until_ms)
        )


@dataclass(frozen=True, slots=True)
class Standing:
    """A request, and its job while the request is open."""

    request: Request
    job: Job | None

    @property
    def attempts(self) -> int:
        """Return the number of calls since the request was accepted, as far as it is known."""
        return max(0, self.job.attempts - self.request.attempts_before) if self.job else 0

    @property
    def state(self) -> str:
        """Return its state: waiting, retrying, or its outcome."""
        if not self.request.open:
            return self.request.state
        return State.RETRYING if self.attempts else State.WAITING


async def find(ports: Ports, wanted: Filter, states: frozenset[State] = frozenset()) -> list[Standing]:
    """Return the matching requests, oldest first. Ids are looked up; other filters read the whole table."""
    if wanted.ids:
        found = await asyncio.gather(*(ports.store.request(request_id) for request_id in sorted(wanted.ids)))
        requests = [request for request in found if request and wanted.fits(request)]
    else:
        requests = [request async for request in ports.scan.requests() if wanted.fits(request)]
    if states:
        requests = [request for request in requests if _may_be_in(request, states)]
    standings = await asyncio.gather(*(_standing(ports.store, request) for request in requests))
    fitting = [row for row in standings if not states or states & {*_request_states(row.request), row.state}]
    return sorted(fitting, key=lambda row: row.request.created_ms)


def _may_be_in(request: Request, states: frozenset[State]) -> bool:
    """Match without the job, which alone knows whether an open request waits or is retried."""
    return bool(states & _request_states(request)) or (request.open and bool(states & POSITIONS))


def _request_states(request: Request) -> set[str]:
    return {request.state, request.delivery.state}


async def _standing(store: JobStore, request: Request) -> Standing:
    return Standing(request, await store.job(request.job_id) if request.open else None)


async def purge(ports: Ports, requests: Iterable[Request], *, notify: bool) -> int:
    """Fail open requests and notify their callers; return how many. Their jobs get no further call."""
    requests = list(requests)
    calls = {request.id: request.calls_of(await ports.store.job(request.job_id)) for request in requests}

    def given_up(request: Request) -> Request | None:
        if not request.open:
            return None
        now_ms = ports.clock.now_ms()
        return close_failed(request, PURGED_STATUS, PURGED, now_ms, calls=calls[request.id], notify=notify)

    closed = await _change_requests(ports.store, requests, given_up)
    await _notify(ports.notifications, closed)
    for job_id in {request.job_id for request in closed}:
        await park_unless_wanted(ports.store, job_id, ports.clock.now_ms())
    return len(closed)


async def replay(ports: Ports, requests: Iterable[Request]) -> dict[str, str]:
    """Start deliveries again, from their first attempt; return the result of each, by request."""
    started, results = [], {}
    for request in requests:
        try:
            started.append(await redelivery.replay(ports.store, request, ports.clock.now_ms()))
        except NotReplayable as error:
            results[request.id] = str(error)
        else:
            results[request.id] = REPLAYED
    await _notify(ports.notifications, started)
    return results


async def retry_now(ports: Ports, requests: Iterable[Request]) -> dict[str, str]:
    """Make waiting retries due now, for the next free slots; return the result of each, by request."""
    results = {}
    for request in requests:
        job = await ports.store.job(request.job_id)
        after = await amend(
            job,
            lambda seen: jobs.due_now(seen, ports.clock.now_ms()) if seen else None,
            ports.store.write_job,
        )
        results[request.id] = DUE_NOW if isinstance(after, Written) else NOT_HURRIED
    return results


async def _change_requests(
    store: JobStore, requests: Iterable[Request], decide: Callable[[Request], Request | None]
) -> list[Request]:
    """Write what `decide` returns for each request, and decide again after a conflicting write."""
    written = [await amend_request(store, request, decide) for request in requests]
    return [request for request in written if request]


async def _notify(queue: Queue, requests: Iterable[Request]) -> None:
    """Send the webhooks' first messages. The due index finds a webhook whose message is lost."""
    due = [request for request in requests if request.delivery_due]
    await queue.send([NotificationMessage(request.job_id, request.id, 0).encode() for request in due])


async def pause(ports: Ports, *, by: str) -> bool:
    """Stop upstream calls; return whether that changed the state."""
    now_ms = ports.clock.now_ms()
    return await _change_window(ports.window_store, lambda gate: gates.pause(gate, by=by, now_ms=now_ms))


async def resume(ports: Ports) -> bool:
    """Resume upstream calls; return whether that changed the state."""
    return await _change_window(ports.window_store, lambda gate: gates.resume(gate, ports.clock.now_ms()))


async def unblock(ports: Ports) -> bool:
    """End the wait after a 429 or a refused key; return whether that changed the state."""
    return await _change_window(ports.window_store, lambda gate: gates.unblock(gate, ports.clock.now_ms()))


async def fill_window(ports: Ports, for_ms: int) -> bool:
    """Make every slot busy for this long; return whether that changed the state."""
    free_at_ms = ports.clock.now_ms() + for_ms
    return await _change_window(ports.window_store, lambda gate: windows.fill(gate.window, free_at_ms))


async def set_limits(ports: Ports, calls: int, window_ms: int) -> bool:
    """Change N and W until a deployment requests other numbers; return whether that changed the state."""
    return await _change_window(
        ports.window_store, lambda gate: windows.change_limits(gate.window, calls, window_ms, deployed=False)
    )


async def _change_window(store: WindowStore, decide: Callable[[Gate], Change | None]) -> bool:
    return isinstance(await amend_gate(await store.read(), decide, store.apply), Written)


async def init_secret(vault: Vault, document: Secret) -> None:
    """Fill the secret of a new stack; raises `Refused` if it is filled, or this breaks a rule."""
    try:
        parse_and_check(json.dumps(document))
    except SettingError as error:
        raise Refused(str(error)) from None
    if not await vault.fill(document):
        raise Refused("the secret is filled already: change it by keys, webhook-secrets and the like")


async def key_names(vault: Vault, holders: str = CLIENTS) -> list[str]:
    """Return the names that have a key."""
    return sorted((await vault.read()).document.get(holders, {}))


def new_key() -> str:
    """Return a new API key."""
    return secrets.token_urlsafe(KEY_BYTES)


async def add_key(vault: Vault, name: str, holders: str = CLIENTS, webhook_secret: str = "") -> str:
    """Make a key for a caller or an operator and return it. It is shown only now.

    `webhook_secret`: what signs the webhooks of this caller alone.
    """
    key = new_key()

    def added(secret: Secret) -> Secret:
        known = secret.get(holders, {})
        if name in known:
            raise Refused(f"{name} has a key already: revoke it first")
        own = {CLIENT_WEBHOOK_SECRETS: _signed_with(secret, name, [webhook_secret])} if webhook_secret else {}
        return secret | {holders: {**known, name: key}} | own

    await _change(vault, added)
    return key


async def add_client_secret(vault: Vault, name: str, new: str) -> None:
    """Sign a caller's webhooks with a new secret of its own. Its present one signs them too."""

    def added(secret: Secret) -> Secret:
        _require_client(secret, name)
        old = secret.get(CLIENT_WEBHOOK_SECRETS, {}).get(name, secret.get(WEBHOOK_SECRETS, []))
        return secret | {CLIENT_WEBHOOK_SECRETS: _signed_with(secret, name, [new, *old])}

    await _change(vault, added)


async def retire_client_secrets(vault: Vault, name: str) -> None:
    """Sign a caller's webhooks with its newest secret only."""

    def retired(secret: Secret) -> Secret:
        _require_client(secret, name)
        newest, *older = secret.get(CLIENT_WEBHOOK_SECRETS, {}).get(name) or [None]
        if not older:
            raise NothingFound(f"{name} has no older secret")
        return secret | {CLIENT_WEBHOOK_SECRETS: _signed_with(secret, name, [newest])}

    await _change(vault, retired)


def _require_client(secret: Secret, name: str) -> None:
    if name not in secret.get(CLIENTS, {}):
        raise NothingFound(f"{name} has no key")


def _signed_with(secret: Secret, name: str, secrets_: list[Any]) -> dict[str, Any]:
    return {**secret.get(CLIENT_WEBHOOK_SECRETS, {}), name: secrets_}


async def revoke_key(vault: Vault, name: str, holders: str = CLIENTS) -> None:
    """Revoke a key. Accepted requests are still delivered, signed with the caller's webhook secret."""

    def revoked(secret: Secret) -> Secret:
        known = secret.get(holders, {})
        if name not in known:
            raise NothingFound(f"{name} has no key")
        return secret | {holders: {other: key for other, key in known.items() if other != name}}

    await _change(vault, revoked)


async def set_upstream_key(ports: Ports, key: str) -> None:
    """Replace only the upstream's key. If the key is suspected, the new one is probed at once."""
    await _change(ports.vault, lambda secret: secret | {"upstream_key": key})
    with contextlib.suppress(NothingFound):  # without a window no key is suspected
        await unblock(ports)


async def add_signer(vault: Vault, kind: str, new: str, public_key: str = "") -> None:
    """Sign with a new key. The old keys stay valid, and old webhook keys sign too, until they are retired."""

    def added(secret: Secret) -> Secret:
        published = {PUBLIC_KEYS: [public_key, *secret.get(PUBLIC_KEYS, [])]} if public_key else {}
        return secret | {kind: [new, *_signers(secret, kind)]} | published

    await _change(vault, added)


async def retire_signers(vault: Vault, kind: str) -> int:
    """Keep only the newest key; return how many were retired. Their public halves stay published."""
    retired = 0

    def left(secret: Secret) -> Secret:
        nonlocal retired
        signers = _signers(secret, kind)
        retired = len(signers) - 1
        if retired < 1:
            raise NothingFound("there is no older one")
        kept = {name: value for name, value in secret.items() if kind != TOKEN_KEYS or name != ONLY_TOKEN_KEY}
        return kept | {kind: signers[:1]} | (_retired_public_keys(secret) if kind == SIGNING_KEYS else {})

    await _change(vault, left)
    return retired


def _signers(secret: Secret, kind: str) -> list[str]:
    """Return the keys of a kind, newest first; version 0.1 had one token key, under another name."""
    only = [secret[ONLY_TOKEN_KEY]] if kind == TOKEN_KEYS and ONLY_TOKEN_KEY in secret else []
    keys: list[str] = secret.get(kind, only)
    return keys


def _retired_public_keys(secret: Secret) -> Secret:
    published = secret.get(PUBLIC_KEYS, [])  # a secret filled by hand may publish none
    retired = [*published[1:], *secret.get(RETIRED_PUBLIC_KEYS, [])]
    return {PUBLIC_KEYS: published[:1], RETIRED_PUBLIC_KEYS: retired}


async def _change(vault: Vault, decide: Callable[[Secret], Secret]) -> None:
    """Change the secret. After a conflicting change, repeat this on the current version.

    Raises `Refused` if the functions could not use the result, and `TooManyConflicts`.
    """

    def checked(stored: StoredSecret | None) -> Secret | None:
        if stored is None:
            return None
        after = decide(stored.document)
        try:
            parse_and_check(json.dumps(after))
        except SettingError as error:
            raise Refused(str(error)) from None
        return after

    await amend(await vault.read(), checked, vault.write)
