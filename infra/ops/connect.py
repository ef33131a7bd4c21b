"""Finds a deployed stack, on AWS or on an emulator, and connects the actions to it."""

import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from adapters import aws
from adapters.aws import in_thread
from adapters.clock import SystemClock
from adapters.dynamodb_history import DynamoHistory
from adapters.dynamodb_jobs import DynamoJobStore
from adapters.dynamodb_window import DynamoWindowStore
from adapters.records import decode_request
from adapters.sqs import BATCH_MAX, WAIT_S_MAX, SqsQueue
from core.errors import Unavailable
from core.gate import Gate
from core.request import Request
from infra.local.aws import LocalSession
from infra.ops.ports import NothingFound, Ports, Secret, StoredSecret
from ports import Conflict, Received, Written

ATTEMPTS = 4
READ_TIMEOUT_S = 10.0
CURRENT, CHANGE_LABEL = "AWSCURRENT", "SIGNING-RELAY-CHANGE"
HAS_NO_VERSION = frozenset({"ResourceNotFoundException"})
LABEL_IS_ELSEWHERE = frozenset({"InvalidParameterException", "ResourceNotFoundException"})
LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1", "localhost.localstack.cloud"})
HELD_S = 900  # a dead letter is hidden from other receivers for so long, unless it is released


def connect(stack: str, endpoint: str | None, region: str | None) -> Ports:
    """Look up a stack's resources and return its ports; raises `Unavailable`."""
    make = _clients(endpoint, region)
    try:
        names = _resources(make("cloudformation"), stack)
    except (ClientError, BotoCoreError) as error:
        raise Unavailable(f"stack {stack}: {error}") from error
    dynamodb, sqs = make("dynamodb"), make("sqs")

    return Ports(
        store=DynamoJobStore(dynamodb, names["SigningTable"]),
        scan=DynamoScan(dynamodb, names["SigningTable"]),
        window_store=DynamoWindowStore(dynamodb, names["WindowTable"], _no_window),
        notifications=SqsQueue(sqs, names["NotificationQueue"]),
        dead_letters={
            "work": SqsDeadLetters(sqs, names["WorkDeadLetterQueue"], HELD_S),
            "notification": SqsDeadLetters(sqs, names["NotificationDeadLetterQueue"], HELD_S),
        },
        vault=SecretsManagerVault(make("secretsmanager"), names["Secret"]),
        history=DynamoHistory(dynamodb, names["SigningTable"]),
        clock=SystemClock(),
    )


def _clients(endpoint: str | None, region: str | None) -> Any:
    """Return a session for clients. A loopback endpoint gets dummy credentials, never the operator's."""
    config = aws.config(attempts=ATTEMPTS, read_timeout_s=READ_TIMEOUT_S)
    if endpoint and urlsplit(endpoint).hostname in LOOPBACK_NAMES:
        local, place = LocalSession(endpoint), {"region_name": region} if region else {}
        return lambda service: local.client(service, **place)
    session: Any = boto3.Session(region_name=region)
    return lambda service: session.client(service, endpoint_url=endpoint, config=config)


def _resources(cloudformation: Any, stack: str) -> Mapping[str, str]:
    """Return the resources' names. The stack's parameters name the tables that it took over."""
    described = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    given = {row["ParameterKey"]: row["ParameterValue"] for row in described.get("Parameters", [])}
    taken_over = {table: given.get(f"{table}Name", "") for table in ("SigningTable", "WindowTable")}
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack)
    own = {
        row["LogicalResourceId"]: row["PhysicalResourceId"]
        for page in pages
        for row in page["StackResourceSummaries"]
    }
    return own | {table: name for table, name in taken_over.items() if name}


def _no_window() -> Gate:
    raise NothingFound("there is no window yet: the first request makes it")


class DynamoScan:
    """A `RequestScan`. It reads the whole table: acceptable for a person, not for a function."""

    def __init__(self, client: Any, table: str) -> None:
        self._client = client
        self._table = table

    async def requests(self) -> AsyncIterator[Request]:
        """Return every request, page by page."""
        start: dict[str, Any] = {}
        while True:
            page = await in_thread(
                self._client.scan,
                TableName=self._table,
                FilterExpression="begins_with(SK, :request)",
                ExpressionAttributeValues={":request": {"S": "REQ#"}},
                ConsistentRead=True,
                **start,
            )
            for item in page["Items"]:
                yield decode_request(item)
            if "LastEvaluatedKey" not in page:
                return
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


class SqsDeadLetters(SqsQueue):
    """A `DeadLetterQueue`. Received messages are hidden for `held_s`, or until they are released."""

    def __init__(self, client: Any, url: str, held_s: int) -> None:
        super().__init__(client, url)
        self._held_s = held_s

    async def receive(self, limit: int, wait_ms: int) -> list[Received]:
        """Receive messages and hold them; a wait is rounded down to whole seconds."""
        answer = await in_thread(
            self._client.receive_message,
            QueueUrl=self._url,
            MaxNumberOfMessages=min(limit, BATCH_MAX),
            WaitTimeSeconds=min(wait_ms // 1000, WAIT_S_MAX),
            VisibilityTimeout=self._held_s,
        )
        return [Received(row["Body"], row["ReceiptHandle"]) for row in answer.get("Messages", [])]

    async def release(self, receipts: Sequence[str]) -> None:
        """Make them receivable again at once."""
        for start in range(0, len(receipts), BATCH_MAX):
            entries = [
                {"Id": str(index), "ReceiptHandle": receipt, "VisibilityTimeout": 0}
                for index, receipt in enumerate(receipts[start : start + BATCH_MAX])
            ]
            await in_thread(self._client.change_message_visibility_batch, QueueUrl=self._url, Entries=entries)


class SecretsManagerVault:
    """A `Vault`. Secrets Manager has no conditional write, but moves a label only from a named version.

    So a new version is put without the label AWSCURRENT, which is then moved from the version that was read.
    """

    def __init__(self, client: Any, secret_id: str) -> None:
        self._client = client
        self._secret_id = secret_id

    async def read(self) -> StoredSecret:
        """Return the current version; raises `Unavailable`, which never repeats the secret."""
        answer = await in_thread(self._client.get_secret_value, SecretId=self._secret_id)
        try:
            secret: Secret = json.loads(answer["SecretString"])
            secret["clients"].items()
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Unavailable("the secret is empty or malformed") from None
        return StoredSecret(answer["VersionId"], secret)

    async def write(
        self, before: StoredSecret | None, after: Secret
    ) -> Written[StoredSecret] | Conflict[StoredSecret]:
        """Put a version, and make it the current one if `before` still is; raises `Unavailable`."""
        label = f"{CHANGE_LABEL}-{uuid4().hex}"
        put = await in_thread(
            self._client.put_secret_value,
            SecretId=self._secret_id,
            SecretString=json.dumps(after),
            VersionStages=[label],
        )
        version = put["VersionId"]
        try:
            await self._move_label(CURRENT, before.version if before else "", version)
        except ClientError:
            stored = await self.read()
            # A repeat of a move that succeeded is refused too.
            if stored.version != version:
                return Conflict(stored)
        finally:
            with contextlib.suppress(ClientError, Unavailable):  # an extra label does no harm
                await self._move_label(label, version)
        return Written(StoredSecret(version, after))

    async def fill(self, document: Secret) -> bool:
        """Put the first version; False if there is any version. Raises `Unavailable`."""
        try:
            await in_thread(self._client.get_secret_value, keep=HAS_NO_VERSION, SecretId=self._secret_id)
        except ClientError:
            text = json.dumps(document)
            await in_thread(self._client.put_secret_value, SecretId=self._secret_id, SecretString=text)
            return True
        return False

    async def _move_label(self, label: str, from_version: str, to_version: str = "") -> None:
        """Move a label between versions, or only remove it. AWS later deletes versions without a label."""
        await in_thread(
            self._client.update_secret_version_stage,
            keep=LABEL_IS_ELSEWHERE,
            SecretId=self._secret_id,
            VersionStage=label,
            RemoveFromVersionId=from_version,
            **({"MoveToVersionId": to_version} if to_version else {}),
        )
