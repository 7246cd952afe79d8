"""Connections that are used again: what a provider sends without being asked answers nobody."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from json import dumps, loads

import pytest

from server.inference.provider import ChatRequest
from server.inference.providers.openai_compatible import OpenAICompatible

BODY = {"object": "chat.completion", "model": "m", "choices": []}
ASKED = ChatRequest("p/m", b'{"model": "m", "messages": []}')


def said(text: str) -> bytes:
    body = dumps({**BODY, "id": text}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


class Talkative:
    """Answers each request with its number; `extra` comes behind the first answer of each connection, when told to."""

    def __init__(self, extra: bytes) -> None:
        self.extra = extra
        self.writers: list[asyncio.StreamWriter] = []
        self.say = asyncio.Event()
        self.has_said = asyncio.Event()
        self.connections = self.requests = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]))
                self.requests += 1
                writer.write(said(f"answer {self.requests}"))
                if self.requests == 1:
                    await self.say.wait()
                    writer.write(self.extra)
                    await writer.drain()
                    self.has_said.set()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass

    async def close(self) -> None:
        for writer in self.writers:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


@pytest.mark.parametrize("extra", [said("stolen"), said("stolen") * 3, said("stolen")[:-5], b"\x00", b"0\r\n\r\n"])
def test_what_comes_between_two_requests_is_no_answer_to_the_second(extra: bytes) -> None:
    async def run() -> None:
        talkative = Talkative(extra)
        server = await asyncio.start_server(talkative.serve, "127.0.0.1", 0)
        provider = OpenAICompatible("p", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", None)
        await provider.start()
        try:
            first = loads(b"".join(await provider.complete(ASKED)))
            talkative.say.set()
            await talkative.has_said.wait()
            await asyncio.sleep(0.05)  # there is no other sign of the bytes' having arrived here
            second = loads(b"".join(await provider.complete(ASKED)))
        finally:
            await provider.close()
            server.close()
            await talkative.close()
        assert (first["id"], second["id"]) == ("answer 1", "answer 2")
        assert talkative.connections == 2

    asyncio.run(run())
