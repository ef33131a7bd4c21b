"""Embedded stacks for the tests: one that all share, and as many with special settings as a test starts."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.system.stack import RunningStack, running_stack

StartStack = Callable[..., RunningStack]


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """Return the stack with the default settings that tests share: use messages of your own."""
    with running_stack(tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture
def start_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartStack]:
    """Return a function that starts a stack with special settings; the test's end stops it."""
    with _starting(tmp_path_factory) as start:
        yield start


@pytest.fixture(scope="module")
def module_stacks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartStack]:
    """Return the same for a stack that a module's tests share."""
    with _starting(tmp_path_factory) as start:
        yield start


@contextmanager
def _starting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartStack]:
    with ExitStack() as stacks:

        def start(folder: Path | None = None, **settings: str) -> RunningStack:
            folder = folder or tmp_path_factory.mktemp("stack")
            return stacks.enter_context(running_stack(folder, **settings))

        yield start
