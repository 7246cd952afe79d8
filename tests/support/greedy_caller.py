"""A caller that sends one request again and again on many connections, in a process of its own.

In the server's process it would share its time with the server, and never fill its event loop.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def greed(port: int, request: bytes, connections: int) -> Iterator[None]:
    """Send `request` to 127.0.0.1 for as long as the context lasts."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.greedy_caller", str(port), str(connections)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
    )
    try:
        assert process.stdin is not None
        process.stdin.write(request)
        process.stdin.close()
        yield
    finally:
        process.kill()
        process.wait(PATIENCE)


async def _one(port: int, request: bytes) -> None:
    while True:
        with suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                while True:
                    writer.write(request)
                    head = (await reader.readuntil(b"\r\n\r\n")).lower()
                    if b"chunked" in head:
                        await reader.readuntil(b"0\r\n\r\n")
                    else:
                        await reader.readexactly(int(head.split(b"content-length: ")[1].split()[0]))
            finally:
                writer.close()


async def _all(port: int, connections: int, request: bytes) -> None:
    await asyncio.gather(*(_one(port, request) for _ in range(connections)))


if __name__ == "__main__":
    asyncio.run(_all(int(sys.argv[1]), int(sys.argv[2]), sys.stdin.buffer.read()))
