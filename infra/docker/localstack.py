"""A LocalStack in another container, through `localstack-client`."""

from typing import Any

from botocore.config import Config
from localstack_client.session import Session  # type: ignore[import-untyped]

PORT = 4566
PATH_STYLE = Config(s3={"addressing_style": "path"})  # a bucket has no host name in the containers' network


class LocalStackSession:
    """Makes clients of one LocalStack."""

    def __init__(self, host: str) -> None:
        self.endpoint_url = f"http://{host}:{PORT}"
        self._session = Session(localstack_host=host)

    def client(self, service_name: str, **options: Any) -> Any:
        """Return a client."""
        return self._session.client(service_name, **{"config": PATH_STYLE, **options})
