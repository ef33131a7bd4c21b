"""The template and the code say the same, and grant no more than is used."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.settings import ApiSettings
from core.config import CallSettings, Reader
from core.errors import SettingError
from infra import FUNCTIONS as CODE
from infra import ROOT
from infra.docker.environment import VARIABLES
from infra.local.deploy import parameter_name
from infra.local.settings import TEMPLATE_SETTINGS
from infra.local.upstream_model import Behaviour
from notifier.settings import NotifierSettings
from processor.run import FUNCTION_LIMIT_MS
from processor.settings import ProcessorSettings
from tests.component.contract import errors_of
from tests.system import metrics
from tests.system.actions import used_actions
from tests.system.template import FUNCTIONS, TEMPLATE, properties, variables

SETTINGS: dict[str, Any] = {
    "api": ApiSettings,
    "processor": ProcessorSettings,
    "notifier": NotifierSettings,
}
# Read by Python itself, by boto3 and by the wiring; the last is set by sam.
NOT_SETTINGS = {"PYTHONPATH", "AWS_ENDPOINT_URL", "STACK_NAME", "AWS_SAM_LOCAL"}
NUMBERS = {
    name: TEMPLATE["Parameters"][parameter_name(name)]
    for name in TEMPLATE_SETTINGS
    if TEMPLATE["Parameters"].get(parameter_name(name), {}).get("Type") == "Number"
}
QUEUES = {"WorkQueue": "processor", "NotificationQueue": "notifier", "NotificationRetryQueue": "notifier"}
LOGS = {"logs:CreateLogStream", "logs:PutLogEvents"}
# What Lambda does in the notifier's name, to receive for it.
EVENT_SOURCE = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}


class Recording(dict[str, str]):
    """Remembers what was asked for."""

    def __init__(self) -> None:
        super().__init__({"UPSTREAM_URL": "http://upstream"})
        self.asked: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        required = default == "" and key.endswith(("_URL", "_ID", "_NAME"))
        return super().get(key, "http://given" if required else default)


def granted(package: str) -> set[str]:
    """Return what a function's role allows; for DynamoDB with the table."""
    role = FUNCTIONS[package].replace("Function", "Role")
    policies = list(properties(role)["Policies"])
    policies += [
        row["Properties"]
        for row in TEMPLATE["Resources"].values()
        if row["Type"] == "AWS::IAM::Policy" and {"Ref": role} in row["Properties"]["Roles"]
    ]
    return {
        _with_table(action, statement)
        for policy in policies
        for statement in policy["PolicyDocument"]["Statement"]
        for action in _listed(statement["Action"])
    }


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _with_table(action: str, statement: dict[str, Any]) -> str:
    service, _, name = action.partition(":")
    if service != "dynamodb":
        return action
    return (
        f"dynamodb:{'WindowTable' if 'WindowTable' in str(statement['Resource']) else 'SigningTable'}:{name}"
    )


@pytest.mark.parametrize("package", FUNCTIONS)
def test_every_variable_is_read_and_every_setting_is_given(package: str) -> None:
    """What the template sets is what the function's settings read: nothing more, nothing less."""
    environment = Recording()
    SETTINGS[package].read(environment)
    assert variables(package) - NOT_SETTINGS == environment.asked - NOT_SETTINGS


@pytest.mark.parametrize(("setting", "parameter"), NUMBERS.items(), ids=NUMBERS)
def test_a_parameter_allows_what_its_setting_does(setting: str, parameter: dict[str, Any]) -> None:
    """What CloudFormation lets through no function refuses at its start, and the other way round."""
    for bound, beyond in (("MinValue", -0.001), ("MaxValue", 1)):
        value = parameter[bound]
        CallSettings.read(Reader({"UPSTREAM_URL": "http://upstream", setting: f"{value}"}))
        with pytest.raises(SettingError, match=setting):
            CallSettings.read(Reader({"UPSTREAM_URL": "http://upstream", setting: f"{value + beyond}"}))


@pytest.mark.parametrize("name", TEMPLATE["Parameters"])
def test_a_parameter_is_described_and_has_a_rule(name: str) -> None:
    """CloudFormation refuses a wrong value before it changes anything; its default passes."""
    parameter = TEMPLATE["Parameters"][name]
    assert parameter["Description"]
    assert parameter.keys() & {"AllowedValues", "AllowedPattern", "MinValue"}
    if "AllowedPattern" in parameter:
        assert re.fullmatch(parameter["AllowedPattern"], parameter["Default"])


def test_what_sam_local_is_told_is_what_the_functions_read() -> None:
    """Each variable that names a resource is in the file that `infra.docker.environment` prints."""
    blocks = [TEMPLATE["Globals"]["Function"], *map(properties, FUNCTIONS.values())]
    given = {name: value for block in blocks for name, value in block["Environment"]["Variables"].items()}
    resources = {name for name, value in given.items() if value.get("Ref") in TEMPLATE["Resources"]}
    assert resources | {"TABLE_NAME", "WINDOW_TABLE_NAME"} == {*VARIABLES}


@pytest.mark.parametrize("package", FUNCTIONS)
def test_every_handler_exists(package: str) -> None:
    """The template names a module that has the handler as its last word."""
    module, _, name = properties(FUNCTIONS[package])["Handler"].rpartition(".")
    source = (CODE / Path(*module.split("."))).with_suffix(".py").read_text()
    assert f"\n{name} = " in source


@pytest.mark.parametrize("package", FUNCTIONS)
def test_a_function_may_do_what_it_does(package: str) -> None:
    """The role grants the actions that the code uses: one more is a risk, one fewer an outage."""
    expected = (
        used_actions(package) | LOGS | (EVENT_SOURCE if package in {"processor", "notifier"} else set())
    )
    assert granted(package) == expected


def test_the_api_may_touch_each_queue_only_so_far() -> None:
    """It sends, and receives and deletes nothing."""
    (policy,) = properties("ApiRole")["Policies"]
    grants: dict[str, set[str]] = {}
    for statement in policy["PolicyDocument"]["Statement"]:
        resources = statement["Resource"]
        for resource in resources if isinstance(resources, list) else [resources]:
            actions = {action for action in _listed(statement["Action"]) if action.startswith("sqs:")}
            if actions:
                grants.setdefault(resource["GetAtt"].removesuffix(".Arn"), set()).update(actions)
    assert grants == {
        "WorkQueue": {"sqs:SendMessage", "sqs:GetQueueAttributes"},
        "NotificationQueue": {"sqs:SendMessage"},
        "WorkDeadLetterQueue": {"sqs:GetQueueAttributes"},
        "NotificationDeadLetterQueue": {"sqs:GetQueueAttributes"},
    }


def test_no_role_names_everything() -> None:
    """Resources are named one by one."""
    assert "*" not in str([properties(f"{name.removesuffix('Function')}Role") for name in FUNCTIONS.values()])


def test_what_must_not_be_lost_is_kept() -> None:
    """Tables and the secret outlive the stack; tables are encrypted and can be restored to any second."""
    for name in ("SigningTable", "WindowTable", "Secret"):
        assert TEMPLATE["Resources"][name]["DeletionPolicy"] == "RetainExceptOnCreate"
        assert TEMPLATE["Resources"][name]["UpdateReplacePolicy"] == "Retain"
    for name in ("SigningTable", "WindowTable"):
        assert properties(name)["SSESpecification"]["SSEEnabled"] is True
        assert properties(name)["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True


@pytest.mark.parametrize("name", ["WorkDeadLetterQueue", "NotificationDeadLetterQueue"])
def test_dead_letters_are_kept_for_as_long_as_queues_can(name: str) -> None:
    """Whoever is on holiday finds them still."""
    assert properties(name)["MessageRetentionPeriod"] == 14 * 24 * 3600


def test_access_logs_hold_no_query_string() -> None:
    """Messages and webhook URLs travel there."""
    logging = str(properties("Api")["AccessLogSetting"])
    assert "$context.path" in logging
    assert not any(word in logging.lower() for word in ("query", "resourcepath", "authorization"))


def test_the_gateway_answers_in_the_service_s_shape() -> None:
    """Its own errors too have a request id, the status and a message."""
    for response in properties("Api")["GatewayResponses"].values():
        body = yaml.safe_load(response["ResponseTemplates"]["application/json"])
        assert body["request_id"] == "$context.requestId"
        assert body["status"] == response["StatusCode"]
        assert errors_of("Problem", body) == []
        assert body["message"] == body["detail"]


def test_every_alarm_is_on_the_dashboard_and_in_the_documentation() -> None:
    """An alarm that nobody can look up is noise."""
    alarms = {
        name for name, value in TEMPLATE["Resources"].items() if value["Type"] == "AWS::CloudWatch::Alarm"
    }
    dashboard = metrics.dashboard_text()
    assert alarms == {name for name in alarms if f"${{{name}.Arn}}" in dashboard}
    documented = (ROOT / "docs" / "alarms.md").read_text()
    assert alarms == {name for name in alarms if f"`{name}`" in documented}


def test_what_costs_money_each_month_is_asked_for() -> None:
    """The dashboard is made on request, alarms where a topic tells somebody; by default there is neither."""
    conditions = {"AWS::CloudWatch::Alarm": "HasAlarmTopic", "AWS::CloudWatch::Dashboard": "HasDashboard"}
    rows = [row for row in TEMPLATE["Resources"].values() if row["Type"] in conditions]
    assert [row for row in rows if row.get("Condition") != conditions[row["Type"]]] == []
    defaults = {name: TEMPLATE["Parameters"][name]["Default"] for name in ("AlarmTopic", "DashboardEnabled")}
    assert defaults == {"AlarmTopic": "", "DashboardEnabled": "false"}


def test_every_metric_that_is_watched_is_emitted() -> None:
    """A name that the code does not say would never raise an alarm, and would draw no line."""
    said = {(package, name) for package in FUNCTIONS for name in metrics.emitted(package)}
    assert metrics.in_alarms() | metrics.on_dashboard() <= said


def test_every_metric_that_is_emitted_is_shown() -> None:
    """What is paid for and never looked at should go."""
    shown = {name for _, name in metrics.on_dashboard()}
    assert {name for package in FUNCTIONS for name in metrics.emitted(package)} <= shown


def test_every_metric_is_watched_in_its_own_stack() -> None:
    """Two stacks in an account neither ring each other's alarms nor hide each other's dead processor."""
    here = {"Ref": "AWS::StackName"}
    for row in metrics.alarms():
        assert {"Name": "stack", "Value": here} in row["Dimensions"]
    shown = [row for widget in metrics.dashboard() for row in widget.get("metrics", [])]  # type: ignore[attr-defined]
    assert {tuple(row[2:5:2]) for row in shown if row[0] == metrics.NAMESPACE} == {("stack", "function")}


def test_no_two_graphs_lie_on_each_other() -> None:
    """Each has a place of its own."""
    assert metrics.overlaps() == []


def test_every_graph_is_in_the_documentation() -> None:
    """Under its title: what it shows, and what is normal."""
    documented = (ROOT / "docs" / "alarms.md").read_text()
    titles = [str(widget["title"]) for widget in metrics.dashboard() if "metrics" in widget]
    assert titles == [title for title in titles if title in documented]


def test_every_make_target_that_is_named_exists() -> None:
    """In the template, the documentation and the messages of the code."""
    there = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    files = [ROOT / "template.yaml", ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    files += [*(ROOT / "infra").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    named = {
        name for path in files for name in re.findall(r"`make ([a-z-]+)|: make ([a-z-]+)", path.read_text())
    }
    assert {name or other for name, other in named} <= there


def test_the_containers_take_every_setting_of_the_local_stack() -> None:
    """`.env` means the same for `make run` and `docker compose up`."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    passed = {*compose["x-relay"]["environment"]}
    stand_in = {f"STANDIN_{field.name.upper()}" for field in fields(Behaviour)}
    keys = {"SYNTHESIA_API_KEY", "CLIENT_API_KEYS", "OPERATOR_API_KEYS", "WEBHOOK_SECRET"}
    own = {"UPSTREAM_URL", "WEBHOOK_ALLOW_PRIVATE", *keys}
    assert passed == {*TEMPLATE_SETTINGS, *stand_in, *own, "API_PORT"}


@pytest.mark.parametrize(("queue", "package"), QUEUES.items())
def test_a_message_stays_hidden_while_its_batch_is_worked_on(queue: str, package: str) -> None:
    """Six times the function's time-out: AWS's advice, for batches that are throttled and tried again."""
    timeout_s = properties(FUNCTIONS[package])["Timeout"]
    assert properties(queue)["VisibilityTimeout"] == 6 * timeout_s


@pytest.mark.parametrize(
    ("url", "fine"),
    [
        ("https://hiring.api.synthesia.io", True),
        ("http://upstream:8100", True),
        ("http://127.0.0.1:8100/path", True),
        ("http://hiring.api.synthesia.io", False),
        ("http://localhost.example", False),
        ("ftp://upstream", False),
    ],
)
def test_the_upstream_is_called_over_https_but_for_a_stand_in(url: str, *, fine: bool) -> None:
    """Our key travels in a header."""
    pattern = TEMPLATE["Parameters"]["UpstreamUrl"]["AllowedPattern"]
    assert bool(re.fullmatch(pattern, url)) is fine


def test_the_processor_knows_its_own_time_limit() -> None:
    """It starts no call that could outlive the function."""
    assert properties("ProcessorFunction")["Timeout"] * 1000 == FUNCTION_LIMIT_MS
