"""The pending entries of a Redis Stream as they are after Redis's clock was moved back.

No command sets a delivery time in the future. A dump of the stream with other delivery times does,
once its checksum is right.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from redis_process import RedisProcess

#: CRC-64 as Redis computes it (crc64.c, "Jones"), with its bits in reverse order.
_POLYNOMIAL = 0x95AC9329AC4BC9B5

#: The size of a checksum, in bytes.
_CHECKSUM = 8


def move_clock_back(redis: RedisProcess, stream: str, milliseconds: int) -> None:
    """Add a time to each delivery time, as if the clock had been moved back."""
    found = _named(redis.client.execute_command("XINFO", "STREAM", stream, "FULL", "COUNT", 0))
    pending = [entry for group in found["groups"] for entry in _named(group)["pending"]]
    dumped: bytes = redis.client.dump(stream)
    body = dumped[:-_CHECKSUM]
    for time in {entry[2] for entry in pending}:
        body = body.replace(struct.pack("<q", time), struct.pack("<q", time + milliseconds))
    restored = body + struct.pack("<Q", _checksum(body))
    redis.client.restore(stream, 0, restored, replace=True)


def _named(flat: list) -> dict:
    return {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}


def _checksum(data: bytes) -> int:
    found = 0
    for byte in data:
        found ^= byte
        for _ in range(8):
            found = found >> 1 ^ (_POLYNOMIAL if found & 1 else 0)
    return found
