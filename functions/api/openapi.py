"""The OpenAPI document, generated from the routes and the models. Imported only when it is requested.

`docs/openapi.json` is this document. `tests/component/test_openapi.py` checks that, and checks the answers of
all other tests against it.
"""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from web.models import InvalidParameterProblem, Problem
from web.strict import StrictRoute

LOCAL_URL = "http://127.0.0.1:8000"
DESCRIPTION = """\
A dependable front for a signing API that allows few calls: the service answers every call within two
seconds, and delivers every signature that it promised.

The body of every answer has `request_id` and `status`, the HTTP status again. Errors are problems (RFC 9457);
their `type` names the error, for programs."""
TAGS = [
    {"name": "signing", "description": "Sign messages, and read the state of requests"},
    {"name": "console", "description": "Watch the service, and send webhooks again"},
    {"name": "service", "description": "The service itself, and whether it is up"},
]
KEY = {
    "type": "apiKey",
    "in": "header",
    "name": "Authorization",
    "description": "The API key alone; `Bearer` before it is accepted too",
}


def document(app: FastAPI, server_url: str = LOCAL_URL) -> dict[str, Any]:
    """Return the whole document for a service at this URL."""
    described = get_openapi(
        title=app.title,
        version=app.version,
        description=DESCRIPTION,
        routes=app.routes,
        tags=TAGS,
        license_info={"name": "MIT", "identifier": "MIT"},
        servers=[{"url": server_url}],
    )
    schemas, bodies = described["components"]["schemas"], _bodies(app)
    for (path, method), model in bodies.items():
        schema = {"$ref": f"#/components/schemas/{model.__name__}"}
        content = {"required": True, "content": {"application/json": {"schema": schema}}}
        described["paths"][path][method]["requestBody"] = content
    referred: set[type[BaseModel]] = {*bodies.values(), Problem, InvalidParameterProblem}
    _, found = models_json_schema(
        [(model, "validation") for model in sorted(referred, key=lambda model: model.__name__)],
        ref_template="#/components/schemas/{model}",
    )
    schemas |= found["$defs"]
    described["components"]["securitySchemes"] = {"key": KEY}
    described["security"] = [{"key": []}]
    _remove_null_defaults(described)
    for operation in [operation for methods in described["paths"].values() for operation in methods.values()]:
        _describe_parameters(operation)
        operation["responses"] = dict(sorted(operation["responses"].items()))
    _add_examples(described)
    return described


def _bodies(app: FastAPI) -> dict[tuple[str, str], type[BaseModel]]:
    """Return the models of bodies, by path and method."""
    return {
        (route.path, method.lower()): route.body_model
        for route in app.routes
        if isinstance(route, StrictRoute) and route.body_model
        for method in route.methods or ()
    }


def _remove_null_defaults(value: Any) -> None:
    """Remove defaults of null: absent members are left out of answers, so null never occurs."""
    if isinstance(value, dict):
        if value.get("default", ...) is None:
            del value["default"]
        for inner in value.values():
            _remove_null_defaults(inner)
    elif isinstance(value, list):
        for inner in value:
            _remove_null_defaults(inner)


def _describe_parameters(operation: dict[str, Any]) -> None:
    """Give parameters the description of their type: FastAPI gives an optional one's to its schema only."""
    for parameter in operation.get("parameters", ()):
        if "description" in parameter["schema"]:
            parameter.setdefault("description", parameter["schema"]["description"])


def _add_examples(described: dict[str, Any]) -> None:
    """Give every JSON answer without examples one, made from the examples of its model's members."""
    for methods in described["paths"].values():
        for operation in methods.values():
            for answer in operation["responses"].values():
                for media in answer.get("content", {}).values():
                    if "$ref" in media["schema"] and "examples" not in media:
                        media["examples"] = {"one": {"value": example(described, media["schema"])}}


def example(described: dict[str, Any], schema: Mapping[str, Any]) -> Any:
    """Return a value that a schema allows: its first example, or one made from its members' examples."""
    if "$ref" in schema:
        return example(described, described["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    if "anyOf" in schema:
        return example(described, schema["anyOf"][0])
    const = [schema["const"]] if "const" in schema else []
    said = schema.get("examples") or schema.get("enum") or const
    if said:
        return said[0]
    if "properties" in schema:
        return {name: example(described, member) for name, member in schema["properties"].items()}
    if schema["type"] == "array":
        return [example(described, schema["items"])]
    simple = {"integer": schema.get("minimum", 0), "number": 1.4, "boolean": False, "string": "text"}
    return simple[schema["type"]]
