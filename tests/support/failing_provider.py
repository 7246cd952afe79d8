"""A small real server that speaks OpenAI's wire format, and that fails in every way the name of a model asks for."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from json import dumps
from typing import Any

from aiohttp import web

from tests.support.aiohttp_server import serving

SECRET = "upstream-secret-canary"
"""Is in everything that this server says and that no caller may see."""

TEXT = ["Hello", ", ", "wörld"]


@dataclass
class Upstream:
    """The running server, and what has reached it."""

    url: str = ""
    asked: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    arrived: threading.Event = field(default_factory=threading.Event)
    """Set when a chat has come in."""
    left: threading.Event = field(default_factory=threading.Event)
    """Set when a client has gone in the middle of an answer."""
    ports: set[int] = field(default_factory=set)
    """The client's ports: one for each connection."""
    go_on: threading.Event = field(default_factory=threading.Event)
    """`gated` streams wait for it after their first chunk."""
    health: int = 200
    """The status of the list of models; a redirect leads to `/elsewhere`."""

    def forget(self) -> None:
        """Begin anew."""
        self.asked.clear()
        self.health = 200
        self.ports.clear()
        for event in (self.arrived, self.left, self.go_on):
            event.clear()

    @property
    def body(self) -> Any:
        """The last request's body."""
        return self.asked[-1][2]

    @property
    def headers(self) -> dict[str, str]:
        """The last request's headers."""
        return self.asked[-1][1]


@contextmanager
def upstream(tls: ssl.SSLContext | None = None) -> Iterator[Upstream]:
    """The server on loopback, in a thread of its own; over TLS if there is a context for it."""
    server, app = Upstream(), web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/v1/chat/completions", partial(_chat, server))
    app.router.add_get("/v1/models", partial(_models, server))
    app.router.add_route("*", "/elsewhere", partial(_elsewhere, server))
    with serving(app, tls) as server.url:
        try:
            yield server
        finally:
            server.go_on.set()


async def _models(server: Upstream, request: web.Request) -> web.Response:
    server.asked.append((request.path, dict(request.headers), None))
    headers = {"Location": "/elsewhere"} if server.health in (301, 302) else None
    return web.json_response({"object": "list", "data": []}, status=server.health, headers=headers)


async def _elsewhere(server: Upstream, request: web.Request) -> web.Response:
    """The target of redirects: it is alive and answers well, so that a client that follows one is noticed."""
    server.asked.append((request.path, dict(request.headers), await request.read()))
    return _whole({"model": "elsewhere"})


async def _chat(server: Upstream, request: web.Request) -> web.StreamResponse:
    body = await request.json()
    server.asked.append((request.path, dict(request.headers), body))
    server.arrived.set()
    peer = request.transport.get_extra_info("peername") if request.transport else None
    server.ports.add(peer[1] if peer else 0)
    name = body["model"]
    if name in STATUSES:
        status, error, headers = STATUSES[name]
        return web.json_response(error, status=status, headers=headers)
    try:
        if name in ANSWERS:
            return await ANSWERS[name](server, request, body)
        return await _stream(server, request, body) if body.get("stream") else _whole(body)
    except (asyncio.CancelledError, ConnectionError):
        server.left.set()
        raise


def _error(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": f"{message} {SECRET}", "type": "x", "param": None, "code": None, **more}}


STATUSES: dict[str, tuple[int, dict[str, Any], dict[str, str]]] = {
    "status-400": (400, _error("bad", code="invalid_value", param="messages[0].content"), {}),
    "status-400-odd": (400, _error("bad", code=SECRET, param=f"`{SECRET}`"), {}),
    "status-400-length": (400, {"message": "This model's maximum context length is 5", "code": 400}, {}),
    "status-401": (401, _error("wrong key"), {}),
    "status-403": (403, _error("no"), {}),
    "status-404": (404, _error("no such model"), {}),
    "status-422": (422, {"detail": [SECRET]}, {}),
    "status-429": (429, _error("slow down"), {"Retry-After": "7"}),
    "status-429-odd": (429, _error("slow down"), {"Retry-After": SECRET}),
    "status-429-quota": (429, _error("no money", code="insufficient_quota"), {}),
    "status-500": (500, _error("boom"), {}),
    "status-503": (503, _error("later"), {"Retry-After": "9"}),
    **{
        f"redirect-{status}": (status, _error("elsewhere"), {"Location": "/elsewhere"})
        for status in (301, 302, 303, 307, 308)
    },
}


def _whole(body: dict[str, Any]) -> web.Response:
    message = {"role": "assistant", "content": "".join(TEXT)}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": body["model"]}
    usage = {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4}
    return web.json_response({**head, "choices": choices, "usage": usage})


def chunk(model: str, delta: dict[str, Any], reason: str | None = None) -> bytes:
    """One event of a stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model}
    return f"data: {dumps({**head, 'choices': [choice]})}\n\n".encode()


async def _head(request: web.Request, **headers: str) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8", **headers})
    await response.prepare(request)
    return response


async def _stream(server: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    response = await _head(request)
    await response.write(chunk(body["model"], {"role": "assistant", "content": ""}))
    for text in TEXT:
        await response.write(chunk(body["model"], {"content": text}))
    await response.write(chunk(body["model"], {}, "stop"))
    await response.write(b"data: [DONE]\n\n")
    return response


async def _bare(server: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """Chunks with what chunks alone have, with nulls, and without what an answer has besides."""
    function = {"name": "weather"}
    deltas: list[dict[str, Any]] = [
        {"role": "assistant", "content": None, "tool_calls": None, "function_call": None},
        {"tool_calls": [{"index": 0, "id": "call_1", "function": function}]},
    ]
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}
    more = {"obfuscation": "x7", "usage": None, "system_fingerprint": None, "service_tier": None}
    response = await _head(request)
    for delta, reason in ((deltas[0], None), (deltas[1], None), ({}, "tool_calls")):
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        await response.write(f"data: {dumps({**head, **more, 'choices': [choice]})}\n\n".encode())
    await response.write(b"data: [DONE]\n\n")
    return response


async def _thinks(server: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """An answer with the reasoning before it."""
    said = {"reasoning_content": "let me see", "content": "so"}
    if not body.get("stream"):
        choices = [{"index": 0, "message": {"role": "assistant", **said}, "finish_reason": "stop"}]
        return web.json_response({"id": "chatcmpl-1", "created": 1, "model": body["model"], "choices": choices})
    response = await _head(request)
    for name, text in said.items():
        await response.write(chunk(body["model"], {name: text}))
    await response.write(chunk(body["model"], {}, "stop") + b"data: [DONE]\n\n")
    return response


async def _gated(server: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    response = await _head(request)
    await response.write(chunk(body["model"], {"role": "assistant", "content": "first"}))
    await asyncio.to_thread(server.go_on.wait)
    await response.write(chunk(body["model"], {"content": "second"}) + b"data: [DONE]\n\n")
    return response


async def _sleepy(server: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def _silent(server: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    response = await _head(request)
    await response.write(chunk(body["model"], {"content": "first"}))
    await asyncio.Event().wait()
    raise AssertionError


async def _dies(server: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    response = await _head(request)
    await response.write(chunk(body["model"], {"content": "first"}) + b'data: {"id":"half')
    assert request.transport is not None
    request.transport.close()
    return response


async def _stops(server: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    response = await _head(request)
    await response.write(chunk(body["model"], {"content": "first"}))
    return response


async def _garbage(server: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    response = await _head(request)
    await response.write(chunk(body["model"], {"content": "first"}) + f"data: {SECRET}\n\n".encode())
    await response.write(b"data: [DONE]\n\n")
    return response


async def _errs(server: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    response = await _head(request)
    await response.write(chunk(body["model"], {"content": "first"}) + f"data: {dumps(_error('boom'))}\n\n".encode())
    return response


async def _endless_event(server: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    response = await _head(request)
    await response.write(b"data: ")
    while True:
        await response.write(b"x" * 65536)


async def _endless_stream(server: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    response = await _head(request)
    piece = chunk(body["model"], {"content": "x" * 1000}) * 60
    while True:
        await response.write(piece)


async def _lingers(server: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    response = await _stream(server, request, body)
    await asyncio.Event().wait()
    return response


def _answering(text: str, content_type: str = "application/json") -> Callable[..., Awaitable[web.Response]]:
    async def answer(server: Upstream, request: web.Request, body: dict[str, Any]) -> web.Response:
        return web.Response(text=text, content_type=content_type)

    return answer


async def _cookie(server: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    response = _whole(body)
    response.set_cookie("session", "of-another-tenant")
    return response


async def _huge(server: Upstream, request: web.Request, body: dict[str, Any], status: int = 200) -> web.StreamResponse:
    response = web.StreamResponse(status=status, headers={"Content-Type": "application/json"})
    await response.prepare(request)
    while True:
        await response.write(b" " * 1024 * 1024)


ANSWERS: dict[str, Callable[[Upstream, web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]] = {
    "bare": _bare,
    **dict.fromkeys(("thinks", "thinks-too", "thinks-or"), _thinks),
    "gated": _gated,
    "sleepy": _sleepy,
    "silent": _silent,
    "dies": _dies,
    "stops": _stops,
    "garbage": _garbage,
    "errs": _errs,
    "endless-event": _endless_event,
    "endless-stream": _endless_stream,
    "lingers": _lingers,
    "html": _answering(f"<html>{SECRET}</html>", "text/html"),
    "list": _answering("[]"),
    "no-choices": _answering(dumps(_error("odd"))),
    "nan": _answering('{"choices":[],"x":NaN}'),
    "cookie": _cookie,
    "huge": _huge,
    "huge-refusal": partial(_huge, status=400),
}
