"""A fault: what it breaks, by name, and a function that behaves wrongly in its place.

A fault names a function (`settle`, or `window.take` where several modules have one) or a method
(`Slots.settle`), never a line: code may move and be rewritten, as long as what does the thing keeps its name.
"""

import ast
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parents[2]
PLACES = ("functions", "tests/fakes", "proofs/simulation")

Function = Callable[..., Any]
Breaking = Callable[[Function], Function]
"""From the right function to the wrong one, which may call it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is wrong.

    `breaks`: by name, each function that becomes another.
    `tests`: where pytest finds a test that fails then. None: one of the simulation's seeds fails.
    `first_seed`: where the search among the seeds begins; where the fault showed before, it is found sooner.
    """

    name: str
    breaks: Mapping[str, Breaking]
    tests: tuple[str, ...] = ()
    first_seed: int = 0

    def apply(self) -> None:
        """Put it into the modules of this process; raises `LookupError` if a name is not there."""
        for name, breaking in self.breaks.items():
            _break(name, breaking)

    def missing(self) -> list[str]:
        """Return the names that no function, or more than one, has."""
        return [name for name in self.breaks if len(_places().get(name, ())) != 1]


@cache
def _places() -> dict[str, list[str]]:
    """Return, for each function and method, the modules that define it."""
    places: dict[str, list[str]] = {}
    for place in PLACES:
        for path in sorted((ROOT / place).rglob("*.py")):
            module = _module_name(path)
            for name in _names(ast.parse(path.read_text()).body):
                places.setdefault(name, []).append(module)
                places.setdefault(f"{module.rpartition('.')[2]}.{name}", []).append(module)
    return places


def _names(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.ClassDef):
            yield from (f"{node.name}.{name}" for name in _names(node.body))


def _module_name(path: Path) -> str:
    base = ROOT / "functions"
    parts = path.relative_to(base if path.is_relative_to(base) else ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _break(name: str, breaking: Breaking) -> None:
    modules = _places().get(name, [])
    if len(modules) != 1:
        raise LookupError(f"{name} is defined {len(modules)} times, not once: {modules}")
    module = importlib.import_module(modules[0])
    *_, owner, last = ("", *name.split("."))
    if owner in module.__dict__:
        _break_method(getattr(module, owner), last, breaking)
    else:
        _break_function(getattr(module, last), breaking)


def _break_method(owner: type, name: str, breaking: Breaking) -> None:
    defined = owner.__dict__[name]
    if isinstance(defined, property):
        assert defined.fget
        setattr(owner, name, property(breaking(defined.fget)))
    elif isinstance(defined, staticmethod):
        setattr(owner, name, staticmethod(breaking(defined.__func__)))
    else:
        setattr(owner, name, breaking(defined))


def _break_function(right: Function, breaking: Breaking) -> None:
    """Replace it wherever it was imported to by now; whoever imports it later gets the wrong one."""
    wrong = breaking(right)
    for module in list(sys.modules.values()):
        if isinstance(module, ModuleType):
            for name in [name for name, value in module.__dict__.items() if value is right]:
                setattr(module, name, wrong)
