"""A small real provider for lines of batches: it keeps what it is asked, and answers some texts late or not at all."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from aiohttp import web

from tests.support.aiohttp_server import serving


@dataclass
class LineProvider:
    """The running provider: `asked` are the texts in the order in which they came.

    A text that begins with `hold` waits for `go_on`, one that begins with `fail-` and a status is refused with that.
    """

    url: str = ""
    asked: list[str] = field(default_factory=list)
    go_on: threading.Event = field(default_factory=threading.Event)
    busy: int = 0
    """How many further requests are refused with 429."""

    def forget(self) -> None:
        """Begin anew."""
        self.asked.clear()
        self.go_on.clear()
        self.busy = 0


@contextmanager
def line_provider() -> Iterator[LineProvider]:
    """The provider on loopback, in a thread of its own."""
    provider, app = LineProvider(), web.Application(client_max_size=64 * 1024 * 1024)
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings"):
        app.router.add_post(path, partial(_answer, provider))
    with serving(app) as provider.url:
        try:
            yield provider
        finally:
            provider.go_on.set()


async def _answer(provider: LineProvider, request: web.Request) -> web.StreamResponse:
    body = await request.json()
    text = _text(body)
    provider.asked.append(text)
    if provider.busy:
        provider.busy -= 1
        return web.json_response(
            {"error": {"message": "slow down", "type": "x", "param": None, "code": None}}, status=429
        )
    if text.startswith("hold"):
        while not provider.go_on.is_set():  # noqa: ASYNC110 - another thread sets it
            await asyncio.sleep(0.01)
    if text.startswith("fail-"):
        return web.json_response({"error": {"message": "no", "type": "x"}}, status=int(text[5:8]))
    usage = {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20}
    if request.path.endswith("embeddings"):
        data = [{"object": "embedding", "index": 0, "embedding": [0.5, 0.5]}]
        return web.json_response({"object": "list", "data": data, "model": body["model"], "usage": usage})
    head = {"id": "c-1", "created": 1, "model": body["model"], "usage": usage}
    if request.path.endswith("/chat/completions"):
        message = {"role": "assistant", "content": f"said {text}"}
        choices: list[Any] = [{"index": 0, "message": message, "finish_reason": "stop"}]
        return web.json_response({**head, "object": "chat.completion", "choices": choices})
    choices = [{"index": 0, "text": f"said {text}", "finish_reason": "stop", "logprobs": None}]
    return web.json_response({**head, "object": "text_completion", "choices": choices})


def _text(body: Any) -> str:
    if "messages" in body:
        return str(body["messages"][-1]["content"])
    return str(body.get("prompt", body.get("input")))
