"""Models of the API's own answers."""

from typing import Annotated, Literal

from pydantic import Field

from web.models import Absent, Answer, Delivery, Failure, Headline, Model, RequestId, Signature, Time, Url


class SignAnswer(Answer):
    """With status 200 the `signature`; with 202 where it will be, and when it should be there."""

    status: Literal[200, 202]
    signature: Annotated[Signature | Absent, Field(description="With 200")] = None
    message: Annotated[str | Absent, Field(description="With 202")] = None
    estimated_ready_at: Annotated[
        Time | Absent, Field(description="With 202: when its next call should have ended, if that is known")
    ] = None
    no_estimate: Annotated[
        Literal["paused", "not_known"] | Absent,
        Field(description="With 202: why there is no estimate, if there is none"),
    ] = None
    status_url: Annotated[Url | Absent, Field(description="With 202: its state, readable without a key")] = (
        None
    )


class Key(Model):
    """A public key (RFC 8037)."""

    crv: Literal["Ed25519"]
    kty: Literal["OKP"]
    x: Annotated[str, Field(examples=["11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"])]
    kid: Annotated[str, Field(examples=["kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"])]
    alg: Literal["EdDSA"]
    use: Literal["sig"]


class KeySet(Answer):
    """A JSON Web Key Set. Clients ignore the other members (RFC 7517)."""

    status: Literal[200]
    keys: list[Key]


class Health(Answer):
    """Which parts are up."""

    message: Literal["ok", "degraded"]
    parts: Annotated[dict[str, Literal["up", "down"]], Field(examples=[{"database": "up", "queue": "up"}])]
    headline: Annotated[Headline | Absent, Field(description="For operators only")] = None


class Welcome(Answer):
    """The service's name and its endpoints."""

    status: Literal[200]
    message: Annotated[str, Field(examples=["Signing Relay"])]
    endpoints: Annotated[dict[str, str], Field(examples=[{"documentation": "GET /docs"}])]


class Signed(Answer):
    """A webhook: the signature."""

    status: Literal[200]
    signature: Signature
    reference: Annotated[str | Absent, Field(description="Your own reference", examples=["order-17"])] = None


class Failed(Answer):
    """A webhook: why there will be no signature."""

    status: Annotated[int, Field(ge=400, le=599, examples=[502])]
    message: Annotated[
        str, Field(examples=["The upstream failed all calls that are allowed for this message."])
    ]
    detail: Annotated[str, Field(examples=["attempts_exhausted"])]
    reference: Annotated[str | Absent, Field(description="Your own reference", examples=["order-17"])] = None


class OwnRequest(Model):
    """A request in a list. `open`: it waits or is retried."""

    request_id: RequestId
    state: Literal["open", "signed", "failed", "cancelled"]
    reference: Annotated[str | Absent, Field(description="Your own reference", examples=["order-17"])] = None
    created_at: Time
    finished_at: Time | Absent = None
    failure: Failure | Absent = None
    delivery: Delivery


class OwnRequests(Answer):
    """Your requests, newest first. A page may be short: `next_cursor` says whether there are more."""

    status: Literal[200]
    requests: list[OwnRequest]
    next_cursor: Annotated[
        str | Absent, Field(examples=["1800000000000.01a209d9-5b1c-7c3e-9d52-0f2b8f0b6a11"])
    ] = None
