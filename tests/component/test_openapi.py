"""The OpenAPI document: committed, true, and enough for a stranger to generate a client from."""

import json
import subprocess
import sys
from collections.abc import Iterator
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest

from api import reference
from api.samples import Sample
from infra.openapi import document as describe
from tests.component.contract import document, errors_of

COMMITTED = Path(__file__).parents[2] / "docs" / "openapi.json"
METHODS = {"get", "post", "delete"}


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document()["paths"].items():
        for method in METHODS & methods.keys():
            yield f"{method} {path}", methods[method]


def test_the_committed_document_is_the_one_served() -> None:
    """`docs/openapi.json` is what `GET /openapi.json` says; `python -m infra.openapi` writes it anew."""
    assert json.loads(COMMITTED.read_text()) == document()


def test_it_is_openapi_3_1() -> None:
    """It loads where clients are generated from."""
    schemathesis = pytest.importorskip("schemathesis")
    assert len(list(schemathesis.openapi.from_dict(document()).get_all_operations())) == len([*operations()])


def test_operations_are_named_and_tagged() -> None:
    """Generated clients have one method per operation, with a name of its own."""
    names = [operation["operationId"] for _, operation in operations()]
    assert len(names) == len(set(names))
    assert all(operation["tags"] and operation["summary"] for _, operation in operations())


def test_every_parameter_is_described() -> None:
    """Generated clients and the page show it; answers are in the order of their status."""
    for _, operation in operations():
        assert all(given.get("description") for given in operation.get("parameters", ()))
        assert [*operation["responses"]] == sorted(operation["responses"])


def test_every_example_is_valid() -> None:
    """An example that its own schema refuses teaches the wrong thing."""
    examples = [
        (name, status, body["schema"]["$ref"].rpartition("/")[2], example["value"])
        for name, operation in operations()
        for status, answer in operation["responses"].items()
        for body in answer.get("content", {}).values()
        for example in body.get("examples", {}).values()
    ]
    assert len(examples) > 40
    assert [(*case[:2], errors) for case in examples if (errors := errors_of(case[2], case[3]))] == []
    problems = [(status, value["status"]) for _, status, name, value in examples if name.endswith("Problem")]
    assert all(status in {str(said), "4XX"} for status, said in problems)


def test_every_answer_has_an_example() -> None:
    """One sees what will come, errors included."""
    bare = [
        (name, status)
        for name, operation in operations()
        for status, answer in operation["responses"].items()
        for media_type, body in answer.get("content", {}).items()
        if media_type.endswith("json") and "$ref" in body["schema"] and not body.get("examples")
    ]
    assert bare == []


def test_the_page_shows_every_operation_and_no_more_than_text() -> None:
    """`/docs` takes nothing from elsewhere, and escapes what it shows: in text, samples and forms."""
    hostile = describe("https://example.com/<script>alert(1)</script>")
    page = reference.content(hostile)
    assert "<script" not in page
    assert all(f'id="{operation["operationId"]}"' in page for _, operation in operations())

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert tag not in {"script", "img", "link", "iframe"}
            links = [value or "" for name, value in attrs if name in {"href", "src"}]
            assert all(link.startswith("#") or link in {"openapi.json", "console"} for link in links)

    Links().feed(page)


def test_the_page_shows_a_request_of_each_operation() -> None:
    """In curl, Python and JavaScript, with what must be given; and a form that sends it."""
    page = reference.content(document())
    for language in ("curl", "Python", "JavaScript"):
        assert page.count(f"<summary>{language}</summary>") == len([*operations()])
    assert page.count("<form ") == len([*operations()])
    assert escape("curl -i 'http://127.0.0.1:8000/crypto/sign?message=hello'") in page


def test_python_samples_run() -> None:
    """Each is Python, and asks with the method and URL that are described."""
    for path, methods in document()["paths"].items():
        for method in METHODS & methods.keys():
            sample = Sample("https://relay.example", path, method, methods[method], {"message": "it's"})
            asked: list[tuple[object, ...]] = []

            class Recorder:
                @staticmethod
                def request(*arguments: object, **_: object) -> httpx.Response:
                    asked.append(arguments)  # noqa: B023 - called in this turn
                    return httpx.Response(200)

            code = sample.python().replace("import httpx", "")
            exec(compile(code, path, "exec"), {"httpx": Recorder, "print": lambda *_: None})  # noqa: S102
            assert asked == [(method.upper(), sample.url)]


def test_a_cold_start_does_not_pay_for_it() -> None:
    """Neither the document nor the pages' renderer is imported before somebody asks."""
    code = "import sys, api.app; print(sorted({'api.openapi', 'api.reference'} & set(sys.modules)))"
    functions = COMMITTED.parents[1] / "functions"
    result = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", code], cwd=functions, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
