"""A provider that speaks the API of OpenAI, in front of a scripted server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from json import dumps, loads
from typing import Any

from server.inference.provider import ChatRequest, ProviderFailed
from server.inference.providers.http_provider import Limits
from server.inference.providers.openai_compatible import OpenAICompatible
from tests.support.failing_provider import Upstream

KEY = "sk-provider-key"


@asynccontextmanager
async def provider(server: Upstream, *, key: str | None = KEY, silence: float = 5.0) -> AsyncIterator[OpenAICompatible]:
    made = OpenAICompatible("p", f"{server.url}/v1", key, limits=Limits(silence=silence))
    await made.start()
    try:
        yield made
    finally:
        await made.close()


def chat(model: str = "m", **body: Any) -> ChatRequest:
    messages = [{"role": "user", "content": "grüß dich"}]
    return ChatRequest("p/canonical", dumps({"model": model, "messages": messages, **body}).encode())


def complete(server: Upstream, asked: ChatRequest, **options: Any) -> Any:
    async def run() -> bytes:
        async with provider(server, **options) as made:
            return b"".join(await made.complete(asked))

    return loads(asyncio.run(run()))


def streamed(server: Upstream, asked: ChatRequest, **options: Any) -> list[bytes]:
    """The pieces; the failure in their middle, if there is one, is raised with them as a note."""

    async def run() -> list[bytes]:
        pieces: list[bytes] = []
        async with provider(server, **options) as made:
            stream = await made.stream(asked)
            try:
                async for piece in stream:
                    pieces.append(piece)
            except ProviderFailed as failure:
                failure.add_note(b"".join(pieces).decode())
                raise
            finally:
                await stream.aclose()
        return pieces

    return asyncio.run(run())
