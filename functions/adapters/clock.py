"""The machine's clocks and its random numbers."""

import asyncio
import secrets
import time

RANDOM_BITS = 74


class SystemClock:
    """A `ports.Clock`."""

    def now_ms(self) -> int:
        """Return milliseconds since the epoch."""
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        """Return milliseconds that never run backwards."""
        return time.monotonic_ns() // 1_000_000

    async def sleep_ms(self, duration_ms: int) -> None:
        """Wait that long."""
        await asyncio.sleep(duration_ms / 1000)


class SystemRandomness:
    """A `ports.Randomness`. Copies of a process that are restored from one snapshot get different values."""

    def request_id(self, now_ms: int) -> str:
        """Return a UUIDv7 (RFC 9562): 48 bits of time, then random bits."""
        chance = secrets.randbits(RANDOM_BITS)
        high = (now_ms & (1 << 48) - 1) << 16 | 0x7000 | chance >> 62
        low = 0b10 << 62 | chance & (1 << 62) - 1
        digits = f"{high << 64 | low:032x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

    def token(self) -> str:
        """Return 64 random bits in hex."""
        return secrets.token_hex(8)

    def fraction(self) -> float:
        """Return a number in [0, 1)."""
        return secrets.randbits(53) / (1 << 53)
