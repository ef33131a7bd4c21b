"""Gives up calls on a link that drops and comes back, in a network namespace of its own; prints who arrived.

Run as `unshare --net python -m tests.system.dropped_link`: the loopback device is the link.
"""

import asyncio
import subprocess
import time

import httpx

from adapters.clock import SystemClock
from adapters.upstream import HttpUpstream

GIVEN_UP_MS = 500
CONTROL_S = 60.0  # for the kernel to send the control's request again; it takes one or two seconds
BACKOFF_FACTOR = (
    2  # each wait of the kernel is twice the one before: after this long, ours would have arrived
)


def set_link(state: str) -> None:
    """Bring the link up or down."""
    subprocess.run(["ip", "link", "set", "lo", state], check=True)  # noqa: S603, S607


class Server:
    """Answers every request, and notes its target."""

    def __init__(self) -> None:
        self.targets: list[str] = []
        self.control_arrived = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.targets.append(head.split(b" ")[1].decode())
                if self.targets[-1] == "/control/late":
                    self.control_arrived.set()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


async def main() -> None:
    """Call over two kept connections, ours and one without our socket options, while the link is down."""
    set_link("up")
    server = Server()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    upstream = HttpUpstream(f"{url}/ours", lambda: "key", SystemClock(), grace_ms=10_000)
    async with httpx.AsyncClient(timeout=GIVEN_UP_MS / 1000, base_url=url) as control:
        await upstream.sign("early", call_limit_ms=GIVEN_UP_MS, may_send=lambda: True)
        await control.get("/control/early")
        set_link("down")
        started_s = time.monotonic()
        answer = await upstream.sign("late", call_limit_ms=GIVEN_UP_MS, may_send=lambda: True)
        try:
            await control.get("/control/late")
        except httpx.ReadTimeout:
            set_link("up")
        async with asyncio.timeout(CONTROL_S):
            await server.control_arrived.wait()
        await asyncio.sleep((time.monotonic() - started_s) * BACKOFF_FACTOR)
    print(answer.meaning, *server.targets)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main())
