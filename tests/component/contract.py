"""Holds answers against the OpenAPI document."""

from functools import cache
from typing import Any

import httpx
import jsonschema_rs

from infra.openapi import document as describe
from web.described import HEADERS

document = cache(describe)
UNKNOWN = "Problem"
PREFIX = "#/components/"


async def conforms(response: httpx.Response) -> None:
    """Assert that an answer is one that the document describes: status, media type, headers and body."""
    await response.aread()
    if response.request.method in {"HEAD", "OPTIONS"}:  # a GET without its body; a browser's own question
        return
    described = _described(response.request.method.lower(), response.request.url.path)
    if described is None:  # a path or method that is not ours is told so by a problem, like every error
        assert response.status_code in {404, 405}
        assert list(_validator(UNKNOWN).iter_errors(response.json())) == []
        return
    answer = described["responses"].get(str(response.status_code))
    assert answer is not None, f"{response.status_code} is not described"
    if "content" not in answer:
        assert response.content == b""
        return
    media_type = response.headers["content-type"].partition(";")[0]
    schema = answer["content"][media_type]["schema"]
    if "$ref" in schema:
        errors = list(_validator(schema["$ref"].rpartition("/")[2]).iter_errors(response.json()))
        assert errors == []
    ours = {name.lower() for name in HEADERS}
    told = ours & set(response.headers)
    assert told <= {name.lower() for name in answer.get("headers", {})}, "a header is not described"


def _described(method: str, path: str) -> dict[str, Any] | None:
    paths = document()["paths"]
    if path not in paths and path.startswith("/crypto/requests/"):
        _, _, below = path.removeprefix("/crypto/requests/").partition("/")
        path = "/crypto/requests/{request_id}" + (f"/{below}" if below else "")
    found: dict[str, Any] | None = paths.get(path, {}).get(method)
    return found


@cache
def _validator(name: str) -> jsonschema_rs.Draft202012Validator:
    schema = {"$ref": f"{PREFIX}schemas/{name}", "components": document()["components"]}
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True)


def errors_of(name: str, value: object) -> list[str]:
    """Return what is wrong with a value, by one of the document's schemas."""
    return [error.message for error in _validator(name).iter_errors(value)]
