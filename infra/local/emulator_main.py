"""Runs the embedded AWS; started by `emulator.py` with the interpreter of the emulator's own environment.

The emulator saves its state only when it stops cleanly. Here it is saved every few seconds as well, by a
fork: that holds one moment's memory still and writes it at leisure, where the emulator itself would stand
still (0.7 s with 10,000 items). Each file is replaced as a whole: a kill in the middle of a save leaves some
services a save older than others, which the design allows (the tables are the truth), and no file torn.
"""

import asyncio
import importlib
import logging
import logging.handlers
import os
import signal
import threading
from pathlib import Path
from typing import Any

SAVE_EVERY_S = 5.0
SAVE_LIMIT_S = 10
NICENESS = 5  # on a machine that has nothing left the front still answers in time
STOP_CONNECTIONS_S = 0.5
LOG_BYTES_MAX = 10_000_000

# Function logs go to a file of ours instead: kept in the emulator they would be saved again every time.
NOT_SAVED = frozenset({"cloudwatch_logs"})


def save(app: Any) -> None:
    """Write the state of every service that has any."""
    states = app._build_persistence_save_dict()  # noqa: SLF001 - the version is pinned
    app.save_all({name: state for name, state in states.items() if name not in NOT_SAVED})


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
    """Have an update end a function's idle workers only: one at work finishes its call first, as on AWS."""
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


def _log_file(name: str, path: Path) -> logging.Logger:
    log = logging.getLogger(name)
    log.propagate = False
    log.addHandler(logging.handlers.RotatingFileHandler(path, maxBytes=LOG_BYTES_MAX, backupCount=1))
    return log


async def save_in_fork(app: Any) -> None:
    """Save as things are now, in a process of its own, which ends with this task at the latest."""
    process_id = os.fork()
    if process_id == 0:
        signal.alarm(SAVE_LIMIT_S)  # a thread that held a lock is not there to give it back
        try:
            save(app)
        finally:
            os._exit(0)
    ended = asyncio.create_task(asyncio.to_thread(os.waitpid, process_id, 0))
    try:
        await asyncio.shield(ended)
    except asyncio.CancelledError:
        os.kill(process_id, signal.SIGKILL)
        await ended
        raise


async def save_regularly(app: Any) -> None:
    """Save every few seconds, for as long as the process that started this one lives."""
    parent = os.getppid()
    while os.getppid() == parent:
        await asyncio.sleep(SAVE_EVERY_S)
        await save_in_fork(app)


async def until_stopped(app: Any) -> None:
    """Wait for SIGTERM or the parent's end; no fork is left to disturb the emulator's own last save."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    saving = asyncio.create_task(save_regularly(app))
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
    asyncio.run(serve(os.environ["BIND_HOST"], int(os.environ["GATEWAY_PORT"])))


if __name__ == "__main__":
    main()
