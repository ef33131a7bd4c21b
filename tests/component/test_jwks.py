"""The public keys of our webhooks are where everybody looks for them."""

import json
from dataclasses import replace

import pytest

from adapters import ed25519
from adapters.clock import SystemClock
from adapters.secrets import SecretsManager
from core.errors import Unavailable
from core.webhook import public_key_set
from tests.component import world
from tests.component.test_api import in_world
from tests.component.world import ApiWorld

NEW, OLD = (ed25519.public_key(ed25519.generate_private_key()) for _ in range(2))
WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
DOCUMENT = {
    "upstream_key": "upstream",
    "clients": {"alice": "key"},
    "webhook_secrets": [WEBHOOK_SECRET],
    "token_keys": ["T" * 32],
}


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


async def test_an_unusable_secret_is_no_secret_and_replaces_none() -> None:
    """Without one nothing is answered; with one at hand the service goes on, and the log says why."""
    texts = ["{}", json.dumps(DOCUMENT), "{}"]

    class Manager:
        def get_secret_value(self, **_: str) -> dict[str, object]:
            return {"SecretString": texts.pop(0), "ResponseMetadata": {"RequestId": "id"}}

    secrets = SecretsManager(Manager(), "secret", SystemClock())
    with pytest.raises(Unavailable, match=r"the secret is unusable, see docs/deploy\.md: clients must be"):
        await secrets.get()
    found = await secrets.get()
    secrets.expire()
    assert await secrets.get() is found


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
