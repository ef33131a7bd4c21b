"""How long after its send a call can still arrive: decided by the upstream adapter's real socket options."""

import socket

from adapters.upstream import RESET_ON_CLOSE, socket_options
from core.window import Timing

RETRANSMITTED_MS = 120_000  # how long the simulated link may stay down; the kernel would go on for longer


def arrives_by_ms(call_limit_ms: int, timing: Timing) -> int:
    """Return the latest arrival of a call that was sent just now and is given up after `call_limit_ms`.

    Without the reset the kernel keeps the request, and sends it again when the link is back.
    """
    options = socket_options(timing.grace_ms)
    is_reset = (socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE) in options
    is_bounded = any(
        name == socket.TCP_USER_TIMEOUT and int(value) <= call_limit_ms + timing.grace_ms
        for _, name, value in options
    )
    return call_limit_ms + (timing.grace_ms if is_reset and is_bounded else RETRANSMITTED_MS)
