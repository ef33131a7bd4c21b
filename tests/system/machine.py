"""What needs the whole machine takes turns: a stack's start, and requests whose answers are timed.

Tests run side by side since most of their time is waiting. They share the processors, so that an answer could
be late only because another test starts a stack at that moment.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))


@contextmanager
def whole_machine() -> Iterator[None]:
    """Hold the machine among the tests of one run. Not reentrant."""
    with (Path(tempfile.gettempdir()) / f"signing-relay-tests-{RUN}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
