"""When LocalStack starts: removes the functions' containers that a killed LocalStack left.

They would keep the network in use; `docker compose down` would fail. At this moment LocalStack has started
no functions, so all that exist are old. LocalStack names them after its own container, whose name begins with
the compose project, so the containers of other checkouts are kept.
"""

import http.client
import json
import re
import socket
from urllib.parse import quote

SOCKET = "/var/run/docker.sock"


class Docker(http.client.HTTPConnection):
    """The engine's API, on its socket."""

    def connect(self) -> None:
        """Connect to the socket instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(SOCKET)

    def ask(self, method: str, path: str) -> bytes:
        """Return the body of an answer."""
        self.request(method, path, headers={"Host": "docker"})
        return self.getresponse().read()


def main() -> None:
    """Remove them, whether they run or not."""
    docker = Docker("docker")
    own_name = json.loads(docker.ask("GET", f"/containers/{socket.gethostname()}/json"))["Name"]
    prefix = own_name.lstrip("/").replace("_", "-")  # as LocalStack writes it
    ours = {"name": [f"^/?{re.escape(prefix)}-lambda-"]}
    for container in json.loads(
        docker.ask("GET", f"/containers/json?all=1&filters={quote(json.dumps(ours))}")
    ):
        docker.ask("DELETE", f"/containers/{container['Id']}?force=1")


main()
