"""The parameters of a request to sign: types that refuse invalid values and say what is expected."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from core.egress import Policy, Verdict, classify_url
from web.models import Absent
from web.problems import InvalidParameter

MESSAGE_BYTES_MAX = 2_048
URL_LENGTH_MAX = 1_024
REFERENCE_LENGTH_MAX = 200
REPLACEMENT = "\ufffd"


def check_message(message: str) -> str:
    """Return the message; raises ValueError.

    U+FFFD is refused: gateways put it in the place of invalid UTF-8, and the service would sign a message
    that the caller never sent.
    """
    if not message:
        raise ValueError("must not be empty")
    try:
        size = len(message.encode())
    except UnicodeEncodeError:
        raise ValueError("must be valid Unicode") from None
    if size > MESSAGE_BYTES_MAX:
        raise ValueError(f"must be at most {MESSAGE_BYTES_MAX} bytes of UTF-8")
    if "\0" in message:
        raise ValueError("must not contain NUL")
    if REPLACEMENT in message:
        raise ValueError("must be valid UTF-8")
    return message


def check_reference(reference: str) -> str:
    """Return the reference; raises ValueError."""
    if len(reference) > REFERENCE_LENGTH_MAX:
        raise ValueError(f"must be at most {REFERENCE_LENGTH_MAX} characters")
    if not reference.isprintable() or REPLACEMENT in reference:
        raise ValueError("must be printable text")
    return reference


Message = Annotated[
    str,
    AfterValidator(check_message),
    Field(
        description=f"The message to sign: 1 to {MESSAGE_BYTES_MAX} bytes of UTF-8, without NUL",
        json_schema_extra={"minLength": 1, "maxLength": MESSAGE_BYTES_MAX},
        examples=["hello"],
    ),
]
WebhookUrl = Annotated[
    str,
    Field(
        description="The URL that gets the outcome if the signature does not come in time",
        json_schema_extra={"format": "uri", "maxLength": URL_LENGTH_MAX},
        examples=["https://example.com/hook"],
    ),
]


Reference = Annotated[
    str,
    AfterValidator(check_reference),
    Field(
        description=f"Your own reference, up to {REFERENCE_LENGTH_MAX} characters: in status and webhook",
        json_schema_extra={"maxLength": REFERENCE_LENGTH_MAX},
        examples=["order-17"],
    ),
]


class SignBody(BaseModel):
    """The body of a POST: the same parameters and limits as those of the query."""

    model_config = ConfigDict(extra="forbid")

    message: Message
    webhook_url: WebhookUrl | Absent = None
    reference: Reference | Absent = None


def check_webhook_url(url: str, policy: Policy) -> str:
    """Return the URL if the egress policy allows it, without a DNS lookup; raises `InvalidParameter`."""
    if not url:
        return ""
    judged = classify_url(url, policy)
    if isinstance(judged, Verdict):
        raise InvalidParameter("webhook_url", judged.expected)
    return url
