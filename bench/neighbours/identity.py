"""An authentication endpoint that takes its time: `python -m bench.neighbours.identity` prints its address.

It believes every token that looks like a JWT, and refuses all others; each answer comes after 0.1 s.
"""

from __future__ import annotations

import asyncio
import re
import sys
from base64 import urlsafe_b64decode
from json import dumps, loads
from typing import Any, Final, cast

import uvloop

SECONDS: Final = 0.1

_LENGTH: Final = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class _Endpoint(asyncio.Protocol):
    """One connection; requests on it come one after the other."""

    def __init__(self) -> None:
        self._request = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._request += data
        end = self._request.find(b"\r\n\r\n")
        length = _LENGTH.search(self._request, 0, max(end, 0))
        if end < 0 or length is None or len(self._request) < end + 4 + int(length[1]):
            return
        token = loads(self._request[end + 4 :])["api_key"]
        self._request.clear()
        asyncio.get_running_loop().call_later(SECONDS, self._answer, token)

    def _answer(self, token: str) -> None:
        try:
            claims = _claims(token)
        except ValueError:
            status, answer = "401 Unauthorized", {}
        else:
            attributes = {"roles": claims["roles"], "teams": claims["teams"]}
            status, answer = "200 OK", {"principal": claims["sub"], "attributes": attributes}
        body = dumps(answer).encode()
        head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)


def _claims(token: str) -> dict[str, Any]:
    """Return the claims of a JWT, unchecked; raise ValueError for anything else."""
    parts = token.split(".")
    if len(parts) != 3:
        raise ValueError("no JWT")
    claims: dict[str, Any] = loads(urlsafe_b64decode(parts[1] + "=="))
    return claims


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Endpoint, "127.0.0.1", 0)
    sys.stdout.write(f"serves on 127.0.0.1:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve())
