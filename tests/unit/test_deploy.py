"""Which tables the local deployment takes over, where an emulator kept them and nothing else."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from infra.local import deploy

USED, EMPTY = "used", "empty"


class Session:
    """Clients of the mocked AWS."""

    endpoint_url = "http://mocked"

    def client(self, service_name: str, **_: Any) -> Any:
        return boto3.client(service_name, region_name="us-east-1")  # type: ignore[call-overload]


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with mock_aws():
        yield Session()


def make(session: Session, name: str, what: str) -> str:
    client, full_name = session.client("dynamodb"), f"{deploy.STACK_NAME}-{name}"
    client.create_table(
        TableName=full_name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "PK", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "PK", "AttributeType": "S"}],
    )
    if what == USED:
        client.put_item(TableName=full_name, Item={"PK": {"S": "something"}})
    return full_name


def test_the_tables_of_a_stack_that_is_gone_are_taken_over(session: Session) -> None:
    """Both, also one that nothing was ever put into; a stranger's is left alone."""
    signing, window = make(session, "SigningTable-A", EMPTY), make(session, "WindowTable-A", USED)
    make(session, "OtherTable-A", USED)
    assert deploy._kept_tables(session) == {"SigningTableName": signing, "WindowTableName": window}  # noqa: SLF001


def test_one_table_alone_is_not_taken_over(session: Session) -> None:
    """A deployment that was killed before it had made both has promised nobody anything."""
    make(session, "SigningTable-A", EMPTY)
    assert deploy._kept_tables(session) == {}  # noqa: SLF001


@pytest.mark.parametrize("orphan", ["0", "Z"])
def test_what_a_killed_deployment_left_is_not_taken_for_what_was_used(session: Session, orphan: str) -> None:
    """Of several tables the one with something in it is the right one, whatever their names."""
    make(session, f"SigningTable-{orphan}", EMPTY)
    signing, window = make(session, "SigningTable-A", USED), make(session, "WindowTable-A", USED)
    make(session, f"WindowTable-{orphan}", EMPTY)
    assert deploy._kept_tables(session) == {"SigningTableName": signing, "WindowTableName": window}  # noqa: SLF001
