"""LocalStack starts: remove the containers of functions that one which was killed has left.

They would hold on to the network, so that `docker compose down` fails. LocalStack has no more functions than
these at this moment, and after a clean stop there are none. It names them after its own container, whose name
begins with its compose project: those of other checkouts are left alone.
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
        """Connect to the socket in the place of a host."""
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
