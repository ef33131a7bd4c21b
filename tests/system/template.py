"""`template.yaml` as plain values: a tag such as `!Ref X` becomes `{"Ref": "X"}`."""

from typing import Any

import yaml

from infra import ROOT

FUNCTIONS = {"api": "ApiFunction", "processor": "ProcessorFunction", "notifier": "NotifierFunction"}


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's tags."""


def _tagged(loader: yaml.SafeLoader, tag: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        return {tag: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {tag: loader.construct_sequence(node, deep=True)}
    assert isinstance(node, yaml.MappingNode)
    return {tag: loader.construct_mapping(node, deep=True)}


_Loader.add_multi_constructor("!", _tagged)

TEMPLATE: dict[str, Any] = yaml.load((ROOT / "template.yaml").read_text(), _Loader)  # noqa: S506 - our own file


def properties(logical_id: str) -> dict[str, Any]:
    """Return a resource's properties."""
    found: dict[str, Any] = TEMPLATE["Resources"][logical_id]["Properties"]
    return found


def variables(package: str) -> set[str]:
    """Return the names of a function's environment variables."""
    shared = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
    return {*shared, *properties(FUNCTIONS[package])["Environment"]["Variables"]}
