"""Jobs and requests as DynamoDB items: flat, so that every version reads what another one wrote.

An attribute that this version does not know is kept in `others` and written back unchanged. A record that it
can't read, because it is damaged or of a newer version, raises `Unreadable` and is not changed.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

from adapters import items
from adapters.items import Item
from core.due_index import IndexRow
from core.errors import Unreadable
from core.job import Call, Job, JobState, Refusal, Signature
from core.request import Delivery, DeliveryState, Failure, Request, RequestState, Success

Values = Mapping[str, str | int | None]
"""Every attribute that this version knows; None or an empty text: not stored."""

Record = TypeVar("Record")


class _Row:
    """A stored item's scalar attributes, by name and type."""

    def __init__(self, item: Item) -> None:
        self._item = item

    def text(self, name: str) -> str:
        """Return a text, empty if there is none."""
        return str(self._item[name]["S"]) if name in self._item else ""

    def number(self, name: str) -> int | None:
        """Return a number, None if there is none."""
        return int(self._item[name]["N"]) if name in self._item else None

    def count(self, name: str) -> int:
        """Return a number, 0 if there is none."""
        return self.number(name) or 0


def job_key(job_id: str) -> Item:
    """Return the key of a job's item."""
    return {"PK": {"S": f"JOB#{job_id}"}, "SK": {"S": "JOB"}}


def request_key(job_id: str, request_id: str) -> Item:
    """Return the key of a request's item."""
    return {"PK": {"S": f"JOB#{job_id}"}, "SK": {"S": f"REQ#{request_id}"}}


def encode_job(job: Job) -> Item:
    """Return a job's item."""
    return {**job.others, **job_key(job.id), **_attributes(_job_values(job))}


def _job_values(job: Job) -> Values:
    return {
        "id": job.id,
        "message": job.message,
        "created_ms": job.created_ms,
        "state": job.state,
        "attempts": job.attempts,
        "next_try_ms": job.next_try_ms,
        "call_id": job.call.id if job.call else None,
        "call_until_ms": job.call.until_ms if job.call else None,
        "signature": job.signature,
        "signed_at_ms": job.outcome.at_ms if isinstance(job.outcome, Signature) else None,
        "refusal": job.refusal or None,
        "refused_at_ms": job.outcome.at_ms if isinstance(job.outcome, Refusal) else None,
        "failing_since_ms": job.failing_since_ms,
        "error": job.error,
        "key_refused_ms": job.key_refused_ms,
        "oldest_ms": job.oldest_ms,
        "open_from": job.open_from,
        "client": job.client,
        "revision": job.revision,
        **_index_values(job.index_row, job.expires_ms),
    }


def decode_job(item: Item) -> Job:
    """Return the job that an item holds; raises `Unreadable`."""
    return _readable("job", item, _decode_job)


def _decode_job(item: Item) -> Job:
    row = _Row(item)
    JobState(row.text("state"))  # raises ValueError for a newer version's state
    call_id, signature, refusal = row.text("call_id"), row.text("signature"), row.count("refusal")
    outcome: Signature | Refusal | None = None
    if signature:
        outcome = Signature(signature, row.count("signed_at_ms"))
    elif refusal:
        outcome = Refusal(refusal, row.count("refused_at_ms"))
    return Job(
        id=_required(row.text("id")),
        message=row.text("message"),
        created_ms=row.count("created_ms"),
        attempts=row.count("attempts"),
        next_try_ms=row.count("next_try_ms"),
        call=Call(call_id, row.count("call_until_ms")) if call_id else None,
        outcome=outcome,
        failing_since_ms=row.number("failing_since_ms") or None,
        error=row.text("error"),
        key_refused_ms=row.number("key_refused_ms"),
        due_ms=row.number("due_ms"),
        oldest_ms=row.count("oldest_ms"),
        open_from=row.text("open_from"),
        client=row.text("client"),
        revision=row.text("revision"),
        others=_others(item, _JOB_ATTRIBUTES),
    )


def encode_request(request: Request) -> Item:
    """Return a request's item."""
    key = request_key(request.job_id, request.id)
    return {**request.others, **key, **_attributes(_request_values(request))}


def _request_values(request: Request) -> Values:
    delivery, failure = request.delivery, request.failure
    return {
        "id": request.id,
        "job_id": request.job_id,
        "message": request.message,
        "client": request.client,
        "webhook_url": request.webhook_url,
        "created_ms": request.created_ms,
        "attempts_before": request.attempts_before,
        "key_blocked_ms": request.key_blocked_ms,
        "estimated_ms": request.estimated_ms,
        "reference": request.reference,
        "state": request.state,
        "signature": request.signature,
        "failure_status": failure.status if failure else None,
        "failure_reason": failure.reason if failure else None,
        "closed_ms": request.closed_ms,
        "calls": request.calls,
        "delivery_state": delivery.state,
        "delivery_attempts": delivery.attempts,
        "delivery_until_ms": delivery.until_ms,
        "delivery_not_before_ms": delivery.not_before_ms,
        "delivery_reason": delivery.reason,
        "delivery_excerpt": delivery.excerpt,
        "delivery_ended_ms": delivery.ended_ms,
        "revision": request.revision,
        **_index_values(request.index_row, request.expires_ms),
    }


def decode_request(item: Item) -> Request:
    """Return the request that an item holds; raises `Unreadable`."""
    return _readable("request", item, _decode_request)


def _decode_request(item: Item) -> Request:
    row = _Row(item)
    state = RequestState(row.text("state"))
    outcome: Success | Failure | None = None
    if state is RequestState.SIGNED:
        outcome = Success(row.text("signature"))
    elif state is RequestState.FAILED:
        outcome = Failure(row.count("failure_status"), row.text("failure_reason"))
    delivery = Delivery(
        DeliveryState(row.text("delivery_state") or DeliveryState.NONE),
        row.count("delivery_attempts"),
        row.count("delivery_until_ms"),
        row.count("delivery_not_before_ms"),
        row.text("delivery_reason"),
        row.text("delivery_excerpt"),
        row.count("delivery_ended_ms"),
    )
    unfinished = state is RequestState.OPEN or delivery.state is DeliveryState.PENDING
    return Request(
        id=_required(row.text("id")),
        job_id=_required(row.text("job_id")),
        message=row.text("message"),
        client=row.text("client"),
        webhook_url=row.text("webhook_url"),
        created_ms=row.count("created_ms"),
        attempts_before=row.count("attempts_before"),
        key_blocked_ms=row.count("key_blocked_ms"),
        estimated_ms=row.count("estimated_ms"),
        reference=row.text("reference"),
        outcome=outcome,
        closed_ms=row.count("closed_ms"),
        calls=row.number("calls"),
        delivery=delivery,
        due_ms=row.number("due_ms") if unfinished else None,  # of an ended one it is when it ended
        revision=row.text("revision"),
        others=_others(item, _REQUEST_ATTRIBUTES),
    )


def _index_values(row: IndexRow | None, expires_ms: int | None) -> Values:
    return {
        "due_kind": row.partition if row else None,
        "due_ms": row.at_ms if row else None,
        "expires_s": None if expires_ms is None else expires_ms // 1000,
    }


def _attributes(values: Values) -> Item:
    return {name: items.attribute(value) for name, value in values.items() if value not in (None, "")}


def _others(item: Item, known: frozenset[str]) -> Item:
    return {name: value for name, value in item.items() if name not in known}


def _required(text: str) -> str:
    if not text:
        raise ValueError("it has no id")
    return text


def _readable(what: str, item: Item, decode: Callable[[Item], Record]) -> Record:
    try:
        return decode(item)
    except (KeyError, TypeError, ValueError) as error:
        raise Unreadable(f"a {what} can't be read") from error


_EVERY = frozenset({"PK", "SK", "expires_ms"})  # the last one is what the first version stored
_JOB_ATTRIBUTES = _EVERY | _job_values(Job("", "", 0)).keys()
_REQUEST_ATTRIBUTES = _EVERY | _request_values(Request("", "", "", "", "", 0)).keys()
