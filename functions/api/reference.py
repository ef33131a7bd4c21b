"""The OpenAPI document as HTML: no script, no other resource, everything escaped."""

import json
from collections.abc import Iterator
from html import escape
from typing import Any

Json = dict[str, Any]
METHODS = ("get", "post", "delete")


def content(document: Json) -> str:
    """Return the body of the page."""
    return "\n".join(_content(document))


def _content(document: Json) -> Iterator[str]:
    info = document["info"]
    yield f"<h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1>"
    for paragraph in info["description"].split("\n\n"):
        yield f"<p>{_text(paragraph)}</p>"
    yield f"<p>Base URL: <code>{escape(document['servers'][0]['url'])}</code></p>"
    for name, scheme in document["components"]["securitySchemes"].items():
        yield f"<p>{escape(name.title())}: <code>{escape(scheme['name'])}</code>, in the {scheme['in']}. "
        yield f"{_text(scheme['description'])}.</p>"
    for tag in document["tags"]:
        yield f"<h2>{escape(tag['name'].title())}</h2><p>{_text(tag['description'])}.</p>"
        yield from _operations(document, tag["name"])
    yield "<h2>Bodies</h2>"
    for name, schema in document["components"]["schemas"].items():
        yield f'<h3 id="{escape(name)}">{escape(name)}</h3>{_json(schema)}'


def _operations(document: Json, tag: str) -> Iterator[str]:
    for path, methods in document["paths"].items():
        for method in METHODS:
            if tag in methods.get(method, {}).get("tags", ()):
                yield from _operation(f"{method.upper()} {path}", methods[method], document)


def _operation(title: str, operation: Json, document: Json) -> Iterator[str]:
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
    yield "<h4>Answers</h4>"
    for status, answer in operation["responses"].items():
        yield f"<details><summary><strong>{escape(status)}</strong> {_text(answer['description'])}</summary>"
        for name, header in answer.get("headers", {}).items():
            yield f"<p><code>{escape(name)}</code>: {_text(header['description'])}</p>"
        yield from _media(answer.get("content", {}))
        yield "</details>"
    for callback in operation.get("callbacks", {}).values():
        for target, methods in callback.items():
            yield "<h4>We call you</h4>"
            yield from _operation(f"POST {target}", methods["post"], document)
    yield "</section>"


def _media(media: Json) -> Iterator[str]:
    for media_type, described in media.items():
        name = described["schema"].get("$ref", "").rpartition("/")[2]
        link = f': <a href="#{escape(name)}">{escape(name)}</a>' if name else ""
        yield f"<p><code>{escape(media_type)}</code>{link}</p>"
        for example in described.get("examples", {}).values():
            yield _json(example["value"])


def _json(value: Any) -> str:
    text = escape(json.dumps(value, indent=2, ensure_ascii=False))
    return f'<pre tabindex="0"><code>{text}</code></pre>'


def _text(markdown: str) -> str:
    """Escape a text whose only markup is code between backticks."""
    parts = escape(markdown).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))
