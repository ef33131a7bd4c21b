"""A sample request for each operation, in curl, Python and JavaScript, from the document's examples."""

import json
from shlex import quote
from typing import Any
from urllib.parse import urlencode

Json = dict[str, Any]
KEY = "your-key"
ID = "01a209d9-5b1c-7c3e-9d52-0f2b8f0b6a11"


class Sample:
    """A sample request: its required parameters, with their examples."""

    def __init__(self, server: str, path: str, method: str, operation: Json, body: Any) -> None:
        given = [row for row in operation.get("parameters", ()) if row.get("required")]
        self.url = server + path.replace("{request_id}", ID)
        self.query = {row["name"]: _example(row["schema"]) for row in given if row["in"] == "query"}
        self.method = method.upper()
        self.body = body
        self.headers = {"Authorization": KEY} if operation.get("security", True) else {}

    @property
    def whole_url(self) -> str:
        """Return the URL with its query."""
        return f"{self.url}?{urlencode(self.query)}" if self.query else self.url

    def curl(self) -> str:
        """Return the command."""
        headers = dict(self.headers)
        if self.body is not None:
            headers["Content-Type"] = "application/json"
        method = "" if self.method == "GET" else f" -X {self.method}"
        lines = [f"curl -i{method} '{self.whole_url}'"]
        lines += [f"-H {quote(f'{name}: {value}')}" for name, value in headers.items()]
        lines += [f"-d {quote(json.dumps(self.body))}"] if self.body is not None else []
        return " \\\n  ".join(lines)

    def python(self) -> str:
        """Return the same with httpx."""
        options = {"params": self.query, "json": self.body, "headers": self.headers}
        given = "".join(f"\n    {name}={value!r}," for name, value in options.items() if value)
        call = f'"{self.method}",\n    "{self.url}",{given}\n'
        return f"import httpx\n\nanswer = httpx.request(\n    {call})\nprint(answer.status_code, answer.text)"

    def javascript(self) -> str:
        """Return the same with fetch."""
        headers = {**self.headers, **({"Content-Type": "application/json"} if self.body is not None else {})}
        options = {"method": self.method, **({"headers": headers} if headers else {})}
        text = json.dumps(options, indent=2)
        if self.body is not None:
            text = f'{text[:-2]},\n  "body": JSON.stringify({json.dumps(self.body)})\n}}'
        return (
            f'const answer = await fetch("{self.whole_url}", {text});\n'
            "console.log(answer.status, await answer.text());"
        )


def _example(schema: Json) -> str:
    return str((schema.get("examples") or ["text"])[0])
