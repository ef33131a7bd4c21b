import json

import pytest
from botocore.exceptions import EndpointConnectionError

from adapters import ed25519
from adapters.clock import SystemClock
from adapters.secrets import CACHED_MS, STALE_MS_MAX, SecretsManager, parse_and_check
from core.errors import SettingError, Unavailable
from core.secrets import Secrets

WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OWN_SECRET = "whsec_" + "A" * 32
TOKEN_KEY = "T" * 32
DOCUMENT = {
    "upstream_key": "upstream",
    "clients": {"alice": "key-of-alice", "bob": "key-of-bob"},
    "operators": {"olga": "key-of-olga"},
    "webhook_secrets": [WEBHOOK_SECRET],
    "token_keys": [TOKEN_KEY],
}


def parse(**values: object) -> Secrets:
    return parse_and_check(json.dumps(DOCUMENT | values))


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"upstream_key": "with a blank"}, "upstream_key must be 1 to 256 visible ASCII"),
        ({"upstream_key": None}, "upstream_key must be 1 to 256 visible ASCII"),
        ({"clients": {"alice": "shared", "bob": "shared"}}, "clients must be distinct names"),
        ({"clients": {"alice": "line\n"}}, "clients must be distinct names"),
        ({"clients": {"al ice": "key"}}, "clients must be distinct names"),
        ({"clients": {"alice": ""}}, "clients must be distinct names"),
        ({"clients": {"alice": 1}}, "clients must be distinct names"),
        ({"clients": ["alice"]}, "clients must be a JSON object"),
        ({"operators": {"olga": "key-of-bob"}}, "operators must be other keys than those of clients"),
        ({"token_keys": ["T"]}, "token_keys must be 1 to 2 keys of 32 to 256"),
        ({"token_keys": []}, "token_keys must be 1 to 2 keys of 32 to 256"),
        ({"token_keys": [TOKEN_KEY] * 3}, "token_keys must be 1 to 2 keys of 32 to 256"),
        ({"webhook_secrets": []}, "webhook_secrets must have at least one secret"),
        ({"webhook_secrets": ["whsec_AAAA"]}, "webhook_secrets: expected whsec_ and 24 to 64 bytes"),
        ({"signing_keys": ["whsk_AAAA"]}, "signing_keys: expected whsk_"),
        ({"public_keys": ["whpk_AAAA"]}, "public_keys: expected whpk_"),
    ],
)
def test_an_unusable_secret_is_refused_in_words(values: dict[str, object], complaint: str) -> None:
    """The field and the rule are named; no value is."""
    with pytest.raises(SettingError, match=complaint):
        parse(**values)


def test_a_name_that_is_given_twice_is_refused() -> None:
    """JSON parsers keep the last value: a caller's key would be lost without a word."""
    text = json.dumps(DOCUMENT).replace('"bob"', '"alice"')
    with pytest.raises(SettingError, match="the secret names alice twice"):
        parse_and_check(text)


def test_a_caller_may_have_secrets_of_its_own() -> None:
    """Several during a rotation, and nobody else's webhooks are signed with them."""
    secrets = parse(client_webhook_secrets={"alice": [OWN_SECRET, WEBHOOK_SECRET]})
    assert secrets.webhook_secrets_of("alice") == (OWN_SECRET, WEBHOOK_SECRET)
    assert secrets.webhook_secrets_of("bob") == (WEBHOOK_SECRET,)


@pytest.mark.parametrize(
    "values",
    [
        {"webhook_secrets": []},
        {"webhook_secrets": "hunter2"},
        {"webhook_secrets": ["hunter2"]},
        {"client_webhook_secrets": {"alice": []}},
        {"client_webhook_secrets": {"alice": ["hunter2"]}},
        {"client_webhook_secrets": ["hunter2"]},
        {"signing_keys": "hunter2"},
        {"public_keys": ["hunter2"]},
        {"public_keys": [WEBHOOK_SECRET]},
        {"retired_public_keys": ["hunter2"]},
    ],
)
def test_a_malformed_secret_is_refused_without_repeating_it(values: dict[str, object]) -> None:
    """Nothing is signed with half a secret, and the log learns nothing of it."""
    with pytest.raises(SettingError) as refused:
        parse(**values)
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("key", ["sesame ", " sesame", "sesame\n", "k\u00f6y", "k\u200bey", "two words"])
def test_a_key_that_no_header_can_carry_is_refused_at_once(key: str) -> None:
    """Copied with a space or a line end, it would fail calls one by one; nothing repeats it."""
    with pytest.raises(SettingError) as refused:
        parse(upstream_key=key)
    assert key not in str(refused.value)


def test_the_halves_of_a_signing_key_belong_together() -> None:
    """Else receivers with the public half would refuse every webhook, and nobody would see why."""
    first, second = ed25519.generate_private_key(), ed25519.generate_private_key()
    assert parse(signing_keys=[first]).signing_keys == (first,)
    mixed = first[:48] + second[48:]
    with pytest.raises(SettingError, match="the two halves"):
        parse(signing_keys=[mixed])


def test_a_webhook_secret_may_lack_its_padding() -> None:
    """As `WEBHOOK_SECRET` of a local stack may, which is read by the same rules."""
    unpadded = "whsec_" + "A" * 34
    assert parse(webhook_secrets=[unpadded]).webhook_secrets == (unpadded,)


def test_the_token_key_of_version_0_1_is_still_read() -> None:
    """A deployment must not need a new secret first."""
    document = {name: value for name, value in DOCUMENT.items() if name != "token_keys"}
    assert Secrets.parse(json.dumps(document | {"token_key": TOKEN_KEY})).token_keys == (TOKEN_KEY,)


def test_no_key_is_shown() -> None:
    """A secret in a log line or a traceback would be anybody's."""
    shown = repr(parse(signing_keys=[ed25519.generate_private_key()]))
    assert not any(key in shown for key in ("key-of", "upstream'", TOKEN_KEY, "whsec_", "whsk_"))


class Vault:
    """A boto3 client of Secrets Manager that can be made to fail."""

    def __init__(self) -> None:
        self.fails = False

    def get_secret_value(self, **_: object) -> dict[str, object]:
        if self.fails:
            raise EndpointConnectionError(endpoint_url="https://secretsmanager")
        return {"SecretString": json.dumps(DOCUMENT), "ResponseMetadata": {"RequestId": "id"}}


class HandClock(SystemClock):
    """A clock that is set by hand."""

    at_ms = 1_000_000

    def monotonic_ms(self) -> int:
        return self.at_ms


async def test_a_secret_that_cannot_be_fetched_again_is_used_for_an_hour() -> None:
    """An outage of Secrets Manager is survived, but a key that was revoked does not work for ever."""
    vault, clock = Vault(), HandClock()
    secrets = SecretsManager(vault, "secret", clock)
    await secrets.get()
    vault.fails = True
    clock.at_ms += STALE_MS_MAX
    assert (await secrets.get()).upstream_key == "upstream"
    clock.at_ms += CACHED_MS + 1
    with pytest.raises(Unavailable):
        await secrets.get()
    with pytest.raises(Unavailable):
        secrets.current()
    vault.fails = False
    assert (await secrets.get()).upstream_key == "upstream"
