"""No function is so long that a reader has to scroll."""

import ast
from pathlib import Path

FUNCTIONS = Path(__file__).parents[2] / "functions"
LINES_MAX = 35


def test_no_function_is_long() -> None:
    """A function has at most 35 lines, signature and docstring included; data belongs in constants."""
    lengths = {
        f"{path.relative_to(FUNCTIONS)}:{node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path in FUNCTIONS.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: lines for name, lines in lengths.items() if lines > LINES_MAX} == {}
