"""Models of the answers. The OpenAPI document is generated from them."""

from collections.abc import Mapping
from typing import Annotated, Literal

from fastapi import Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

TIME_EXAMPLE = "2027-01-15T08:00:31.963Z"
SIGNATURE_EXAMPLE = "bZ5S0Z0c2lnbmF0dXJlIG9mIGhlbGxvLCAxMjggYnl0ZXMgaW4gYmFzZTY0Li4u"

Progress = Literal["waiting", "retrying", "signed", "failed", "cancelled"]
Absent = SkipJsonSchema[None]
"""A member that is left out, and never null."""

RequestId = Annotated[str, Field(examples=["01a209d9-5b1c-7c3e-9d52-0f2b8f0b6a11"])]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=[TIME_EXAMPLE])]
Signature = Annotated[
    str,
    Field(
        json_schema_extra={"contentEncoding": "base64"},
        examples=[SIGNATURE_EXAMPLE],
    ),
]
Url = Annotated[
    str, Field(json_schema_extra={"format": "uri"}, examples=["https://relay.example/crypto/requests/1"])
]
Count = Annotated[int, Field(ge=0)]
Position = Annotated[int, Field(ge=1)]


class Model(BaseModel):
    """A body, or a part of one. Its validator is built at the first use: a cold start pays for few."""

    model_config = ConfigDict(frozen=True, defer_build=True)


class Answer(Model):
    """The members of every answer's body. `status`: the HTTP status again."""

    request_id: RequestId
    status: int


class Problem(Answer):
    """An error (RFC 9457). `type` names its kind, for programs; `message` is `detail` again."""

    message: str
    type: Url
    title: str
    detail: str


class InvalidParameterProblem(Problem):
    """A parameter, or a member of the body, is not usable."""

    parameter: Annotated[str, Field(examples=["message"])]


class Headline(Model):
    """The state of the service. `todo`: what an operator should do; empty for callers."""

    state: Literal[
        "no_run",
        "paused",
        "key_refused",
        "upstream_limits",
        "upstream_failing",
        "webhooks_failing",
        "dead_letters",
        "at_limit",
        "healthy",
    ]
    severity: Annotated[
        Literal["stopped", "failing", "busy", "good"], Field(description="`stopped`: no calls are made")
    ]
    title: str
    why: str
    todo: str
    since: Time | Absent = None


class Delivery(Model):
    """The state of a request's webhook."""

    state: Literal["none", "pending", "delivered", "gone", "undeliverable"]
    attempts: Count
    next_attempt_at: Time | Absent = None
    reason: str | Absent = None
    excerpt: Annotated[str | Absent, Field(description="The beginning of the receiver's last refusal")] = None
    ended_at: Time | Absent = None


class Failure(Model):
    """Why a request has no signature."""

    status: Annotated[int, Field(ge=400, le=599, examples=[502])]
    reason: Annotated[str, Field(examples=["attempts_exhausted"])]
    message: Annotated[str, Field(examples=["The upstream refuses to sign the message."])]


class RequestStatus(Answer):
    """The state of an accepted request."""

    status: Literal[200]
    state: Progress
    reference: Annotated[str | Absent, Field(description="Your own reference", examples=["order-17"])] = None
    attempts: Annotated[
        Count | Absent,
        Field(description="Calls since it was accepted, including one that is under way"),
    ] = None
    position: Annotated[Position | Absent, Field(description="Its place in your queue, from 1")] = None
    created_at: Time
    estimated_ready_at: Annotated[
        Time | Absent, Field(description="When its next call should have ended")
    ] = None
    last_error: Annotated[
        str | Absent, Field(description="Why its message's last call failed, in words", examples=["HTTP 502"])
    ] = None
    finished_at: Time | Absent = None
    signature: Signature | Absent = None
    failure: Failure | Absent = None
    has_webhook: Annotated[bool, Field(description="Whether the request has a webhook_url")]
    delivery: Delivery


def reply(
    model: BaseModel,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    media_type: str = "application/json",
) -> Response:
    """Return a model as an answer, without the members that are None."""
    return Response(model.model_dump_json(exclude_none=True), status, headers, media_type)
