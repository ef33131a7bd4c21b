"""Which AWS actions a function's code can perform, read from the code itself.

A function reaches the modules that its handler imports, directly or not. Of the adapters among them it uses
the methods whose names appear in the other modules; those methods call the AWS client, themselves or through
the base of all tables.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from infra import FUNCTIONS

SERVICES = {
    "dynamodb_jobs": "dynamodb:SigningTable",
    "dynamodb_history": "dynamodb:SigningTable",
    "dynamodb_claims": "dynamodb:SigningTable",
    "dynamodb_receivers": "dynamodb:SigningTable",
    "dynamodb_window": "dynamodb:WindowTable",
    "sqs": "sqs",
    "secrets": "secretsmanager",
    "deployment": "lambda",
}
BASE = "adapters.dynamodb_table"
# The action that each call needs, where it is not the call's own name.
NEEDED = {
    "transact_write_items": "PutItem",  # of puts only
    "send_message_batch": "SendMessage",
    "delete_message_batch": "DeleteMessage",
    "invoke": "InvokeFunction",
}


def used_actions(package: str) -> set[str]:
    """Return `service:Action` for every client call in reach; for DynamoDB `dynamodb:Table:Action`."""
    modules = reachable(f"{package}.handler")
    adapters = {name: tree for name, tree in modules.items() if name.startswith("adapters.")}
    users = {
        key for key in modules if not key.startswith(("adapters.", "core."))
    }  # the core knows no adapter
    asked = {name for key in users for name in _attributes(modules[key])}
    asked = {name for name in asked if not name.startswith("_")}  # nobody else's
    return {
        f"{SERVICES[name.removeprefix('adapters.')]}:{_action(call)}"
        for name, tree in adapters.items()
        if name.removeprefix("adapters.") in SERVICES
        for call in _client_calls(tree, modules.get(BASE), asked)
    }


def reachable(start: str) -> dict[str, ast.Module]:
    """Return a module and all of ours that it imports, directly or not."""
    found: dict[str, ast.Module] = {}
    waiting = [start]
    while waiting:
        name = waiting.pop()
        path = FUNCTIONS / Path(*name.split(".")).with_suffix(".py")
        if name not in found and path.is_file():
            found[name] = ast.parse(path.read_text())
            waiting += _imports(found[name])
    return found


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def _attributes(tree: ast.AST) -> Iterator[str]:
    """Yield the names of attributes; not those in decorators: `@router.delete` is no call of an adapter."""
    nodes = list(ast.walk(tree))
    decorators = [decorator for node in nodes for decorator in getattr(node, "decorator_list", ())]
    left_out = {inner for decorator in decorators for inner in ast.walk(decorator)}
    return (node.attr for node in nodes if isinstance(node, ast.Attribute) and node not in left_out)


def _client_calls(tree: ast.Module, base: ast.Module | None, asked: set[str]) -> Iterator[str]:
    """Yield the names of the client's methods that the methods asked for use, or those that they call."""
    nodes = [*(ast.walk(base) if base else ()), *ast.walk(tree)]
    methods = {node.name: node for node in nodes if isinstance(node, ast.AsyncFunctionDef)}
    waiting, seen = [name for name in methods if name in asked], set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for node in ast.walk(methods[name]):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self._client":
                yield node.attr
        waiting += [called for called in _attributes(methods[name]) if called in methods]


def _action(call: str) -> str:
    return NEEDED.get(call, "".join(word.capitalize() for word in call.split("_")))
