"""A provider that keeps what it is asked, to the byte."""

from __future__ import annotations

from collections.abc import AsyncIterator

from server.inference.provider import ChatRequest, ChatStream
from server.inference.providers.echo import Echo
from server.json_input.reader import Reader


class Listening(Echo):
    """Answers every chat with nothing."""

    def __init__(self) -> None:
        super().__init__(Reader())
        self.asked: list[bytes] = []

    async def complete(self, request: ChatRequest) -> list[bytes]:
        """No choices."""
        self.asked.append(request.payload)
        return [b'{"choices":[]}']

    async def stream(self, request: ChatRequest) -> ChatStream:
        """No chunks."""
        self.asked.append(request.payload)
        return _Nothing()


class _Nothing:
    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"data: [DONE]\n\n"

    async def aclose(self) -> None:
        """There is nothing to close."""
