"""The local stack's settings: what they default to, and that nonsense is refused by name."""

import base64
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from core.errors import SettingError
from core.window import Limits
from infra import ROOT
from infra.local.deploy import parameter_name
from infra.local.run import console_keys
from infra.local.settings import TEMPLATE_SETTINGS, LocalSettings, Ports, environment, misspelled

REAL_UPSTREAM = {"UPSTREAM_URL": "https://signing.example", "SYNTHESIA_API_KEY": "real-key"}
SECRET = "whsec_" + base64.b64encode(bytes(24)).decode()


def test_nothing_set_runs_against_the_stand_in() -> None:
    """Without any setting there is the stand-in, one client with its key, and ten calls a minute."""
    settings = LocalSettings.read({})
    assert settings.uses_stand_in
    assert settings.calls.url == "http://127.0.0.1:8100"
    assert settings.calls.limits == Limits(10, 60_000)
    assert settings.ports == Ports(api=8000, upstream=8100, inbox=8200, aws=4566)
    assert settings.upstream_key == "local-dev-key"
    assert settings.clients == {"default": "local-dev-key"}
    assert settings.operators == {"operator": "local-operator-key"}
    assert settings.template_values == {
        "UPSTREAM_URL": "http://127.0.0.1:8100",
        "WEBHOOK_ALLOW_PRIVATE": "true",
        "PUBLIC_URL": "http://127.0.0.1:8000",
        "TRUST_REQUEST_START": "true",
    }


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8100", True),
        ("http://localhost:8100/", True),
        ("http://127.0.0.1:8101", False),
        ("https://127.0.0.1:8100", False),
        ("https://hiring.api.synthesia.io", False),
    ],
)
def test_the_stand_in_is_known_by_its_address(url: str, expected: bool) -> None:
    """Only the upstream that would be our own stand-in is started here."""
    values = {"UPSTREAM_URL": url, "SYNTHESIA_API_KEY": "key"}
    assert LocalSettings.read(values).uses_stand_in is expected


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"UPSTREAM_URL": "https://signing.example"}, "SYNTHESIA_API_KEY is required when UPSTREAM_URL"),
        ({"SYNTHESIA_API_KEY": "two words"}, "SYNTHESIA_API_KEY must be 1 to 256 visible ASCII"),
        ({"UPSTREAM_URL": "ftp://x"}, "UPSTREAM_URL must be an http or https URL"),
        ({"UPSTREAM_LIMIT": "0"}, "UPSTREAM_LIMIT must be a whole number from 1 to 100"),
        ({"UPSTREAM_LIMIT": "101"}, "UPSTREAM_LIMIT must be a whole number from 1 to 100"),
        ({"UPSTREAM_WINDOW_SECONDS": "0.9"}, "UPSTREAM_WINDOW_SECONDS must be a number of seconds"),
        ({"UPSTREAM_WINDOW_SECONDS": "86401"}, "UPSTREAM_WINDOW_SECONDS must be a number of seconds"),
        ({"WEBHOOK_RETRY_SECONDS": "5,soon"}, "WEBHOOK_RETRY_SECONDS must be 1 to 20"),
        ({"WEBHOOK_ALLOW_PRIVATE": "maybe"}, "WEBHOOK_ALLOW_PRIVATE must be true or false"),
        ({"WEBHOOK_PORTS": "443,0"}, "WEBHOOK_PORTS must be comma-separated numbers"),
        (
            {"WEBHOOK_SECRET": "whsec_c2hvcnQ="},
            "WEBHOOK_SECRET: expected whsec_ and 24 to 64 bytes in base64",
        ),
        (
            {"WEBHOOK_SECRET": SECRET.removeprefix("whsec_")},
            "WEBHOOK_SECRET: expected whsec_ and 24 to 64 bytes in base64",
        ),
        ({"WEBHOOK_SECRET": "whsec_?"}, "WEBHOOK_SECRET: expected whsec_ and 24 to 64 bytes in base64"),
        ({"API_PORT": "65536"}, "API_PORT must be a whole number from 1 to 65535"),
        ({"API_PORT": "8100"}, "API_PORT, UPSTREAM_PORT, INBOX_PORT and AWS_PORT must differ"),
    ],
)
def test_a_bad_value_is_refused_by_name(values: Mapping[str, str], complaint: str) -> None:
    """A bad value stops the start with the variable's name and what was expected."""
    with pytest.raises(SettingError, match=complaint):
        LocalSettings.read(values)


@pytest.mark.parametrize("setting", ["CLIENT_API_KEYS", "OPERATOR_API_KEYS"])
@pytest.mark.parametrize("text", ["alone", "a:", ":key", "a:k,a:l", "a:k,b:k", "a:k,", "a b:k", "a:k l"])
def test_unusable_keys_are_refused_without_being_repeated(setting: str, text: str) -> None:
    """Clients and operators have distinct names and keys; the complaint repeats none of them."""
    with pytest.raises(SettingError) as refused:
        LocalSettings.read({setting: text})
    assert str(refused.value).startswith(f"{setting} must be distinct names (letters, digits, _ . -;")


@pytest.mark.parametrize(
    "values",
    [
        {"CLIENT_API_KEYS": "shop:first", "OPERATOR_API_KEYS": "olga:second,shop:first"},
        {"OPERATOR_API_KEYS": "olga:local-dev-key"},
        {**REAL_UPSTREAM, "OPERATOR_API_KEYS": "olga:real-key"},
    ],
)
def test_no_caller_is_an_operator(values: Mapping[str, str]) -> None:
    """A caller's key, a default one too, would let that caller see everybody's requests."""
    with pytest.raises(SettingError, match="OPERATOR_API_KEYS must be other keys than those of CLIENT_API"):
        LocalSettings.read(values)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"OPERATOR_API_KEYS": "olga:second, otto:thi:rd"}, {"olga": "second", "otto": "thi:rd"}),
        ({"CLIENT_API_KEYS": "shop:first"}, {}),
        ({"CLIENT_API_KEYS": "default:local-dev-key,shop:local-operator-key"}, {}),
        ({"SYNTHESIA_API_KEY": "a key that is no default".replace(" ", "-")}, {}),
        (REAL_UPSTREAM, {}),
    ],
)
def test_the_default_operator_stands_beside_the_default_caller_alone(
    values: Mapping[str, str], expected: Mapping[str, str]
) -> None:
    """Whoever set keys of their own gets no operator whose key everybody knows."""
    assert LocalSettings.read(values).operators == expected


def test_clients_have_keys_of_their_own() -> None:
    """Callers' keys are not the upstream's; a key may hold a colon."""
    settings = LocalSettings.read({**REAL_UPSTREAM, "CLIENT_API_KEYS": "shop:first, billing:sec:ond"})
    assert settings.upstream_key == "real-key"
    assert settings.clients == {"shop": "first", "billing": "sec:ond"}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, "operator: local-operator-key"),
        ({"CLIENT_API_KEYS": "shop:first"}, "OPERATOR_API_KEYS makes operators"),
        ({"CLIENT_API_KEYS": "shop:first", "OPERATOR_API_KEYS": "olga:second"}, "one of your OPERATOR"),
    ],
)
def test_the_start_says_which_key_opens_the_console(values: Mapping[str, str], expected: str) -> None:
    """The default one is shown, since it is no secret; none that somebody set ever is."""
    said = console_keys(LocalSettings.read(values))
    assert expected in said
    assert not {"first", "second"} & set(said.split())


@pytest.mark.parametrize(("limit", "expected"), [("1", 3), ("10", 12), ("100", 12)])
def test_warm_workers_follow_the_limit(limit: str, expected: int) -> None:
    """Two more workers than calls, and twelve at most."""
    assert LocalSettings.read({"UPSTREAM_LIMIT": limit}).warm_workers == expected


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is set is taken; the file fills in the rest, its values as they stand."""
    dotenv = tmp_path / ".env"
    dotenv.write_text("UPSTREAM_LIMIT=3\nAPI_PORT=1\nSYNTHESIA_API_KEY=a${HOME}b\n")
    monkeypatch.setenv("API_PORT", "2")
    monkeypatch.delenv("UPSTREAM_LIMIT", raising=False)
    monkeypatch.delenv("SYNTHESIA_API_KEY", raising=False)
    values = environment(dotenv)
    assert (values["UPSTREAM_LIMIT"], values["API_PORT"]) == ("3", "2")
    assert values["SYNTHESIA_API_KEY"] == "a${HOME}b"


def test_a_missing_file_is_no_error(tmp_path: Path) -> None:
    """Nobody needs a `.env`."""
    assert "PATH" in environment(tmp_path / ".env")


def template_parameters() -> dict[str, dict[str, object]]:
    class Loader(yaml.SafeLoader):
        """Reads CloudFormation's tags as nothing."""

    Loader.add_multi_constructor("!", lambda _loader, _suffix, _node: None)
    template = yaml.load((ROOT / "template.yaml").read_text(), Loader)  # noqa: S506 - a safe loader of ours
    parameters: dict[str, dict[str, object]] = template["Parameters"]
    return parameters


def test_every_setting_is_a_parameter() -> None:
    """Whatever is handed to the deployment is a parameter of the template."""
    handed = {*TEMPLATE_SETTINGS, *LocalSettings.read({}).template_values, "DEPENDENCIES_PATH"}
    assert {parameter_name(name) for name in handed} <= {*template_parameters()}


def test_the_template_has_the_same_defaults() -> None:
    """A call setting that is not set means the same here, on AWS and in `.env.example`."""
    defaults = {name: str(value["Default"]) for name, value in template_parameters().items()}
    values = {name: defaults[parameter_name(name)] for name in TEMPLATE_SETTINGS}
    assert LocalSettings.read(values).calls == LocalSettings.read({}).calls
    example = (ROOT / ".env.example").read_text().replace("\n#", "\n")
    for name in TEMPLATE_SETTINGS:
        assert f"\n{name}={values[name]}\n" in example


def test_a_misspelled_name_is_told(tmp_path: Path) -> None:
    """What looks like one of ours but is not would silently change nothing."""
    dotenv = tmp_path / ".env"
    dotenv.write_text("UPSTREAM_LIMITS=5\nUPSTREAM_LIMIT=5\nHOME=/tmp\n#WEBHOOK_PORT=1\n")
    found = misspelled(dotenv, ROOT / ".env.example")
    assert found == ["UPSTREAM_LIMITS is not known: did you mean UPSTREAM_LIMIT?"]
    assert misspelled(tmp_path / "none", ROOT / ".env.example") == []


@pytest.mark.parametrize(("window_s", "expected_s"), [("60", 60), ("3600", 60), ("4", 4)])
def test_the_schedule_follows_a_short_window(window_s: str, expected_s: float) -> None:
    """Where time is compressed, nothing waits for a minute that is not."""
    assert LocalSettings.read({"UPSTREAM_WINDOW_SECONDS": window_s}).schedule_s == expected_s
