"""Runs the embedded AWS; started by `emulator.py` with the interpreter of the emulator's own environment.

The emulator by itself saves its state only at a clean stop. This program also saves it every few seconds. It
encodes one service at a time between two events (20 ms for a thousand items, during which nothing else runs),
and writes in a thread. A file is replaced as a whole, so a kill during a save leaves no torn file. It may
leave some services older than others; the design allows that, because the tables hold all state.
"""

import asyncio
import importlib
import json
import logging
import logging.handlers
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

SAVE_EVERY_S = 5.0
NICENESS = 5  # on a machine without a free core the front still answers in time
STOP_CONNECTIONS_S = 0.5
LOG_BYTES_MAX = 10_000_000

# Function logs go to a separate file: in the emulator's state they would be written at each save.
NOT_SAVED = frozenset({"cloudwatch_logs"})
TABLES = "dynamodb"


class NoCopies:
    """Replaces `copy` while the tables are encoded: a copy would take five times as long."""

    @staticmethod
    def deepcopy(value: Any) -> Any:
        """Return the value itself."""
        return value


def encoded(name: str, get_state: Callable[[], Any]) -> str | None:
    """Return a service's state as the emulator would write it; None if it has none now."""
    persistence: Any = importlib.import_module("ministack.core.persistence")
    own = get_state.__globals__
    copying = own.get("copy")
    if name == TABLES:  # used between events only; other services have threads
        own["copy"] = NoCopies
    try:
        state = get_state()
        version = persistence._state_format_version(name)  # noqa: SLF001 - the version is pinned
        document = {"__ministack_format__": version, "payload": state}
        return None if state is None else json.dumps(document, default=persistence._json_default)  # noqa: SLF001
    except RuntimeError:  # a thread changed it meanwhile; the next save includes it
        return None
    finally:
        own["copy"] = copying


def write(file: Path, text: str) -> None:
    """Replace a file as a whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".unfinished")
    unfinished.write_text(text)
    unfinished.replace(file)


def write_function_logs(path: Path) -> None:
    """Append what the functions log to one file, each line with its function's package first.

    Beside it `invocations.log` has a line per invocation: how many milliseconds it took.
    """
    lines = _log_file("functions", path)
    invocations = _log_file("invocations", path.with_name("invocations.log"))

    def emit(
        function: dict[str, Any], _request_id: str, text: str, _error: object, took_ms: int, **_: Any
    ) -> None:
        package, _, _ = (function.get("config") or function)["Handler"].partition(".")
        invocations.warning("%-9s %d", package, took_ms)
        for line in text.splitlines():
            lines.warning("%-9s %s", package, line)

    importlib.import_module("ministack.services.lambda_svc")._emit_lambda_logs = emit  # type: ignore[attr-defined]  # noqa: SLF001


def let_busy_workers_finish() -> None:
    """Make an update end only a function's idle workers. A busy one finishes its call first, as on AWS."""
    runtime: Any = importlib.import_module("ministack.core.lambda_runtime")
    service: Any = importlib.import_module("ministack.services.lambda_svc")
    end_workers, give_back = runtime.invalidate_worker, runtime.release_worker
    replaced: set[Any] = set()

    def invalidate(name: str, *arguments: Any, **options: Any) -> None:
        with runtime._lock:  # noqa: SLF001 - the version is pinned
            for workers in runtime._workers.values():  # noqa: SLF001
                busy = [worker for worker in workers if worker.in_use and worker.func_name == name]
                replaced.update(busy)
                workers[:] = [worker for worker in workers if worker not in busy]
        end_workers(name, *arguments, **options)

    def release(worker: Any) -> None:
        give_back(worker)
        if worker in replaced:
            replaced.discard(worker)
            threading.Thread(target=worker.kill).start()  # the answer does not wait for its end

    service.invalidate_worker, service.release_worker = invalidate, release


def take_concurrency_as_a_number() -> None:
    """Accept an event source mapping's concurrency as text, as AWS does: parameters arrive as text."""
    service: Any = importlib.import_module("ministack.services.lambda_svc")
    concurrency = service._sqs_esm_concurrency  # noqa: SLF001 - the version is pinned

    def as_number(mapping: dict[str, Any], *arguments: Any) -> Any:
        scaling = {name: int(value) for name, value in (mapping.get("ScalingConfig") or {}).items()}
        return concurrency({**mapping, "ScalingConfig": scaling}, *arguments)

    service._sqs_esm_concurrency = as_number  # noqa: SLF001


def schedule_every(seconds: float) -> None:
    """Start what is scheduled at this interval, whatever the rule says: time may be compressed."""
    service: Any = importlib.import_module("ministack.services.eventbridge")
    service._parse_rate_seconds = lambda _: seconds  # noqa: SLF001 - the version is pinned
    service._SCHEDULER_TICK_INTERVAL = min(service._SCHEDULER_TICK_INTERVAL, seconds / 2)  # noqa: SLF001


def _log_file(name: str, path: Path) -> logging.Logger:
    log = logging.getLogger(name)
    log.propagate = False
    log.addHandler(logging.handlers.RotatingFileHandler(path, maxBytes=LOG_BYTES_MAX, backupCount=1))
    return log


async def save(app: Any, folder: Path) -> None:
    """Save the state of every service that has any, one after the other."""
    for name, get_state in app._build_persistence_save_dict().items():  # noqa: SLF001 - the version is pinned
        text = None if name in NOT_SAVED else encoded(name, get_state)
        if text is not None:
            writing = asyncio.create_task(asyncio.to_thread(write, folder / f"{name}.json", text))
            try:
                await asyncio.shield(writing)
            except asyncio.CancelledError:
                await writing  # no write overlaps the emulator's own last save
                raise


async def save_regularly(app: Any, folder: Path) -> None:
    """Save every few seconds while the parent process lives."""
    parent = os.getppid()
    while os.getppid() == parent:
        await asyncio.sleep(SAVE_EVERY_S)
        await save(app, folder)


async def until_stopped(app: Any) -> None:
    """Wait for SIGTERM or the parent's end, then stop saving before the emulator's own last save."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    saving = asyncio.create_task(save_regularly(app, Path(os.environ["STATE_DIR"])))
    saving.add_done_callback(lambda _: stop.set())
    await stop.wait()
    saving.cancel()
    await asyncio.wait([saving])


async def serve(host: str, port: int) -> None:
    """Serve until stopped; the last save is the emulator's own."""
    app = importlib.import_module("ministack.app")
    config = importlib.import_module("hypercorn.config").Config()
    config.bind = [f"{host}:{port}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = STOP_CONNECTIONS_S
    config.loglevel = "WARNING"
    server = importlib.import_module("hypercorn.asyncio")
    await server.serve(app.app, config, shutdown_trigger=lambda: until_stopped(app))
    os._exit(0)  # all is saved; an orderly exit would wait for functions that run for minutes


def main() -> None:
    """Read where to listen and where to log from the environment that `emulator.py` makes."""
    os.nice(NICENESS)
    write_function_logs(Path(os.environ["FUNCTION_LOG"]))
    let_busy_workers_finish()
    take_concurrency_as_a_number()
    schedule_every(float(os.environ["SCHEDULE_SECONDS"]))
    asyncio.run(serve(os.environ["BIND_HOST"], int(os.environ["GATEWAY_PORT"])))


if __name__ == "__main__":
    main()
