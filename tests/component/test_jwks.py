"""The public keys of our webhooks are where everybody looks for them."""

import json
from dataclasses import replace

import pytest

from adapters import ed25519
from adapters.clock import SystemClock
from adapters.secrets import Secrets, SecretsManager
from core.errors import Unavailable
from core.webhook import public_key_set
from tests.component import world
from tests.component.test_api import in_world
from tests.component.world import ApiWorld

NEW, OLD = (ed25519.public_key(ed25519.generate_private_key()) for _ in range(2))
WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OWN_SECRET = "whsec_" + "A" * 32
DOCUMENT = {
    "upstream_key": "upstream",
    "clients": {"alice": "key"},
    "webhook_secrets": [WEBHOOK_SECRET],
    "token_key": "token",
}


def parse(**values: object) -> Secrets:
    return Secrets.parse(json.dumps(DOCUMENT | values))


def test_keys_are_published_during_a_rotation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key of one's own: the keys that sign, and after them the retired ones."""
    secrets = replace(world.SECRETS, public_keys=(NEW,), retired_public_keys=(OLD,))
    monkeypatch.setattr(world, "SECRETS", secrets)

    async def scenario(api: ApiWorld) -> None:
        response = await api.client().get("/.well-known/jwks.json")
        assert response.status_code == 200
        assert response.json()["keys"] == public_key_set([NEW, OLD])["keys"]
        assert response.headers["cache-control"] == "public, max-age=300"

    in_world(scenario)


def test_a_set_without_keys_is_a_set() -> None:
    """A service that signs with shared secrets only says so by an empty set."""

    async def scenario(api: ApiWorld) -> None:
        assert (await api.client().get("/.well-known/jwks.json")).json()["keys"] == []

    in_world(scenario)


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
    with pytest.raises(Unavailable) as refused:
        parse(**values)
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_no_secret_shows() -> None:
    """Printing the secret, as a traceback may, shows public keys at most."""
    shown = repr(parse(client_webhook_secrets={"alice": [OWN_SECRET]}, public_keys=[NEW]))
    assert shown == f"Secrets(public_keys=('{NEW}',), retired_public_keys=())"


@pytest.mark.parametrize("key", ["key ", " key", "key\n", "k\u00f6y", "k\u200bey", "two words"])
def test_a_key_that_no_header_can_carry_is_refused_at_once(key: str) -> None:
    """Copied with a space or a line end, it would fail calls one by one; nothing repeats it."""
    with pytest.raises(Unavailable, match="malformed") as refused:
        parse(upstream_key=key)
    assert key not in str(refused.value)


def test_a_signing_key_of_another_form_is_refused_at_once() -> None:
    """Found at the first webhook only, it would hold up all of them."""
    with pytest.raises(Unavailable, match="malformed"):
        parse(signing_keys=["whsk_short"])


async def test_a_refused_key_is_fetched_anew() -> None:
    """An instance may have kept an old one: the next use asks again, before five minutes are over."""
    fetched = []

    class Manager:
        def get_secret_value(self, **_: str) -> dict[str, object]:
            fetched.append(1)
            return {"SecretString": json.dumps(DOCUMENT), "ResponseMetadata": {"RequestId": "id"}}

    secrets = SecretsManager(Manager(), "secret", SystemClock())
    await secrets.get()
    await secrets.get()
    assert len(fetched) == 1
    secrets.expire()
    await secrets.get()
    assert len(fetched) == 2
