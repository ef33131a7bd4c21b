"""The service's public URL."""

from collections.abc import Mapping
from typing import Any

from fastapi import Request


def base_url(request: Request, public_url: str) -> str:
    """Return the URL from the settings if it is given there, else as the request shows it."""
    shown = str(request.base_url).rstrip("/") + _stage(request.scope.get("aws.event", {}))
    return public_url or shown


def _stage(event: Mapping[str, Any]) -> str:
    """Return the path prefix of a REST gateway: its stage, or what a custom domain maps to it."""
    full = str((event.get("requestContext") or {}).get("path") or "")
    own = str(event.get("path") or "")
    return full.removesuffix(own) if own and full.endswith(own) else ""
