"""The OpenAPI document as one HTML page without other resources; every text is escaped."""

import json
from collections.abc import Iterable, Iterator
from html import escape
from typing import Any

from api.openapi import example
from api.samples import Sample

Json = dict[str, Any]
METHODS = ("get", "post", "delete")


def content(document: Json) -> str:
    """Return the contents list and the body of the page."""
    return "\n".join(["<nav>", *_contents(document), "</nav>", "<main>", *_content(document), "</main>"])


def _operations(document: Json, tag: str) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        for method in METHODS:
            if tag in methods.get(method, {}).get("tags", ()):
                yield path, method, methods[method]


def _contents(document: Json) -> Iterator[str]:
    for tag in document["tags"]:
        yield f"<p>{escape(tag['name'].title())}</p><ul>"
        for path, method, operation in _operations(document, tag["name"]):
            name = f"{method.upper()} {path}"
            yield f'<li><a href="#{escape(operation["operationId"])}">{escape(name)}</a></li>'
        yield "</ul>"
    yield '<p><a href="#bodies">Bodies</a></p>'


def _content(document: Json) -> Iterator[str]:
    info = document["info"]
    yield f"<h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1>"
    yield '<p>For programs: <a href="openapi.json">openapi.json</a>. '
    yield 'For people: <a href="console">the console</a>.</p>'
    for paragraph in info["description"].split("\n\n"):
        yield f"<p>{_text(paragraph)}</p>"
    yield f"<p>Base URL: <code>{escape(document['servers'][0]['url'])}</code></p>"
    for scheme in document["components"]["securitySchemes"].values():
        yield f"<p>Key: <code>{escape(scheme['name'])}</code>, in the {scheme['in']}. "
        yield f"{_text(scheme['description'])}.</p>"
    yield '<p><label>Key to try with <input id="key" type="password" autocomplete="off"></label> '
    yield "It stays in this page, and is sent only in that header.</p>"
    for tag in document["tags"]:
        yield f"<h2>{escape(tag['name'].title())}</h2><p>{_text(tag['description'])}.</p>"
        for path, method, operation in _operations(document, tag["name"]):
            samples = _samples(path, method, operation, document)
            yield from _operation(f"{method.upper()} {path}", operation, document, samples)
    yield '<h2 id="bodies">Bodies</h2>'
    for name, schema in document["components"]["schemas"].items():
        yield f'<h3 id="{escape(name)}">{escape(name)}</h3>{_json(schema)}'


def _operation(title: str, operation: Json, document: Json, samples: Iterable[str]) -> Iterator[str]:
    """Describe an operation, with samples of a request."""
    yield f'<section id="{escape(operation["operationId"])}"><h3><code>{escape(title)}</code></h3>'
    yield f"<p>{_text(operation['summary'])}. {_text(operation.get('description', ''))}</p>"
    if parameters := operation.get("parameters"):
        yield "<h4>Parameters</h4><dl>"
        for given in parameters:
            needed = "required" if given.get("required") else "optional"
            yield f"<dt><code>{escape(given['name'])}</code> {given['in']}, {needed}</dt>"
            yield f"<dd>{_text(given.get('description', ''))}</dd>"
        yield "</dl>"
    if body := operation.get("requestBody"):
        yield "<h4>Body</h4>"
        yield from _media(body["content"])
    yield from samples
    yield "<h4>Answers</h4>"
    for status, answer in operation["responses"].items():
        yield f"<details><summary><strong>{escape(status)}</strong> {_text(answer['description'])}</summary>"
        for name, header in answer.get("headers", {}).items():
            yield f"<p><code>{escape(name)}</code>: {_text(header['description'])}</p>"
        yield from _media(answer.get("content", {}))
        yield "</details>"
    for callback in operation.get("callbacks", {}).values():
        for target, methods in callback.items():
            yield "<h4>The service calls your webhook</h4>"
            yield from _operation(f"POST {target}", methods["post"], document, ())
    yield "</section>"


def _samples(path: str, method: str, operation: Json, document: Json) -> Iterator[str]:
    """Show one request in three languages, and a form that sends it to this service."""
    yield "<h4>Request</h4>"
    body = None
    if "requestBody" in operation:
        body = example(document, operation["requestBody"]["content"]["application/json"]["schema"])
    sample = Sample(document["servers"][0]["url"], path, method, operation, body)
    for name, text in (
        ("curl", sample.curl()),
        ("Python", sample.python()),
        ("JavaScript", sample.javascript()),
    ):
        opened = " open" if name == "curl" else ""
        yield f"<details{opened}><summary>{name}</summary>{_code(text)}</details>"
    yield f'<details><summary>Try it</summary><form data-method="{method}" data-path="{escape(path)}">'
    for given in operation.get("parameters", ()):
        name, place = escape(given["name"]), given["in"]
        required = " required" if given.get("required") else ""
        yield f'<label>{name} <input name="{name}" data-in="{place}"{required} autocomplete="off"></label>'
    if body is not None:
        text = escape(json.dumps(body, indent=2))
        yield f'<label>Body <textarea data-in="body" rows="6" spellcheck="false">{text}</textarea></label>'
    yield '<button>Send</button><pre tabindex="0" hidden><code role="status"></code></pre></form></details>'


def _media(media: Json) -> Iterator[str]:
    for media_type, described in media.items():
        name = described["schema"].get("$ref", "").rpartition("/")[2]
        link = f': <a href="#{escape(name)}">{escape(name)}</a>' if name else ""
        yield f"<p><code>{escape(media_type)}</code>{link}</p>"
        for given in described.get("examples", {}).values():
            yield _json(given["value"])


def _json(value: Any) -> str:
    return _code(json.dumps(value, indent=2, ensure_ascii=False))


def _code(text: str) -> str:
    return f'<pre tabindex="0"><code>{escape(text)}</code></pre>'


def _text(markdown: str) -> str:
    """Escape a text whose only markup is code between backticks."""
    parts = escape(markdown).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))
