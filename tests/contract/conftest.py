"""The mocked AWS that the adapters' suites share. Making a client is slow, making a table is not."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import boto3
import pytest
from moto import mock_aws


@pytest.fixture(scope="module")
def aws() -> Iterator[boto3.Session]:
    """Return a session of the mocked AWS."""
    with mock_aws():
        yield boto3.Session(
            aws_access_key_id="test", aws_secret_access_key="test", region_name="eu-central-1"
        )


@pytest.fixture(scope="module")
def client(aws: boto3.Session) -> Any:
    """Return a DynamoDB client."""
    return aws.client("dynamodb")


@pytest.fixture
def table(client: Any) -> str:
    """Return a new table like `SigningTable`."""
    name = f"signing-{uuid4().hex}"
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": attribute, "AttributeType": kind}
            for attribute, kind in (("PK", "S"), ("SK", "S"), ("due_kind", "S"), ("due_ms", "N"))
        ],
        KeySchema=_keys("PK", "SK"),
        GlobalSecondaryIndexes=[
            {
                "IndexName": "due",
                "KeySchema": _keys("due_kind", "due_ms"),
                "Projection": {
                    "ProjectionType": "INCLUDE",
                    "NonKeyAttributes": ["oldest_ms", "state", "created_ms"],
                },
            }
        ],
    )
    return name


def _keys(hash_key: str, range_key: str) -> list[dict[str, str]]:
    return [
        {"AttributeName": hash_key, "KeyType": "HASH"},
        {"AttributeName": range_key, "KeyType": "RANGE"},
    ]


@pytest.fixture(scope="module")
def sqs(aws: boto3.Session) -> Any:
    """Return an SQS client."""
    return aws.client("sqs")


@pytest.fixture
def queue_url(sqs: Any) -> str:
    """Return the URL of a new queue."""
    url: str = sqs.create_queue(QueueName=uuid4().hex)["QueueUrl"]
    return url
