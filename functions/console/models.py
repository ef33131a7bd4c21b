"""Models of the console's answers."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from web.models import Answer, Count, Delivery, Headline, Model, RequestId, Time


class Slot(Model):
    """One of the N slots. `free_at`: null if it was never used."""

    free_at: Time | None
    kind: Literal["none", "fresh", "retry", "probe"]


class Window(Model):
    """The upstream's limit, and how much of it is in use."""

    calls: Annotated[Count, Field(description="N: calls allowed in any window")]
    seconds: Annotated[float, Field(description="W: its length")]
    used: Annotated[Count, Field(description="Slots in use: never fewer than the calls of the last W")]
    most_used: Annotated[Count, Field(description="The most slots in use at any minute of the last hour")]
    slots: list[Slot]
    blocked_until: Time | None
    paused: bool
    paused_by: str | None
    paused_at: Time | None
    key_refused: bool
    latency_ms: Count


class Waiting(Model):
    """Jobs that wait for a call."""

    count: Count
    more: Annotated[bool, Field(description="There are more than were counted")]
    oldest_at: Time | None
    next_at: Time | None


class Figures(Model):
    """Figures of the listed requests."""

    signed: Annotated[Count, Field(description="In the last `seconds`")]
    seconds: Annotated[
        Count,
        Field(description="300, or less if the list does not go back so far"),
    ]
    signed_per_minute: Annotated[float, Field(ge=0)]
    time_to_signature_ms: Annotated[Count | None, Field(description="Median, from acceptance")]
    estimate_error_ms: Annotated[
        Count | None,
        Field(description="Median difference between the first call's end and its estimate"),
    ]
    delivered: Count
    failing: Annotated[Count, Field(description="At least one attempt failed, and there will be another")]
    undeliverable: Annotated[Count, Field(description="After the last attempt, or after a 410")]


class ConsoleRequest(Model):
    """A request in the console's list."""

    request_id: RequestId
    client: str
    state: Literal["waiting", "retrying", "signed", "failed", "cancelled"]
    attempts: Annotated[Count | None, Field(description="Calls since it was accepted, once it has finished")]
    created_at: Time
    estimated_ready_at: Time | None
    finished_at: Annotated[Time | None, Field(description="Its webhook may still be pending")]
    error: Annotated[str | None, Field(description="Why the last call of an open request failed, in words")]
    failure: Annotated[str | None, Field(description="Why there is no signature, in words")]
    receiver: Annotated[str | None, Field(description="Host and port of the webhook_url")]
    delivery: Delivery


class Calls(Model):
    """Results of the calls of about the last five minutes. `at_once`: signed while a caller waited."""

    seconds: Count
    signed: Count
    at_once: Count
    failed: Count


class DeadLetterCounts(Model):
    """The number of dead letters in each queue; null if not known now."""

    work: Count | None
    notification: Count | None


class ConsoleState(Answer):
    """The part of the service's state that the key's owner may see."""

    status: Literal[200]
    headline: Headline
    window: Window
    waiting: Waiting
    retrying: Waiting
    requests: list[ConsoleRequest]
    more: Annotated[bool, Field(description="More requests are unfinished or undeliverable than listed")]
    figures: Figures
    calls: Annotated[Calls | None, Field(description="For operators only; null if not known yet")] = None
    dead_letters: Annotated[DeadLetterCounts | None, Field(description="For operators only")] = None


class ConsolePoint(Model):
    """A span of time. Calls: the average per window in it. Backlog, age and times: the highest in it."""

    at: Time
    limit: Annotated[Count, Field(description="N: calls allowed in any window")]
    signed: float
    failed: Annotated[float, Field(description="Calls that failed, or had no answer in time")]
    other: Annotated[float, Field(description="Calls with the message, the key or the rate refused")]
    accepted: Annotated[Count, Field(description="Requests answered with 202 in it")]
    at_once: Annotated[Count, Field(description="Requests signed while their caller waited")]
    ended: Annotated[Count, Field(description="Accepted requests that ended in it")]
    given_up: Annotated[Count, Field(description="Webhooks that were given up in it")]
    backlog: Count
    oldest_age_ms: Count
    p50_ms: Annotated[Count, Field(description="Time to signature, of the requests that ended signed")]
    p95_ms: Count


class ConsoleHistory(Answer):
    """The history, oldest first."""

    status: Literal[200]
    points: list[ConsolePoint]


class Resumed(Answer):
    """`resumed`: whether calls were paused before."""

    status: Literal[200]
    resumed: bool


class ReplayBody(BaseModel):
    """The request whose webhook is sent again."""

    model_config = ConfigDict(extra="forbid")

    request_id: RequestId
