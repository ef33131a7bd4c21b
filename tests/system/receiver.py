"""A receiver of webhooks that tests run: it says what came, and when."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread


@dataclass
class Receiver:
    """A tiny receiver: what came, and when. While it hangs it answers nobody."""

    url: str = ""
    hangs: bool = False
    received: list[tuple[float, dict[str, str], bytes]] = field(default_factory=list)
    done: Event = field(default_factory=Event)

    def wait_for(self, count: int, limit_s: float) -> None:
        end_s = time.monotonic() + limit_s
        while len(self.received) < count and time.monotonic() < end_s:
            time.sleep(0.05)
        assert len(self.received) >= count


@contextmanager
def receiving(*, hangs: bool = False) -> Iterator[Receiver]:
    """Run a receiver on a free port."""
    receiver = Receiver(hangs=hangs)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.received.append((time.monotonic(), headers, body))
            if receiver.hangs:
                receiver.done.wait()
                return
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.done.set()
        server.shutdown()
        server.server_close()
        thread.join()
