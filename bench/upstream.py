"""A model provider with minimal cost, and the issuer's keys, on one port.

`python -m bench.upstream JWKS` prints its address. Answers are made beforehand. A stream is `CHUNKS` chunks and
`[DONE]`, each handed to the kernel separately; the model `PACED` waits between them, so that no reader gets two of them
together. A stream of the model `LONG` has `LONG_CHUNKS` chunks, and an answer of the model `BULKY` has 4 MB. A stream
of the model `OPEN` is as long and takes hours. Embeddings have `DIMENSIONS` numbers, in base64 where that is asked for.

At `/mcp` is a server of tools (`bench.tool_answers`).

Four models fail: `FAILING` answers 500, `HANGING` closes the connection after `HANG_SECONDS`, `DRIPPING` answers a byte
at a time, and `BROKEN` ends the connection in the middle.
"""

from __future__ import annotations

import asyncio
import re
import struct
import sys
from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from json import dumps
from pathlib import Path
from typing import Any, Final, cast

import uvloop

from bench.tool_answers import tool_answer

CHUNKS: Final = 20
PACED: Final = "paced"
PACE_SECONDS: Final = 0.002
LONG: Final = "long"
LONG_CHUNKS: Final = 5000
BULKY: Final = "bulky"
OPEN: Final = "open"
OPEN_SECONDS: Final = 2.0
VECTORS: Final = "vectors"
FAILING: Final = "failing"
HANGING: Final = "hanging"
DRIPPING: Final = "dripping"
BROKEN: Final = "broken"
DRIP_SECONDS: Final = 0.01
HANG_SECONDS: Final = 10.0
DIMENSIONS: Final = 1536

_BULK: Final = 4 * 1024 * 1024
_WAITING_BYTES: Final = 64 * 1024
_UNREAD_SECONDS: Final = 0.01

_LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_STREAM: Final = re.compile(rb'"stream": ?true')
_EMBEDDINGS: Final = b"POST /v1/embeddings "
_BASE64: Final = re.compile(rb'"encoding_format": ?"base64"')


def _event(delta: dict[str, Any], reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
    head = {"id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "fast"}
    return _framed(f"data: {dumps({**head, 'choices': [choice]}, separators=(',', ':'))}\n\n")


def _framed(text: str) -> bytes:
    return b"%x\r\n%b\r\n" % (len(text), text.encode())


def _answer(kind: str, body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def _completion(content: str) -> bytes:
    message = {"role": "assistant", "content": content, "refusal": None}
    choices = [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}]
    head = {"id": "chatcmpl-bench", "object": "chat.completion", "created": 1_700_000_000, "model": "fast"}
    usage = {"prompt_tokens": 100, "completion_tokens": CHUNKS, "total_tokens": 100 + CHUNKS}
    return _answer("application/json", dumps({**head, "choices": choices, "usage": usage}).encode())


@cache
def _embeddings(count: int, *, base64: bool) -> bytes:
    # Numbers with as many digits as those of providers.
    numbers = [round(((place * 7919) % 2003 - 1001) / 30011, 9) for place in range(DIMENSIONS)]
    packed = b64encode(struct.pack(f"<{DIMENSIONS}f", *numbers)).decode()
    vector = packed if base64 else numbers
    entries = [{"object": "embedding", "index": index, "embedding": vector} for index in range(count)]
    usage = {"prompt_tokens": 8, "total_tokens": 8}
    return _answer(
        "application/json", dumps({"object": "list", "data": entries, "model": VECTORS, "usage": usage}).encode()
    )


def _pieces(chunks: int) -> tuple[bytes, ...]:
    return (
        _HEAD + _event({"role": "assistant", "content": ""}),
        *[_event({"content": "word "})] * (chunks - 2),
        _event({}, "stop"),
        _framed("data: [DONE]\n\n"),
        b"0\r\n\r\n",
    )


_WHOLE: Final = _completion("word " * CHUNKS)
_BULKY: Final = _completion("x" * _BULK)
_FAILED: Final = _answer("application/json", b'{"error": {"message": "out of order"}}', "500 Internal Server Error")
_HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_PIECES: Final = _pieces(CHUNKS)
_LONG: Final = _pieces(LONG_CHUNKS)


class _Upstream(asyncio.Protocol):
    """One connection; requests on it come one after the other."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._request = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._request += data
        end = self._request.find(b"\r\n\r\n")
        length = _LENGTH.search(self._request, 0, max(end, 0))
        if end < 0 or len(self._request) < end + 4 + (int(length[1]) if length else 0):
            return
        request = bytes(self._request)
        self._request.clear()
        self._answer(request, end)

    def _answer(self, request: bytes, end: int) -> None:
        if request.startswith((b"POST /mcp ", b"DELETE /mcp ")):
            self._transport.write(tool_answer(request))
        elif request.startswith(b"GET"):
            self._transport.write(_answer("application/json", self._keys))
        elif _named(HANGING, request):
            asyncio.get_running_loop().call_later(HANG_SECONDS, self._transport.close)
        elif _named(FAILING, request):
            self._transport.write(_FAILED)
        elif _named(DRIPPING, request):
            self._drip(0)
        elif _named(BROKEN, request):
            self._transport.write(b"".join(_PIECES[:3]) if _STREAM.search(request, end) else _WHOLE[:-20])
            self._transport.close()
        elif _STREAM.search(request, end):
            is_open = _named(OPEN, request)
            pieces = _LONG if is_open or _named(LONG, request) else _PIECES
            pause = PACE_SECONDS if _named(PACED, request) else 0.0
            self._go_on(pieces, 0, OPEN_SECONDS if is_open else pause)
        elif request.startswith(_EMBEDDINGS):
            self._transport.write(_embeddings(_texts(request, end), base64=_BASE64.search(request, end) is not None))
        else:
            self._transport.write(_BULKY if _named(BULKY, request) else _WHOLE)

    def _drip(self, at: int) -> None:
        if not self._transport.is_closing() and at < len(_WHOLE):
            self._transport.write(_WHOLE[at : at + 1])
            asyncio.get_running_loop().call_later(DRIP_SECONDS, self._drip, at + 1)

    def _go_on(self, pieces: Sequence[bytes], index: int, pause: float) -> None:
        loop = asyncio.get_running_loop()
        if self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size() > _WAITING_BYTES:
            loop.call_later(_UNREAD_SECONDS, self._go_on, pieces, index, pause)
            return
        self._transport.write(pieces[index])
        if index + 1 < len(pieces):
            # Data written in one turn of the loop is sent in one piece, so that each chunk has a turn of its own.
            loop.call_later(pause, self._go_on, pieces, index + 1, pause)


def _texts(request: bytes, end: int) -> int:
    """Return the number of texts in the body behind `end`."""
    begin = request.find(b"[", end)
    return 1 if begin < 0 else 1 + request.count(b'", "', begin, request.rfind(b"]"))


def _named(model: str, request: bytes) -> bool:
    return f'{model}"'.encode() in request


async def _serve(keys: bytes) -> None:
    loop = asyncio.get_running_loop()
    # With the usual 100, the kernel drops a new connection behind a burst of them, which is tried again after a second.
    server = await loop.create_server(lambda: _Upstream(keys), "127.0.0.1", 0, backlog=4096)
    sys.stdout.write(f"serves on 127.0.0.1:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(Path(sys.argv[1]).read_bytes()))
