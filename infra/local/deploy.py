"""Deploys `template.yaml` to an AWS on this machine, then does what the emulator lacks."""

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from adapters.aws import error_code
from adapters.secrets import parse_and_check
from infra import ROOT
from infra.local.aws import AwsSession
from infra.local.keys import Keys
from infra.local.package import Package
from infra.local.processes import StackError
from infra.local.settings import LocalSettings

TEMPLATE = ROOT / "template.yaml"
LOCAL_CODE = "CodeUri: functions/"
STACK_NAME = "signing-relay"
CODE_BUCKET = "signing-relay-code"
DIGEST_TAG = "digest"
EXPIRY_ATTRIBUTE = "expires_s"
STAGE = "prod"
NO_SUCH_STACK = "ValidationError"  # CloudFormation has no error of its own for it
# Tables that outlive their stack, with the parameter that gives each to the next stack.
KEPT_TABLES = {"SigningTable": "SigningTableName", "WindowTable": "WindowTableName"}
UPDATABLE = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"})
POLL_S = 0.2
POLLS_MAX = 300


class NoStackError(StackError):
    """Nothing is deployed."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """The physical names of the template's resources, and the REST API's URL."""

    resources: Mapping[str, str]
    api_url: str


def deploy(session: AwsSession, settings: LocalSettings, keys: Keys, package: Package) -> Deployment:
    """Create the stack, or update it in place if code, template or settings changed since.

    If the emulator kept the tables but not the stack, the new stack takes them over. The same happens if a
    kill left the stack incomplete: CloudFormation would neither continue nor change it.
    """
    cloudformation = session.client("cloudformation")
    stack = _stack(cloudformation)
    tables = _kept_tables(session) if stack is None else _tables_taken_over(stack)
    if stack is not None and stack["StackStatus"] not in UPDATABLE:
        tables = tables or _own_tables(session, cloudformation)
        _discard(cloudformation)
        stack = None
    values = {**settings.template_values, "DEPENDENCIES_PATH": package.dependencies}
    parameters = {parameter_name(name): value for name, value in values.items()} | tables
    digest = _digest(package, parameters)
    if stack is None or {"Key": DIGEST_TAG, "Value": digest} not in stack["Tags"]:
        template_url = _upload(session, package, digest)
        _apply(cloudformation, template_url, parameters, digest, update=stack is not None)
    deployment = deployed(session)
    _expire_items(session, deployment.resources["SigningTable"])
    _fill_secret(session, deployment.resources["Secret"], settings, keys)
    return deployment


def deployed(session: AwsSession) -> Deployment:
    """Return the stack's resources; raises `NoStackError` and `StackError`."""
    cloudformation = session.client("cloudformation")
    stack = _stack(cloudformation)
    if stack is None:
        raise NoStackError(f"there is no stack {STACK_NAME}")
    if stack["StackStatus"] not in UPDATABLE:
        raise StackError(f"the stack {STACK_NAME} is not ready")
    tables = _tables_taken_over(stack)
    taken_over = {name: tables[parameter] for name, parameter in KEPT_TABLES.items() if tables}
    resources = _resources(cloudformation) | taken_over
    return Deployment(resources, api_url=_api_url(session.endpoint_url, resources["Api"]))


def is_deployed(session: AwsSession) -> bool:
    """Whether there is a stack that is ready."""
    stack = _stack(session.client("cloudformation"))
    return stack is not None and stack["StackStatus"] in UPDATABLE


def _digest(package: Package, parameters: Mapping[str, str]) -> str:
    parts = [TEMPLATE.read_text(), package.digest, json.dumps(parameters, sort_keys=True)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _stack(cloudformation: Any) -> dict[str, Any] | None:
    try:
        stacks: list[dict[str, Any]] = cloudformation.describe_stacks(StackName=STACK_NAME)["Stacks"]
    except ClientError as error:
        if error_code(error) != NO_SUCH_STACK:
            raise
        return None
    return stacks[0]


def _kept_tables(session: AwsSession) -> dict[str, str]:
    """Return the tables of a deleted stack by the parameters that take them; none if one is missing.

    A killed deployment leaves an empty table. If there are several, the used one is returned.
    """
    found: dict[str, str] = {}
    for table, parameter in KEPT_TABLES.items():
        names = [name for name in _table_names(session) if name.startswith(f"{STACK_NAME}-{table}-")]
        if names:
            found[parameter] = max(names, key=lambda name: _was_used(session, name))
    return found if len(found) == len(KEPT_TABLES) else {}


def _was_used(session: AwsSession, table: str) -> tuple[bool, float]:
    """Return whether a table has items, and when it was made. The table in use sorts last."""
    dynamodb = session.client("dynamodb")
    made: float = dynamodb.describe_table(TableName=table)["Table"]["CreationDateTime"].timestamp()
    return bool(dynamodb.scan(TableName=table, Limit=1)["Items"]), made


def _own_tables(session: AwsSession, cloudformation: Any) -> dict[str, str]:
    """Return the tables of the existing stack, in the form of `_kept_tables`."""
    resources, names = _resources(cloudformation), _table_names(session)
    found = {parameter: resources.get(table, "") for table, parameter in KEPT_TABLES.items()}
    return found if set(found.values()) <= set(names) else {}


def _table_names(session: AwsSession) -> list[str]:
    pages = session.client("dynamodb").get_paginator("list_tables").paginate()
    return sorted(name for page in pages for name in page["TableNames"])


def _discard(cloudformation: Any) -> None:
    """Delete the stack. The template's policy keeps its tables."""
    cloudformation.delete_stack(StackName=STACK_NAME)
    waiter = cloudformation.get_waiter("stack_delete_complete")
    waiter.wait(StackName=STACK_NAME, WaiterConfig={"Delay": POLL_S, "MaxAttempts": POLLS_MAX})


def _tables_taken_over(stack: Mapping[str, Any]) -> dict[str, str]:
    """Return the tables that the stack was created with, in the form of `_kept_tables`."""
    values = {row["ParameterKey"]: row["ParameterValue"] for row in stack.get("Parameters", [])}
    return {name: values[name] for name in KEPT_TABLES.values() if values.get(name)}


def _upload(session: AwsSession, package: Package, digest: str) -> str:
    """Upload the code, and the template with the code's address; return the template's URL.

    As `sam deploy` does: a request itself may carry a template of 51,200 bytes at most.
    """
    s3 = session.client("s3")
    with contextlib.suppress(s3.exceptions.BucketAlreadyOwnedByYou):
        s3.create_bucket(Bucket=CODE_BUCKET)
    code, template = f"{digest}.zip", f"{digest}.yaml"
    s3.put_object(Bucket=CODE_BUCKET, Key=code, Body=package.archive())
    text = TEMPLATE.read_text().replace(LOCAL_CODE, f"CodeUri: s3://{CODE_BUCKET}/{code}")
    text = text.replace("RetainExceptOnCreate", "Retain")  # LocalStack knows only Retain
    s3.put_object(Bucket=CODE_BUCKET, Key=template, Body=text.encode())
    return f"{s3.meta.endpoint_url}/{CODE_BUCKET}/{template}"


def _apply(
    cloudformation: Any, template_url: str, parameters: Mapping[str, str], digest: str, *, update: bool
) -> None:
    change = cloudformation.update_stack if update else cloudformation.create_stack
    change(
        StackName=STACK_NAME,
        TemplateURL=template_url,
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        Tags=[{"Key": DIGEST_TAG, "Value": digest}],
    )
    waiter = cloudformation.get_waiter("stack_update_complete" if update else "stack_create_complete")
    waiter.wait(StackName=STACK_NAME, WaiterConfig={"Delay": POLL_S, "MaxAttempts": POLLS_MAX})


def parameter_name(setting: str) -> str:
    """Return the template's name of a setting: `UPSTREAM_URL` is `UpstreamUrl`."""
    return "".join(word.capitalize() for word in setting.split("_"))


def _resources(cloudformation: Any) -> dict[str, str]:
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=STACK_NAME)
    return {
        resource["LogicalResourceId"]: resource["PhysicalResourceId"]
        for page in pages
        for resource in page["StackResourceSummaries"]
        if "PhysicalResourceId" in resource  # one that could not be made has none
    }


def _expire_items(session: AwsSession, table: str) -> None:
    """Turn TTL on: ministack accepts it in the template, but leaves it off."""
    dynamodb = session.client("dynamodb")
    described = dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    if described["TimeToLiveStatus"] == "DISABLED":
        dynamodb.update_time_to_live(
            TableName=table,
            TimeToLiveSpecification={"Enabled": True, "AttributeName": EXPIRY_ATTRIBUTE},
        )


def _fill_secret(session: AwsSession, secret: str, settings: LocalSettings, keys: Keys) -> None:
    document = {
        "upstream_key": settings.upstream_key,
        "clients": dict(settings.clients),
        "operators": dict(settings.operators),
        "webhook_secrets": [keys.webhook_secret],
        "signing_keys": [keys.signing_key],
        "public_keys": [keys.public_key],
        "token_keys": [keys.token_key],
    }
    text = json.dumps(document)
    parse_and_check(text)
    session.client("secretsmanager").put_secret_value(SecretId=secret, SecretString=text)


def _api_url(endpoint_url: str, rest_api: str) -> str:
    return f"{endpoint_url}/restapis/{rest_api}/{STAGE}/_user_request_"
