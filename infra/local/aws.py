"""Sessions for an AWS that runs on this machine: boto3 without the user's own profile or credentials."""

from typing import Any, Protocol

import boto3
import botocore.session
from botocore.config import Config

REGION = "us-east-1"
DUMMY_CREDENTIAL = "test"

NO_PROFILE = {"profile": (None, None, None, None)}  # no profile is read, not even AWS_PROFILE


class AwsSession(Protocol):
    """Makes the clients that the deployment needs, for one endpoint."""

    endpoint_url: str

    def client(self, service_name: str, **options: Any) -> Any:
        """Return a client of that endpoint."""


class LocalSession(boto3.Session):
    """Makes clients for one local endpoint, and ignores the user's profile and credentials."""

    def __init__(self, endpoint_url: str) -> None:
        super().__init__(
            botocore_session=botocore.session.Session(session_vars=NO_PROFILE),
            aws_access_key_id=DUMMY_CREDENTIAL,
            aws_secret_access_key=DUMMY_CREDENTIAL,
            region_name=REGION,
        )
        self.endpoint_url = endpoint_url

    def client(self, service_name: str, **options: Any) -> Any:  # type: ignore[override]
        """Return a client of the local endpoint that ignores the user's proxy settings."""
        options = {"endpoint_url": self.endpoint_url, "config": Config(proxies={}), **options}
        return super().client(service_name, **options)  # type: ignore[call-overload]
