"""Runs coroutines that never wait, as all on memory adapters are, without an event loop."""

from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


def at_once(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Return what a coroutine returns, or raise what it raises; it must not wait for anything."""
    try:
        coroutine.send(None)
    except StopIteration as stopped:
        result: Result = stopped.value
        return result
    coroutine.close()
    raise RuntimeError("it waits")
