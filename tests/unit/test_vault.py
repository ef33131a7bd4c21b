"""The secret as the operator's tool changes it, on a client that behaves as Secrets Manager does."""

import json
from collections.abc import Sequence
from itertools import count
from typing import Any

from botocore.exceptions import ClientError

from infra.ops.connect import SecretsManagerVault
from ports import Conflict, Written

ANSWER = {"ResponseMetadata": {"RequestId": "id"}}
OLD, NEW, OTHER = ({"clients": {name: "key"}} for name in ("old", "new", "other"))


class SecretsManager:
    """Versions by id, and which one has each label."""

    def __init__(self) -> None:
        self._ids = count()
        self.texts: dict[str, str] = {}
        self.labels: dict[str, str] = {}
        self.put(OLD, "AWSCURRENT")
        self.loses_answer = False

    def put(self, document: dict[str, Any], label: str) -> str:
        version = f"version-{next(self._ids)}"
        self.texts[version], self.labels[label] = json.dumps(document), version
        return version

    def get_secret_value(self, **_: Any) -> dict[str, Any]:
        if not self.labels:
            raise ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "GetSecretValue")
        version = self.labels["AWSCURRENT"]
        return {**ANSWER, "VersionId": version, "SecretString": self.texts[version]}

    def put_secret_value(
        self,
        *,
        SecretString: str,  # noqa: N803
        VersionStages: Sequence[str] = ("AWSCURRENT",),  # noqa: N803
        **_: Any,
    ) -> dict[str, Any]:
        return {**ANSWER, "VersionId": self.put(json.loads(SecretString), VersionStages[0])}

    def update_secret_version_stage(
        self,
        *,
        VersionStage: str,  # noqa: N803
        RemoveFromVersionId: str,  # noqa: N803
        MoveToVersionId: str = "",  # noqa: N803
        **_: Any,
    ) -> dict[str, Any]:
        if self.labels.get(VersionStage) != RemoveFromVersionId:
            raise _refused()
        del self.labels[VersionStage]
        if MoveToVersionId:
            self.labels[VersionStage] = MoveToVersionId
            if self.loses_answer:  # and the SDK, which repeats the call, is refused
                raise _refused()
        return ANSWER


def _refused() -> ClientError:
    return ClientError({"Error": {"Code": "InvalidParameterException"}}, "UpdateSecretVersionStage")


async def test_a_write_replaces_what_was_read() -> None:
    """The new version is the current one, and no other label is left."""
    client = SecretsManager()
    vault = SecretsManagerVault(client, "secret")
    assert isinstance(await vault.write(await vault.read(), NEW), Written)
    assert (await vault.read()).document == NEW
    assert set(client.labels) == {"AWSCURRENT"}


async def test_a_write_never_replaces_what_another_wrote() -> None:
    """The other operator's version stays the current one, and is what the next decision is made on."""
    client = SecretsManager()
    vault = SecretsManagerVault(client, "secret")
    before = await vault.read()
    client.put(OTHER, "AWSCURRENT")
    result = await vault.write(before, NEW)
    assert isinstance(result, Conflict)
    assert result.record is not None
    assert result.record.document == OTHER == (await vault.read()).document
    assert set(client.labels) == {"AWSCURRENT"}


async def test_a_repeated_write_that_had_landed_is_no_conflict() -> None:
    """Else a key would be added, shown to nobody, and refused as added already."""
    client = SecretsManager()
    vault = SecretsManagerVault(client, "secret")
    client.loses_answer = True
    assert isinstance(await vault.write(await vault.read(), NEW), Written)


async def test_only_an_empty_secret_is_filled() -> None:
    """A new stack's has no version yet; whatever another one holds stays."""
    client = SecretsManager()
    vault = SecretsManagerVault(client, "secret")
    assert not await vault.fill(NEW)
    client.labels.clear()
    assert await vault.fill(NEW)
    assert (await vault.read()).document == NEW
