"""What the containers of `docker-compose.yml` run: `python -m infra.docker {keys|upstream|deploy|front}`.

Each command first reads the settings of `make run`, so that a bad one is reported before anything starts.
"""

import asyncio
import fcntl
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from core.errors import SettingError
from infra.docker.front import Watch
from infra.docker.localstack import LocalStackSession
from infra.local import upstream
from infra.local.deploy import deploy, is_deployed
from infra.local.keys import Keys
from infra.local.package import Package, archive_of_code
from infra.local.processes import StackError
from infra.local.settings import Hosts, LocalSettings
from infra.local.warm import warm
from infra.local.window import prepare_window

EVERYWHERE = "0.0.0.0"
# The services of docker-compose.yml, and where their volumes are mounted.
HOSTS = Hosts(upstream="upstream", inbox="inbox", aws="localstack")
STATE = Path("/state")
KEYS = STATE / "keys"
# LocalStack's hooks create this file if the last stop was not clean.
UNSETTLED = STATE / "localstack" / "unsettled"
DEPENDENCIES = Path("/opt/dependencies")
ARCHIVE = Path("/opt/functions.zip")
WARM_WORKERS = 4  # each is a container, and takes seconds to start


def main(argv: Sequence[str]) -> int:
    """Run one of the commands; return the exit status."""
    try:
        COMMANDS[argv[0]]()
    except (SettingError, StackError, ClientError, BotoCoreError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _settings() -> LocalSettings:
    return LocalSettings.read(os.environ, HOSTS)


def _pack() -> None:
    """At build time: the functions with their dependencies, as one archive."""
    ARCHIVE.write_bytes(archive_of_code(dependencies=DEPENDENCIES))


def _package() -> Package:
    return Package(sha256(ARCHIVE.read_bytes()).hexdigest(), ARCHIVE.read_bytes)


def _keys() -> None:
    """Make the missing keys, before another container reads them."""
    Keys.load(KEYS, _settings().webhook_secret)


def _upstream() -> None:
    os.environ.update(_settings().stand_in_environment)
    upstream.main(["--host", EVERYWHERE, "--state-dir", str(STATE / "upstream")])


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Let one process deploy at a time: the deploy step and the front may both find no stack."""
    with (KEYS / "deploy.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _deploy(*, only_if_missing: bool = False) -> None:
    """Deploy, prepare the window and start workers once, then end."""
    settings, session = _settings(), LocalStackSession(HOSTS.aws)
    with _one_at_a_time():
        if only_if_missing and is_deployed(session) and not UNSETTLED.exists():
            return  # the deploy step has deployed already; its settings may be newer
        deployment = deploy(session, settings, Keys.load(KEYS, settings.webhook_secret), _package())
        table = deployment.resources["WindowTable"]
        print(prepare_window(session, table, settings, clean=not UNSETTLED.exists()), flush=True)
        UNSETTLED.unlink(missing_ok=True)
        asyncio.run(warm(session, deployment, WARM_WORKERS))
    print(f"Deployed. Webhooks from here can go to {settings.inbox_url}/hook", flush=True)
    print(f"The console is at {settings.api_url}/console", flush=True)


def _front() -> None:
    options = ["--host", EVERYWHERE, "--concurrency", str(WARM_WORKERS)]
    session, deploy_missing = LocalStackSession(HOSTS.aws), partial(_deploy, only_if_missing=True)
    sys.exit(Watch(session, deploy_missing, options).serve())


COMMANDS = {"pack": _pack, "keys": _keys, "upstream": _upstream, "deploy": _deploy, "front": _front}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
