"""Prints the file for `sam local --env-vars` that makes it use the running containers' resources."""

import json

from infra.docker.localstack import PORT, LocalStackSession
from infra.local.deploy import deployed

VARIABLES = {
    "TABLE_NAME": "SigningTable",
    "WINDOW_TABLE_NAME": "WindowTable",
    "SECRET_ID": "Secret",
    "WORK_QUEUE_URL": "WorkQueue",
    "WORK_DEAD_LETTER_QUEUE_URL": "WorkDeadLetterQueue",
    "NOTIFICATION_QUEUE_URL": "NotificationQueue",
    "NOTIFICATION_RETRY_QUEUE_URL": "NotificationRetryQueue",
    "NOTIFICATION_DEAD_LETTER_QUEUE_URL": "NotificationDeadLetterQueue",
}
OTHERS = {
    # Set here and not by the template's parameter, because SAM does not resolve a condition in a variable.
    "AWS_ENDPOINT_URL": f"http://localstack:{PORT}",
    "UPSTREAM_URL": "http://upstream:8100",
    "WEBHOOK_ALLOW_PRIVATE": "true",
}


def main() -> None:
    """Print the file. All functions get the same values, and each uses those that it declares."""
    resources = deployed(LocalStackSession("127.0.0.1")).resources
    values = {variable: resources[resource] for variable, resource in VARIABLES.items()} | OTHERS
    print(json.dumps({"Parameters": values}, indent=2))


if __name__ == "__main__":
    main()
