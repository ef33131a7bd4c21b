"""The embedded AWS (ministack): its environment, its start and its stop."""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

LOCK = Path(__file__).with_name("emulator.lock")
# In this interpreter's environment, and made from it: the functions run on it and import its packages.
ENVIRONMENT = Path(sys.prefix) / "emulator"
PYTHON = ENVIRONMENT / "bin" / "python"
INHERITED = ("PATH", "HOME", "LANG", "SSL_CERT_FILE")
WARM_WORKERS_KEPT_S = 30 * 24 * 3600


def install(say: Callable[[str], None]) -> None:
    """Make the emulator's environment from its lock file, unless it is there already."""
    stamp = ENVIRONMENT / "lock.sha256"
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text() == digest:
        return
    say("installing the embedded AWS, once")
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "--quiet", "--clear", "--python", sys.executable, ENVIRONMENT], check=True)  # noqa: S603
    install_locked = ["pip", "install", "--quiet", "--require-hashes", "--compile-bytecode"]
    subprocess.run([*uv, *install_locked, "--python", PYTHON, "-r", LOCK], check=True)  # noqa: S603
    stamp.write_text(digest)


def command() -> list[str]:
    """Return the command that starts the emulator in the repository."""
    return [str(PYTHON), "-m", "infra.local.emulator_main"]


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the few of the user's variables that a program needs."""
    return {name: environ[name] for name in INHERITED if name in environ}


def environment(
    state: Path, function_log: Path, port: int, environ: Mapping[str, str], *, schedule_s: float = 60
) -> dict[str, str]:
    """Return the emulator's whole environment. The functions inherit it, so it holds nothing else.

    `schedule_s`: how often the schedule starts the processor.
    """
    temporary = _empty(state / "tmp")
    return inherited(environ) | {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "MINISTACK_HOST": "127.0.0.1",
        "IOT_MTLS_ENABLED": "0",  # it would listen on every interface
        "PERSIST_STATE": "1",
        "STATE_DIR": str(state / "services"),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(state / "s3"),
        "LAMBDA_WARM_TTL_SECONDS": str(WARM_WORKERS_KEPT_S),  # by default idle workers end after five minutes
        "LOG_LEVEL": "WARNING",
        "FUNCTION_LOG": str(function_log),
        "SCHEDULE_SECONDS": str(schedule_s),
        "TMPDIR": str(temporary),
    }


def _empty(folder: Path) -> Path:
    """Return the folder, emptied: a killed run leaves unpacked functions there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
