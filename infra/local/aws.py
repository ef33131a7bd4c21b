"""A boto3 session for an AWS that runs on this machine."""

from typing import Any

import boto3

REGION = "us-east-1"
DUMMY_CREDENTIAL = "test"


class LocalSession(boto3.Session):
    """Makes clients for one local endpoint, whatever profile or credentials the user has."""

    def __init__(self, endpoint_url: str) -> None:
        super().__init__(
            aws_access_key_id=DUMMY_CREDENTIAL,
            aws_secret_access_key=DUMMY_CREDENTIAL,
            region_name=REGION,
        )
        self.endpoint_url = endpoint_url

    def client(self, service_name: str, **options: Any) -> Any:  # type: ignore[override]
        """Return a client of the local endpoint."""
        return super().client(service_name, endpoint_url=self.endpoint_url, **options)  # type: ignore[call-overload]
