"""What callers send, parsed strictly: bad input gets a clear error that names the parameter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from core.egress import Policy, Verdict, classify_url
from web.bodies import once_each, parse_body
from web.problems import InvalidParameter

MESSAGE_BYTES_MAX = 2_048
PARAMETERS = frozenset({"message", "webhook_url"})
PARAMETERS_MAX = 20
REPLACEMENT = "\ufffd"


@dataclass(frozen=True, slots=True)
class SignInput:
    """A message to sign, and where its signature may be sent (an empty string: nowhere)."""

    message: str
    webhook_url: str


def parse_sign_query(query: bytes, policy: Policy) -> SignInput:
    """Parse the query, form-decoded once; raises `InvalidParameter`."""
    try:
        pairs = parse_qsl(
            query.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=PARAMETERS_MAX,
        )
    except UnicodeDecodeError:
        raise InvalidParameter("message", "must be percent-encoded UTF-8") from None
    except ValueError:
        raise InvalidParameter("query", f"must have at most {PARAMETERS_MAX} parameters") from None
    return _sign_input(once_each(pairs), policy)


def parse_sign_body(body: bytes, content_type: str, policy: Policy) -> SignInput:
    """Parse the JSON body of a POST: the same parameters and limits; null is a parameter not given.

    Raises `InvalidParameter`, `UnsupportedMediaType`, `BodyTooLarge` or `MalformedBody`.
    """
    values = {name: value for name, value in parse_body(body, content_type).items() if value is not None}
    return _sign_input(values, policy)


def _sign_input(values: Mapping[str, Any], policy: Policy) -> SignInput:
    if "message" not in values:
        raise InvalidParameter("message", "is required")
    for name in PARAMETERS & values.keys():
        if not isinstance(values[name], str):
            raise InvalidParameter(name, "must be a string")
    return SignInput(
        check_message(values["message"]), check_webhook_url(values.get("webhook_url", ""), policy)
    )


def prefers_async(preferences: Sequence[str]) -> bool:
    """Whether `Prefer` headers (RFC 7240) ask for `respond-async`."""
    tokens = [part.partition(";")[0].strip().lower() for line in preferences for part in line.split(",")]
    return "respond-async" in tokens


def wants_page(accept: str) -> bool:
    """Whether `Accept` asks for a page for people: only browsers name HTML, and never JSON beside it."""
    accept = accept.lower()
    return "text/html" in accept and "application/json" not in accept


def check_message(message: str) -> str:
    """Return the message; raises `InvalidParameter`.

    U+FFFD is what gateways make of invalid UTF-8: it can't be told from that, so it is refused, lest we sign
    what was never sent.
    """
    if not message:
        raise InvalidParameter("message", "must not be empty")
    try:
        size = len(message.encode())
    except UnicodeEncodeError:
        raise InvalidParameter("message", "must be valid Unicode") from None
    if size > MESSAGE_BYTES_MAX:
        raise InvalidParameter("message", f"must be at most {MESSAGE_BYTES_MAX} bytes of UTF-8")
    if "\0" in message:
        raise InvalidParameter("message", "must not contain NUL")
    if REPLACEMENT in message:
        raise InvalidParameter("message", "must be valid UTF-8")
    return message


def check_webhook_url(url: str, policy: Policy) -> str:
    """Return the URL if it may be called as far as one can tell without DNS; raises `InvalidParameter`."""
    if not url:
        return ""
    judged = classify_url(url, policy)
    if isinstance(judged, Verdict):
        raise InvalidParameter("webhook_url", f"can't be used ({judged})")
    return url
