"""The interface, as OpenAPI 3.1. Imported only when somebody asks: no cold start pays for it.

`docs/openapi.json` is this document, kept true by `tests/component/test_openapi.py`, which also holds every
answer of the other tests against it.
"""

from typing import Any

from api.inputs import MESSAGE_BYTES_MAX
from core.config import VERSION
from web import problems
from web.problems import PROBLEM_TYPE, TYPES, Kind

Json = dict[str, Any]

QUEUES = ("fresh", "notification")
LOCAL_URL = "http://127.0.0.1:8000"
ID = "01a209d9-5b1c-7c3e-9d52-0f2b8f0b6a11"
OTHER_ID = "01a209dd-7a40-7b1f-8e07-5d1c3c1f9a22"
SIGNATURE = "bZ5S0Z0c2lnbmF0dXJlIG9mIGhlbGxvLCAxMjggYnl0ZXMgaW4gYmFzZTY0Li4u"
CREATED, READY, FINISHED = (
    "2027-01-15T08:00:00.000Z",
    "2027-01-15T08:00:31.963Z",
    "2027-01-15T08:00:32.120Z",
)
STATUS_URL = f"{LOCAL_URL}/crypto/requests/{ID}?token=1801209631.q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA"
KEY_EXAMPLE = {
    "crv": "Ed25519",
    "kty": "OKP",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
    "alg": "EdDSA",
    "use": "sig",
}
DESCRIPTION = """\
A dependable front for a signing API that allows few calls: every call is answered within two seconds, and
every signature that was promised arrives.

The body of every answer has `request_id` and `status`, the HTTP status again. Errors are problems (RFC 9457);
their `type` names the error, for programs."""


def document(server_url: str = LOCAL_URL) -> Json:
    """Return the whole document for a service at this URL."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Signing Relay",
            "version": VERSION,
            "description": DESCRIPTION,
        },
        "servers": [{"url": server_url}],
        "security": [{"key": []}],
        "tags": [
            {"name": "signing", "description": "Have messages signed, and see where they stand"},
            {"name": "console", "description": "Watch the service, and send webhooks again"},
            {"name": "service", "description": "What this is, and whether it is up"},
        ],
        "paths": {
            "/crypto/sign": {"get": _sign(), "post": _sign_posted()},
            "/crypto/requests/{request_id}": {"get": _status()},
            "/console": {"get": _page("showConsole", "console", "The console, for people")},
            "/console/state": {"get": _console_state()},
            "/console/replay": {"post": _replay()},
            "/.well-known/jwks.json": {"get": _key_set()},
            "/health": {"get": _health()},
            "/": {"get": _welcome()},
            "/openapi.json": {"get": _openapi()},
            "/docs": {"get": _page("showDocumentation", "service", "This document, for people")},
        },
        "components": {
            "schemas": _schemas(),
            "headers": _headers(),
            "securitySchemes": {
                "key": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "The API key as it is; `Bearer` before it is tolerated",
                },
                "token": {
                    "type": "apiKey",
                    "in": "query",
                    "name": "token",
                    "description": "From a `status_url`: opens that one request until it expires",
                },
            },
        },
    }


def _ref(kind: str, name: str) -> Json:
    return {"$ref": f"#/components/{kind}/{name}"}


def _answer(description: str, schema: str, examples: dict[str, Json], headers: tuple[str, ...] = ()) -> Json:
    media_type = PROBLEM_TYPE if schema.endswith("Problem") else "application/json"
    answer: Json = {
        "description": description,
        "content": {
            media_type: {
                "schema": _ref("schemas", schema),
                "examples": {name: {"value": value} for name, value in examples.items()},
            }
        },
    }
    if headers:
        answer["headers"] = {name: _ref("headers", name) for name in headers}
    return answer


def _problems(
    status: int, description: str, *kinds: Kind, headers: tuple[str, ...] = (), schema: str = "Problem"
) -> dict[str, Json]:
    """Describe the problems of a status, each with an example."""
    examples = {
        kind.name: {
            "request_id": ID,
            "status": status,
            "message": kind.detail,
            "type": TYPES + kind.name,
            "title": kind.title,
            "detail": kind.detail,
        }
        for kind in kinds
    }
    if schema == "InvalidParameterProblem":
        examples[kinds[0].name]["parameter"] = "message"
    return {str(status): _answer(description, schema, examples, headers)}


def _unauthorized() -> dict[str, Json]:
    return _problems(401, "No key, or a wrong one", problems.UNAUTHORIZED, headers=("WWW-Authenticate",))


def _not_found() -> dict[str, Json]:
    return _problems(404, "There is no such request, or it is not yours", problems.NOT_FOUND)


def _invalid() -> dict[str, Json]:
    return _problems(
        422,
        "A parameter can't be used; `parameter` names it",
        problems.INVALID_PARAMETER,
        schema="InvalidParameterProblem",
    )


def _failures(*more: Kind) -> dict[str, Json]:
    """Describe what any operation may answer that reads or writes; `more`: other reasons for a 503."""
    unavailable = (problems.UNAVAILABLE, problems.SERVICE_UNAVAILABLE, *more)
    return {
        **_problems(500, "Nobody foresaw this; the id finds it in our logs", problems.INTERNAL),
        **_problems(503, "Nothing could be read or written in time", *unavailable, headers=("Retry-After",)),
    }


def _body_problems() -> dict[str, Json]:
    return {
        **_problems(400, "The body is not a JSON object", problems.MALFORMED_BODY),
        **_problems(413, "The body is too large", problems.BODY_TOO_LARGE),
        **_problems(415, "The body is not announced as JSON", problems.UNSUPPORTED_MEDIA_TYPE),
    }


def _sign_answers() -> dict[str, Json]:
    accepted = {
        "request_id": ID,
        "status": 202,
        "message": "Accepted: the signature will be sent to the webhook_url.",
        "estimated_ready_at": READY,
        "status_url": STATUS_URL,
    }
    signed = {"request_id": ID, "status": 200, "signature": SIGNATURE}
    retry = ("Retry-After",)
    return {
        "200": _answer("Signed in time, or known already", "Signed", {"signed": signed}),
        "202": _answer(
            "Not signed in time, and accepted: the outcome is sent to the `webhook_url`, and is found at the "
            "`status_url`. Only after this answer is anything queued",
            "Accepted",
            {"accepted": accepted},
            ("Location", "Retry-After", "Preference-Applied"),
        ),
        **_unauthorized(),
        **_invalid(),
        **_problems(
            429,
            "No call is possible now, and nothing is queued",
            problems.LIMIT_REACHED,
            problems.CALL_IN_PROGRESS,
            problems.BACKLOG_TOO_LONG,
            headers=retry,
        ),
        **_failures(problems.PAUSED),
        **_problems(
            502,
            "The upstream failed, or refuses this message; nothing is queued",
            problems.UPSTREAM_FAILED,
            problems.UPSTREAM_REFUSED,
            headers=retry,
        ),
        **_problems(
            504, "The upstream is too slow; nothing is queued", problems.UPSTREAM_TOO_SLOW, headers=retry
        ),
    }


def _signing(operation_id: str, summary: str, description: str) -> Json:
    return {
        "operationId": operation_id,
        "tags": ["signing"],
        "summary": summary,
        "description": description,
        "callbacks": {"outcome": _callback()},
    }


PREFER: Json = {
    "name": "Prefer",
    "in": "header",
    "description": "`respond-async`: accept the request without a webhook too; its result is polled for",
    "schema": {"type": "string"},
    "example": "respond-async",
}


def _sign() -> Json:
    return {
        **_signing(
            "sign",
            "Sign a message, now or later",
            "The upstream's own call with one parameter more. Answers within two seconds.",
        ),
        "parameters": [
            {
                "name": "message",
                "in": "query",
                "required": True,
                "description": f"What to sign: 1 to {MESSAGE_BYTES_MAX} bytes of UTF-8, without NUL",
                "schema": _ref("schemas", "Message"),
                "example": "hello",
            },
            {
                "name": "webhook_url",
                "in": "query",
                "description": "Where the signature is sent if it can't be had in time",
                "schema": _ref("schemas", "WebhookUrl"),
                "example": "https://example.com/hook",
            },
            PREFER,
        ],
        "responses": _sign_answers(),
    }


def _sign_posted() -> Json:
    example = {"message": "hello", "webhook_url": "https://example.com/hook"}
    return {
        **_signing(
            "signPosted",
            "Sign a message from a JSON body",
            "The same as the GET, with the message out of the URL.",
        ),
        "parameters": [PREFER],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": _ref("schemas", "SignBody"),
                    "examples": {"webhook": {"value": example}},
                }
            },
        },
        "responses": {**_sign_answers(), **_body_problems()},
    }


def _callback() -> Json:
    signed = {"request_id": ID, "status": 200, "signature": SIGNATURE}
    failed = {
        "request_id": ID,
        "status": 502,
        "message": "The upstream failed to sign the message as often as we may try.",
        "detail": "attempts_exhausted",
    }
    names = {
        "webhook-id": "The request's id, the same at every attempt: drop what you have seen",
        "webhook-timestamp": "When this attempt was signed, in seconds since the epoch",
        "webhook-signature": "`v1,<base64>`, and `v1a,<base64>` where configured, separated by spaces",
    }
    return {
        "{$request.query.webhook_url}": {
            "post": {
                "operationId": "receiveOutcome",
                "tags": ["signing"],
                "summary": "The one outcome of an accepted request, sent at least once",
                "description": "Signed by Standard Webhooks. Anything but 2xx is tried again; 410 ends it.",
                "security": [],
                "parameters": [
                    {
                        "name": name,
                        "in": "header",
                        "required": True,
                        "description": text,
                        "schema": {"type": "string"},
                    }
                    for name, text in names.items()
                ],
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {
                            "schema": {
                                "oneOf": [_ref("schemas", "WebhookSigned"), _ref("schemas", "WebhookFailed")]
                            },
                            "examples": {"signed": {"value": signed}, "failed": {"value": failed}},
                        }
                    },
                },
                "responses": {
                    "2XX": {"description": "Received"},
                    "410": {"description": "Never send this again"},
                },
            }
        }
    }


def _status() -> Json:
    none = {
        "state": "none",
        "attempts": 0,
        "next_attempt_at": None,
        "reason": None,
        "excerpt": None,
        "ended_at": None,
    }
    waiting = {
        "request_id": ID,
        "status": 200,
        "state": "waiting",
        "attempts": 0,
        "position": 3,
        "created_at": CREATED,
        "estimated_ready_at": READY,
        "delivery": none,
    }
    page = {"text/html": {"schema": {"type": "string"}}}
    answer = _answer(
        "Where it stands. To browsers: a page that waits for the signature",
        "RequestStatus",
        {"waiting": waiting, "signed": _signed_status(), "failed": _failed_status(none)},
    )
    answer["content"] |= page
    return {
        "operationId": "getRequest",
        "tags": ["signing"],
        "summary": "Where an accepted request stands",
        "security": [{"key": []}, {"token": []}],
        "parameters": [
            {
                "name": "request_id",
                "in": "path",
                "required": True,
                "schema": {"type": "string"},
                "example": ID,
            }
        ],
        "responses": {"200": answer, **_unauthorized(), **_not_found(), **_failures()},
    }


def _signed_status() -> Json:
    return {
        "request_id": ID,
        "status": 200,
        "state": "signed",
        "attempts": 1,
        "created_at": CREATED,
        "finished_at": FINISHED,
        "signature": SIGNATURE,
        "delivery": {
            "state": "delivered",
            "attempts": 1,
            "next_attempt_at": None,
            "reason": "http_204",
            "excerpt": None,
            "ended_at": FINISHED,
        },
    }


def _failed_status(delivery: Json) -> Json:
    return {
        "request_id": ID,
        "status": 200,
        "state": "failed",
        "attempts": 60,
        "created_at": CREATED,
        "finished_at": FINISHED,
        "failure": {"status": 502, "reason": "attempts_exhausted"},
        "delivery": delivery,
    }


def _console_state() -> Json:
    example = {
        "request_id": OTHER_ID,
        "status": 200,
        "window": {
            "calls": 10,
            "seconds": 60.0,
            "used": 1,
            "slots": [{"free_at": READY, "kind": "fresh"}, {"free_at": None, "kind": "none"}],
            "blocked_until": None,
            "paused": False,
            "key_refused": False,
            "latency_ms": 310,
        },
        "waiting": {"count": 1, "oldest_at": CREATED, "next_at": CREATED},
        "retrying": {"count": 0, "oldest_at": None, "next_at": None},
        "requests": [
            {
                "request_id": ID,
                "client": "default",
                "state": "waiting",
                "attempts": None,
                "created_at": CREATED,
                "estimated_ready_at": READY,
                "finished_at": None,
                "delivery": {
                    "state": "none",
                    "attempts": 0,
                    "next_attempt_at": None,
                    "reason": None,
                    "excerpt": None,
                    "ended_at": None,
                },
            }
        ],
        "more": False,
        "figures": {
            "signed": 7,
            "seconds": 300,
            "signed_per_minute": 1.4,
            "time_to_signature_ms": 4120,
            "estimate_error_ms": 230,
            "delivered": 6,
            "failing": 0,
            "undeliverable": 1,
        },
    }
    return {
        "operationId": "getConsoleState",
        "tags": ["console"],
        "summary": "The window, the queue, what is unfinished, and what ended last",
        "description": "The requests that are due first (open, or with a webhook to come), the last "
        "whose webhook was given up and the last others that ended, of all callers: a caller sees its own of "
        "them, an operator all. `figures` are of what is shown. `more`: more is unfinished or undeliverable "
        "than is listed. `dead_letters`: by queue, for operators only; null where that is not known now.",
        "parameters": [
            {
                "name": "If-None-Match",
                "in": "header",
                "description": "The `ETag` of the answer that you have",
                "schema": {"type": "string"},
            }
        ],
        "responses": {
            "200": _answer("Where the service stands", "ConsoleState", {"state": example}, ("ETag",)),
            "304": {"description": "As you have it"},
            **_unauthorized(),
            **_failures(),
        },
    }


def _replay() -> Json:
    return {
        "operationId": "replayDelivery",
        "tags": ["console"],
        "summary": "Start the delivery of a request's webhook again",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": _object({"request_id": {"type": "string"}}),
                    "examples": {"replay": {"value": {"request_id": ID}}},
                }
            },
        },
        "responses": {
            "200": _answer("It is due now", "RequestStatus", {"signed": _signed_status()}),
            **_body_problems(),
            **_unauthorized(),
            **_not_found(),
            **_problems(409, "There is no webhook to send again now", problems.NOT_REPLAYABLE),
            **_invalid(),
            **_failures(),
        },
    }


def _health() -> Json:
    up = {"request_id": ID, "status": 200, "message": "ok", "parts": {"database": "up", "queue": "up"}}
    down = up | {"status": 503, "message": "degraded", "parts": {"database": "down", "queue": "up"}}
    return {
        "operationId": "getHealth",
        "tags": ["service"],
        "summary": "Which part is up",
        "security": [],
        "responses": {
            "200": _answer("All parts are up", "Health", {"up": up}),
            "503": _answer("Some part is down", "Health", {"down": down}),
        },
    }


def _key_set() -> Json:
    example = {"request_id": ID, "status": 200, "keys": [KEY_EXAMPLE]}
    return {
        "operationId": "getKeySet",
        "tags": ["service"],
        "summary": "The public keys of the webhooks' `v1a` signatures",
        "security": [],
        "responses": {
            "200": _answer("A JSON Web Key Set (RFC 7517)", "KeySet", {"one": example}),
            **_failures(),
        },
    }


def _welcome() -> Json:
    example = {
        "request_id": ID,
        "status": 200,
        "message": "Signing Relay",
        "endpoints": {"documentation": "GET /docs"},
    }
    return {
        "operationId": "getWelcome",
        "tags": ["service"],
        "summary": "What this is",
        "security": [],
        "responses": {"200": _answer("A name, and where to go", "Welcome", {"welcome": example})},
    }


def _openapi() -> Json:
    content = {"application/json": {"schema": {"type": "object"}}}
    return {
        "operationId": "getOpenapi",
        "tags": ["service"],
        "summary": "This document",
        "security": [],
        "responses": {"200": {"description": "OpenAPI 3.1", "content": content}},
    }


def _page(operation_id: str, tag: str, summary: str) -> Json:
    content = {"text/html": {"schema": {"type": "string"}}}
    return {
        "operationId": operation_id,
        "tags": [tag],
        "summary": summary,
        "security": [],
        "responses": {"200": {"description": "A page", "content": content}},
    }


def _headers() -> Json:
    return {
        "Location": {
            "description": "The `status_url`",
            "schema": {"type": "string", "format": "uri"},
            "example": STATUS_URL,
        },
        "Retry-After": {
            "description": "Whole seconds after which it is worth asking again",
            "schema": {"type": "integer", "minimum": 0},
            "example": 32,
        },
        "Preference-Applied": {
            "description": "`respond-async`, where it was preferred",
            "schema": {"type": "string"},
            "example": "respond-async",
        },
        "WWW-Authenticate": {
            "description": "How to authenticate",
            "schema": {"type": "string"},
            "example": "ApiKey",
        },
        "ETag": {
            "description": "Names this state",
            "schema": {"type": "string"},
            "example": '"0f2b8f0b6a115d1c3c1f9a22e5b1c7c3"',
        },
    }


TEXT: Json = {"type": "string"}
TIME: Json = {"type": "string", "format": "date-time"}
TIME_OR_NULL: Json = {"type": ["string", "null"], "format": "date-time"}
TEXT_OR_NULL: Json = {"type": ["string", "null"]}
COUNT: Json = {"type": "integer", "minimum": 0}
COUNT_OR_NULL: Json = {"type": ["integer", "null"], "minimum": 0}


def _object(properties: Json, optional: Json | None = None) -> Json:
    return {
        "type": "object",
        "properties": {**properties, **(optional or {})},
        "required": list(properties),
    }


def _body(properties: Json, optional: Json | None = None, status: Json | None = None) -> Json:
    """Describe an answer's body, which always has these two."""
    return _object({"request_id": TEXT, "status": status or {"type": "integer"}} | properties, optional)


def _schemas() -> Json:
    ok: Json = {"type": "integer", "const": 200}
    failure_status: Json = {"type": "integer", "minimum": 500, "maximum": 599}
    problem_fields = {
        "message": TEXT,
        "type": {"type": "string", "format": "uri"},
        "title": TEXT,
        "detail": TEXT,
    }
    queue = _object({"count": COUNT, "oldest_at": TIME_OR_NULL, "next_at": TIME_OR_NULL})
    return {
        "Message": {"type": "string", "minLength": 1, "maxLength": MESSAGE_BYTES_MAX},
        "WebhookUrl": {"type": "string", "format": "uri", "maxLength": 1024},
        "SignBody": _object(
            {"message": _ref("schemas", "Message")}, {"webhook_url": _ref("schemas", "WebhookUrl")}
        ),
        "Signed": _body({"signature": {"type": "string", "contentEncoding": "base64"}}, status=ok),
        "Accepted": _body(
            {
                "message": TEXT,
                "estimated_ready_at": TIME_OR_NULL,
                "status_url": {"type": "string", "format": "uri"},
            },
            status={"type": "integer", "const": 202},
        ),
        "Problem": _body(problem_fields),
        "InvalidParameterProblem": _body(problem_fields | {"parameter": TEXT}),
        "Delivery": _object(
            {
                "state": {"enum": ["none", "pending", "delivered", "gone", "undeliverable"]},
                "attempts": COUNT,
                "next_attempt_at": TIME_OR_NULL,
                "reason": TEXT_OR_NULL,
                "excerpt": {**TEXT_OR_NULL, "description": "How the receiver's last refusal began"},
                "ended_at": TIME_OR_NULL,
            }
        ),
        "RequestStatus": _body(
            {
                "state": {"enum": ["waiting", "retrying", "signed", "failed"]},
                "created_at": TIME,
                "delivery": _ref("schemas", "Delivery"),
            },
            {
                "attempts": {
                    **COUNT,
                    "description": "Calls since it was accepted, one under way included; of a finished one "
                    "those that had ended",
                },
                "position": {"type": "integer", "minimum": 1, "description": "Its place among those waiting"},
                "estimated_ready_at": {**TIME, "description": "When its next call should have ended"},
                "finished_at": TIME,
                "signature": {"type": "string", "contentEncoding": "base64"},
                "failure": _object({"status": failure_status, "reason": TEXT}),
            },
            status=ok,
        ),
        "ConsoleState": _body(
            {
                "window": _window(),
                "waiting": queue,
                "retrying": queue,
                "requests": {"type": "array", "items": _ref("schemas", "ConsoleRequest")},
                "more": {"type": "boolean"},
                "figures": _figures(),
            },
            {"dead_letters": _by_queue(COUNT_OR_NULL)},
            status=ok,
        ),
        "ConsoleRequest": _object(
            {
                "request_id": TEXT,
                "client": TEXT,
                "state": {"enum": ["waiting", "retrying", "signed", "failed"]},
                "attempts": {
                    **COUNT_OR_NULL,
                    "description": "Calls since it was accepted, once it has finished",
                },
                "created_at": TIME,
                "estimated_ready_at": TIME_OR_NULL,
                "finished_at": {**TIME_OR_NULL, "description": "Its webhook may still be to come"},
                "delivery": _ref("schemas", "Delivery"),
            }
        ),
        "KeySet": _body(
            {"keys": {"type": "array", "items": _object(dict.fromkeys(KEY_EXAMPLE, TEXT))}}, status=ok
        ),
        "Health": _body(
            {"message": TEXT, "parts": {"type": "object", "additionalProperties": {"enum": ["up", "down"]}}}
        ),
        "Welcome": _body(
            {"message": TEXT, "endpoints": {"type": "object", "additionalProperties": TEXT}}, status=ok
        ),
        "WebhookSigned": _body({"signature": {"type": "string", "contentEncoding": "base64"}}, status=ok),
        "WebhookFailed": _body({"message": TEXT, "detail": TEXT}, status=failure_status),
    }


def _by_queue(value: Json) -> Json:
    return _object(dict.fromkeys(QUEUES, value))


def _figures() -> Json:
    error = "Median distance of the first call's end from what its caller was told, where that call ended it"
    return _object(
        {
            "signed": {**COUNT, "description": "In the last `seconds`"},
            "seconds": {
                **COUNT,
                "description": "300; less where so many end that the list does not go back so far",
            },
            "signed_per_minute": {"type": "number", "minimum": 0},
            "time_to_signature_ms": {**COUNT_OR_NULL, "description": "Median, from acceptance"},
            "estimate_error_ms": {**COUNT_OR_NULL, "description": error},
            "delivered": COUNT,
            "failing": {**COUNT, "description": "At least one attempt failed, and there will be another"},
            "undeliverable": {
                **COUNT,
                "description": "Given up, after all attempts or at the receiver's word",
            },
        }
    )


def _window() -> Json:
    slot = _object(
        {"free_at": TIME_OR_NULL, "kind": {"enum": ["none", "fresh", "retry", "probe"]}},
    )
    return _object(
        {
            "calls": {**COUNT, "description": "N: calls allowed in any window"},
            "seconds": {"type": "number", "description": "W: its length"},
            "used": {**COUNT, "description": "Slots in use: never fewer than the calls of the last W"},
            "slots": {"type": "array", "items": slot},
            "blocked_until": TIME_OR_NULL,
            "paused": {"type": "boolean"},
            "key_refused": {"type": "boolean"},
            "latency_ms": COUNT,
        }
    )
