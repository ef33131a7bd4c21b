"""`python -m infra.openapi`: writes the OpenAPI document to `docs/openapi.json`."""

import json
from typing import Any, cast

from api import openapi
from api.app import create_app
from api.settings import ApiSettings
from api.wiring import ApiPorts, assemble
from infra import ROOT

FILE = ROOT / "docs" / "openapi.json"
SETTINGS = (
    "TABLE_NAME",
    "WINDOW_TABLE_NAME",
    "SECRET_ID",
    "WORK_QUEUE_URL",
    "WORK_DEAD_LETTER_QUEUE_URL",
    "NOTIFICATION_QUEUE_URL",
    "NOTIFICATION_DEAD_LETTER_QUEUE_URL",
)


class NoWorld:
    """A placeholder for the ports of an application that only describes itself."""

    def __getattr__(self, name: str) -> None:
        """Return None for every attribute."""


def document(server_url: str = openapi.LOCAL_URL) -> dict[str, Any]:
    """Return the document."""
    settings = ApiSettings.read({"UPSTREAM_URL": "http://upstream", **dict.fromkeys(SETTINGS, "unused")})
    return openapi.document(create_app(assemble(cast(ApiPorts, NoWorld()), settings)), server_url)


def main() -> None:
    """Write the file."""
    FILE.write_text(json.dumps(document(), indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
