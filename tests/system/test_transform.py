"""What CloudFormation makes of the template: a second deployment changes what the first one made."""

import re
from typing import Any

import pytest

from infra.local.deploy import STAGE, parameter_name
from infra.local.settings import TEMPLATE_SETTINGS
from tests.system.template import FUNCTIONS, TEMPLATE
from tests.system.transform import transformed

FROZEN = {"AWS::Lambda::Version", "AWS::Lambda::Alias"}
FIRST = {"UpstreamUrl": "https://first.example", "UpstreamLimit": "10", "UpstreamGraceSeconds": "10"}
SECOND = {"UpstreamUrl": "https://second.example", "UpstreamLimit": "5", "UpstreamGraceSeconds": "20"}


@pytest.fixture(scope="module")
def first() -> dict[str, Any]:
    return transformed(**FIRST)


@pytest.fixture(scope="module")
def second() -> dict[str, Any]:
    return transformed(**SECOND)


def of_type(resources: dict[str, Any], *types: str) -> dict[str, Any]:
    """Return the properties of the resources of these types, by their names."""
    return {name: row.get("Properties", {}) for name, row in resources.items() if row["Type"] in types}


def invoked_by_the_gateway(resources: dict[str, Any]) -> set[str]:
    """Return what the methods of the REST API call: names in the template."""
    uris = re.findall(r"functions/\$\{([^}]+)\}", str(resources["Api"]["Properties"]["Body"]))
    assert uris
    return {uri.removesuffix(".Arn") for uri in uris}


def settings_of(resources: dict[str, Any], name: str, parameters: dict[str, str]) -> dict[str, Any]:
    """Return a function's variables that are parameters, as CloudFormation resolves them."""
    variables = resources[name]["Properties"]["Environment"]["Variables"]
    defaults = {key: row.get("Default") for key, row in TEMPLATE["Parameters"].items()}
    values = {**defaults, **parameters}
    references = {key: row["Ref"] for key, row in variables.items() if isinstance(row, dict) and "Ref" in row}
    return {key: values[reference] for key, reference in references.items() if reference in values}


def test_a_changed_parameter_reaches_the_function_that_callers_reach(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    """The gateway calls the function itself: no version keeps the settings of an earlier deployment."""
    assert not of_type(first, *FROZEN) | of_type(second, *FROZEN)
    assert invoked_by_the_gateway(first) == invoked_by_the_gateway(second) == {FUNCTIONS["api"]}
    for package in ("api", "processor"):
        name = FUNCTIONS[package]
        before, after = settings_of(first, name, FIRST), settings_of(second, name, SECOND)
        changed = {setting for setting in after if before[setting] != after[setting]}
        assert changed == {"UPSTREAM_URL", "UPSTREAM_LIMIT", "UPSTREAM_GRACE_SECONDS"}


def test_every_setting_of_the_template_reaches_a_function(first: dict[str, Any]) -> None:
    """A parameter that no function is given would be changed in vain."""
    given = {
        setting: TEMPLATE["Parameters"][parameter_name(setting)].get("Default")
        for setting in TEMPLATE_SETTINGS
    }
    there = {setting for name in FUNCTIONS.values() for setting in settings_of(first, name, {})}
    assert given.keys() <= there


def test_there_is_one_stage(first: dict[str, Any]) -> None:
    """Another public one would have no throttle, no access log and no alarm."""
    stages = of_type(first, "AWS::ApiGateway::Stage", "AWS::ApiGateway::Deployment").values()
    assert {stage["StageName"] for stage in stages if "StageName" in stage} == {STAGE}
