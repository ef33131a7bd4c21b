"""Puts a running stack into a state that would take long to come by itself."""

import asyncio
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from adapters.dynamodb_history import PARTITION, DynamoHistory
from adapters.dynamodb_window import DynamoWindowStore
from core import window as windows
from core.gate import Gate
from core.history import Minute
from core.window import FieldValue
from tests.system.stack import RunningStack


def _run(steps: Coroutine[Any, Any, None]) -> None:
    """Carry out steps in a thread of its own: a browser's loop runs in this one."""
    with ThreadPoolExecutor(1) as threads:
        threads.submit(asyncio.run, steps).result()


def now_ms() -> int:
    """Return the time, which this machine's processes share."""
    return round(time.time() * 1000)


def set_gate(stack: RunningStack, **values: FieldValue) -> None:
    """Write fields of the shared item, by their stored names."""
    _run(_set_gate(_store(stack), values))


async def _set_gate(store: DynamoWindowStore, values: dict[str, FieldValue]) -> None:
    gate = await store.read()
    await store.apply(windows.write_fields(gate.window, **values))


def fill_window(stack: RunningStack, free_in_ms: int) -> None:
    """Make every slot busy for that long; 0 frees all of them."""
    _run(_fill_window(_store(stack), free_in_ms))


async def _fill_window(store: DynamoWindowStore, free_in_ms: int) -> None:
    gate = await store.read()
    full = windows.full(gate.window.limits, now_ms() + free_in_ms)
    await store.overwrite(replace(gate, window=replace(full, deployed=gate.window.deployed)))


def _store(stack: RunningStack) -> DynamoWindowStore:
    def missing() -> Gate:
        raise LookupError("the stack has made no window yet")

    return DynamoWindowStore(stack.session.client("dynamodb"), stack.resources["WindowTable"], missing)


def write_history(stack: RunningStack, minutes: list[Minute]) -> None:
    """Replace the history."""
    dynamodb, table = stack.session.client("dynamodb"), stack.resources["SigningTable"]
    found = dynamodb.query(
        TableName=table, KeyConditionExpression="PK = :pk", ExpressionAttributeValues={":pk": PARTITION}
    )
    for item in found["Items"]:
        dynamodb.delete_item(TableName=table, Key={"PK": item["PK"], "SK": item["SK"]})
    _run(_write(DynamoHistory(dynamodb, table), minutes))


def age_history(stack: RunningStack, by_ms: int) -> None:
    """Make the history older, as if no run had come since."""
    dynamodb, table = stack.session.client("dynamodb"), stack.resources["SigningTable"]
    with ThreadPoolExecutor(1) as threads:
        found = threads.submit(asyncio.run, DynamoHistory(dynamodb, table).since(0)).result()
    write_history(stack, [replace(minute, at_ms=minute.at_ms - by_ms) for minute in found])


async def _write(history: DynamoHistory, minutes: list[Minute]) -> None:
    for minute in minutes:
        await history.write(minute)
