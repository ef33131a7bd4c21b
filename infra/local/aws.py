"""Sessions for an AWS that runs on this machine: boto3, with nothing of the user's own account."""

from typing import Any, Protocol

import boto3
import botocore.session
from botocore.config import Config

REGION = "us-east-1"
DUMMY_CREDENTIAL = "test"

NO_PROFILE = {"profile": (None, None, None, None)}  # a profile is looked for nowhere, not even in AWS_PROFILE


class AwsSession(Protocol):
    """What the deployment needs: clients of one endpoint."""

    endpoint_url: str

    def client(self, service_name: str, **options: Any) -> Any:
        """Return a client of that endpoint."""


class LocalSession(boto3.Session):
    """Makes clients for one local endpoint, whatever profile or credentials the user has."""

    def __init__(self, endpoint_url: str) -> None:
        super().__init__(
            botocore_session=botocore.session.Session(session_vars=NO_PROFILE),
            aws_access_key_id=DUMMY_CREDENTIAL,
            aws_secret_access_key=DUMMY_CREDENTIAL,
            region_name=REGION,
        )
        self.endpoint_url = endpoint_url

    def client(self, service_name: str, **options: Any) -> Any:  # type: ignore[override]
        """Return a client of the local endpoint, which no proxy of the user's can reach."""
        options = {"endpoint_url": self.endpoint_url, "config": Config(proxies={}), **options}
        return super().client(service_name, **options)  # type: ignore[call-overload]
