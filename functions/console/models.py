"""What the console's answers say."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from web.models import Answer, Count, Delivery, Model, RequestId, Time


class Slot(Model):
    """One of the N slots. `free_at`: null if it was never used."""

    free_at: Time | None
    kind: Literal["none", "fresh", "retry", "probe"]


class Window(Model):
    """The upstream's limit, and what of it is in use."""

    calls: Annotated[Count, Field(description="N: calls allowed in any window")]
    seconds: Annotated[float, Field(description="W: its length")]
    used: Annotated[Count, Field(description="Slots in use: never fewer than the calls of the last W")]
    slots: list[Slot]
    blocked_until: Time | None
    paused: bool
    key_refused: bool
    latency_ms: Count


class Waiting(Model):
    """Jobs that wait for a call."""

    count: Count
    oldest_at: Time | None
    next_at: Time | None


class Figures(Model):
    """Of the requests that are listed."""

    signed: Annotated[Count, Field(description="In the last `seconds`")]
    seconds: Annotated[
        Count,
        Field(description="300; less where so many end that the list does not go back so far"),
    ]
    signed_per_minute: Annotated[float, Field(ge=0)]
    time_to_signature_ms: Annotated[Count | None, Field(description="Median, from acceptance")]
    estimate_error_ms: Annotated[
        Count | None,
        Field(description="Median distance of the first call's end from what its caller was told"),
    ]
    delivered: Count
    failing: Annotated[Count, Field(description="At least one attempt failed, and there will be another")]
    undeliverable: Annotated[Count, Field(description="After all attempts, or at the receiver's word")]


class ConsoleRequest(Model):
    """A request in the console's list."""

    request_id: RequestId
    client: str
    state: Literal["waiting", "retrying", "signed", "failed"]
    attempts: Annotated[Count | None, Field(description="Calls since it was accepted, once it has finished")]
    created_at: Time
    estimated_ready_at: Time | None
    finished_at: Annotated[Time | None, Field(description="Its webhook may still be to come")]
    delivery: Delivery


class DeadLetterCounts(Model):
    """How many dead letters each queue has; null where that is not known now."""

    fresh: Count | None
    notification: Count | None


class ConsoleState(Answer):
    """Where the service stands, as far as the key may see."""

    status: Literal[200]
    window: Window
    waiting: Waiting
    retrying: Waiting
    requests: list[ConsoleRequest]
    more: Annotated[bool, Field(description="More is unfinished or undeliverable than is listed")]
    figures: Figures
    dead_letters: Annotated[DeadLetterCounts | None, Field(description="For operators only")] = None


class ReplayBody(BaseModel):
    """Which request's webhook is to be sent again."""

    model_config = ConfigDict(extra="forbid")

    request_id: RequestId
