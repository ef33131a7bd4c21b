"""Jobs and requests as DynamoDB items: flat, so that every version reads what another one wrote.

An attribute that this version does not know is kept in `others` and written back unchanged. A record that it
can't read, because it is damaged or of a newer version, raises `Unreadable` and is not changed.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from adapters import items
from adapters.items import Item
from core.due_index import IndexRow
from core.errors import Unreadable
from core.job import Call, Job, JobState, Refusal, Signature
from core.request import Delivery, DeliveryState, Failure, Request, RequestState, Success

Values = Mapping[str, str | int | None]

Record = TypeVar("Record")


def job_key(job_id: str) -> Item:
    """Return the key of a job's item."""
    return {"PK": {"S": f"JOB#{job_id}"}, "SK": {"S": "JOB"}}


def request_key(job_id: str, request_id: str) -> Item:
    """Return the key of a request's item."""
    return {"PK": {"S": f"JOB#{job_id}"}, "SK": {"S": f"REQ#{request_id}"}}


def encode_job(job: Job) -> Item:
    """Return a job's item."""
    return {**job.others, **job_key(job.id), **items.encode(job), **items.attributes(_parts_of_job(job))}


def _parts_of_job(job: Job) -> Values:
    """Return the attributes of a job that are not its scalar fields."""
    return {
        "state": job.state,
        "call_id": job.call.id if job.call else None,
        "call_until_ms": job.call.until_ms if job.call else None,
        "signature": job.signature,
        "signed_at_ms": job.outcome.at_ms if isinstance(job.outcome, Signature) else None,
        "refusal": job.refusal,
        "refused_at_ms": job.outcome.at_ms if isinstance(job.outcome, Refusal) else None,
        **_index_values(job.index_row, job.expires_ms),
    }


def decode_job(item: Item) -> Job:
    """Return the job that an item holds; raises `Unreadable`."""
    return _readable("job", item, _decode_job)


def _decode_job(item: Item) -> Job:
    JobState(_text(item, "state"))  # raises ValueError for a newer version's state
    call_id, signature, refusal = _text(item, "call_id"), _text(item, "signature"), _number(item, "refusal")
    outcome: Signature | Refusal | None = None
    if signature:
        outcome = Signature(signature, _number(item, "signed_at_ms"))
    elif refusal:
        outcome = Refusal(refusal, _number(item, "refused_at_ms"))
    return Job(
        **_scalars(Job, item, "failing_since_ms"),
        call=Call(call_id, _number(item, "call_until_ms")) if call_id else None,
        outcome=outcome,
        others=_others(item, _JOB_ATTRIBUTES),
    )


def encode_request(request: Request) -> Item:
    """Return a request's item."""
    key = request_key(request.job_id, request.id)
    parts = items.attributes(_parts_of_request(request))
    return {**request.others, **key, **items.encode(request), **parts}


def _parts_of_request(request: Request) -> Values:
    """Return the attributes of a request that are not its scalar fields."""
    delivery, failure = request.delivery, request.failure
    return {
        "state": request.state,
        "signature": request.signature,
        "failure_status": failure.status if failure else None,
        "failure_reason": failure.reason if failure else None,
        "delivery_state": delivery.state,
        "delivery_attempts": delivery.attempts,
        "delivery_until_ms": delivery.until_ms,
        "delivery_not_before_ms": delivery.not_before_ms,
        "delivery_reason": delivery.reason,
        "delivery_excerpt": delivery.excerpt,
        "delivery_ended_ms": delivery.ended_ms,
        **_index_values(request.index_row, request.expires_ms),
    }


def decode_request(item: Item) -> Request:
    """Return the request that an item holds; raises `Unreadable`."""
    return _readable("request", item, _decode_request)


def _decode_request(item: Item) -> Request:
    state = RequestState(_text(item, "state"))
    outcome: Success | Failure | None = None
    if state is RequestState.SIGNED:
        outcome = Success(_text(item, "signature"))
    elif state is RequestState.FAILED:
        outcome = Failure(_number(item, "failure_status"), _text(item, "failure_reason"))
    delivery = Delivery(
        DeliveryState(_text(item, "delivery_state") or DeliveryState.NONE),
        _number(item, "delivery_attempts"),
        _number(item, "delivery_until_ms"),
        _number(item, "delivery_not_before_ms"),
        _text(item, "delivery_reason"),
        _text(item, "delivery_excerpt"),
        _number(item, "delivery_ended_ms"),
    )
    scalars = _scalars(Request, item, "estimated_ms")
    if outcome and delivery.state is not DeliveryState.PENDING:
        scalars["due_ms"] = None  # the item's is when the request ended
    others = _others(item, _REQUEST_ATTRIBUTES)
    return Request(**scalars, outcome=outcome, delivery=delivery, others=others)


def _scalars(cls: type[Job | Request], item: Item, zero_is_none: str) -> dict[str, Any]:
    """Return the scalar fields. `zero_is_none`: a field whose 0, of an earlier version, means not known."""
    found = items.values(cls, item)
    if not all(text for name, text in found.items() if name in {"id", "job_id"}):
        raise ValueError("it has no id")
    return {**found, zero_is_none: found.get(zero_is_none) or None}


def _text(item: Item, name: str) -> str:
    """Return a text, empty if there is none."""
    return str(item[name]["S"]) if name in item else ""


def _number(item: Item, name: str) -> int:
    """Return a number, 0 if there is none."""
    return int(item[name]["N"]) if name in item else 0


def _index_values(row: IndexRow | None, expires_ms: int | None) -> Values:
    return {
        "due_kind": row.partition if row else None,
        "due_ms": row.at_ms if row else None,
        "expires_s": None if expires_ms is None else expires_ms // 1000,
    }


def _others(item: Item, known: frozenset[str]) -> Item:
    return {name: value for name, value in item.items() if name not in known}


def _readable(what: str, item: Item, decode: Callable[[Item], Record]) -> Record:
    try:
        return decode(item)
    except (KeyError, TypeError, ValueError) as error:
        raise Unreadable(f"a {what} can't be read") from error


def _known(cls: type[Job | Request], parts: Values) -> frozenset[str]:
    # `expires_ms` is what the first version stored.
    return frozenset({"PK", "SK", "expires_ms", *parts, *(field.name for field in items.scalars(cls))})


_JOB_ATTRIBUTES = _known(Job, _parts_of_job(Job("", "", 0)))
_REQUEST_ATTRIBUTES = _known(Request, _parts_of_request(Request("", "", "", "", "", 0)))
