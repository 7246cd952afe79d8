"""A provider in a process of its own that streams to many at once: `python streaming_provider.py CHUNKS SECONDS`.

Each stream has so many chunks, with so many seconds between them. It prints its port, and ends with its standard input.
"""

from __future__ import annotations

import asyncio
import sys
from json import dumps

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def event(model: str, index: int) -> bytes:
    """One chunk of a stream; `index` tells which."""
    choice = {"index": 0, "delta": {"content": f" word {index}"}, "finish_reason": None}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model}
    return b"data: " + dumps({**head, "choices": [choice]}, separators=(",", ":")).encode() + b"\n\n"


def stream(model: str, chunks: int) -> list[bytes]:
    """The events of a whole stream."""
    return [*(event(model, index) for index in range(chunks)), b"data: [DONE]\n\n"]


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, chunks: int, pause: float) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            (length,) = [line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            await reader.readexactly(int(length))
            writer.write(HEAD)
            for part in stream("m", chunks):
                await asyncio.sleep(pause)
                writer.write(b"%x\r\n%b\r\n" % (len(part), part))
                await writer.drain()
            writer.write(b"0\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def _serve(chunks: int, pause: float) -> None:
    server = await asyncio.start_server(
        lambda reader, writer: _answer(reader, writer, chunks, pause), "127.0.0.1", 0, backlog=2048
    )
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - this is how the test learns of it
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), float(sys.argv[2])))
