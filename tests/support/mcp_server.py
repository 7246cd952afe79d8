"""A server of tools on loopback that speaks MCP as its attributes say, and notes what it is sent."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from json import dumps
from typing import Any

from aiohttp import web

from tests.support.patience import PATIENCE

Json = dict[str, Any]

ANYTHING: Json = {"type": "object", "properties": {"text": {"type": "string"}}}


def tool(name: str, *, read_only: bool = False, **members: Any) -> Json:
    """A tool as it is listed."""
    described = {"name": name, "description": f"does {name}", "inputSchema": ANYTHING, **members}
    return {**described, "annotations": {"readOnlyHint": True}} if read_only else described


def text(*texts: str, **members: Any) -> Json:
    """The result of a call that is text."""
    return {"content": [{"type": "text", "text": each} for each in texts], **members}


class McpStub:
    """The running server. A tool is answered by `results`: a result, a status, or a function of the arguments."""

    def __init__(self) -> None:
        self.url = ""
        self._streams: list[asyncio.Queue[Json]] = []
        self.sessions: dict[str, int] = {}
        self.reset()

    def reset(self) -> None:
        """Answer as a new server does, and forget what has come; its sessions stay."""
        self.pages: list[list[Json]] = [[tool("echo"), tool("look", read_only=True)]]
        self.cursors: list[str] | None = None
        self.results: dict[str, Any] = {"echo": lambda given: text(str(given.get("text"))), "look": text("seen")}
        self.as_events = False
        self.older = False
        self.version = "2025-11-25"
        self.wants: str | None = None
        """The value of `Authorization` without which every request is refused."""
        self.points_to = ""
        """The address to which a refusal and a redirect point, or the `endpoint` of an older server."""
        self.redirects = False
        self.before: list[Json] = []
        """Messages that are sent before the answer to a call, where answers are events."""
        self.posted: list[Json] = []
        self.headers: list[dict[str, str]] = []
        self.deleted: list[str] = []
        self.others: list[str] = []
        """Paths that were asked for and that no server of tools has."""
        self.forgets = False
        self.listing: Callable[[], Awaitable[None]] | None = None
        """What happens before tools are listed."""
        self.came = threading.Event()
        """Set when a tool is called."""

    def asked(self, method: str) -> list[Json]:
        """The messages of a method that have come."""
        return [message for message in self.posted if message.get("method") == method]

    def calls(self) -> list[Json]:
        """The calls that have come, each with `name` and `arguments`."""
        return [message["params"] for message in self.asked("tools/call")]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a request at the server's own path."""
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        if self.redirects:
            return web.Response(status=307, headers={"Location": self.points_to})
        if self.wants is not None and request.headers.get("Authorization") != self.wants:
            said = f'Bearer resource_metadata="{self.points_to}"'
            return web.Response(status=401, headers={"WWW-Authenticate": said})
        if self.older:
            return await self._older(request)
        session = request.headers.get("Mcp-Session-Id")
        if request.method == "DELETE":
            self.deleted.append(session or "")
            return web.Response(status=204)
        if request.method != "POST":
            return web.Response(status=405)
        message = await request.json()
        self.posted.append(message)
        if session is not None and (self.forgets or session not in self.sessions):
            return web.Response(status=404)
        if "id" not in message or "method" not in message:
            return web.Response(status=202)
        headers = {}
        if message["method"] == "initialize":
            headers["Mcp-Session-Id"] = f"session-{len(self.sessions)}"
            self.sessions[headers["Mcp-Session-Id"]] = 0
        elif session is not None:
            self.sessions[session] += 1
        return await self._answered(request, message, headers)

    async def _answered(self, request: web.Request, message: Json, headers: dict[str, str]) -> web.StreamResponse:
        found = await self._result(message)
        if isinstance(found, int):
            return web.Response(status=found)
        if isinstance(found, bytes):
            return web.Response(body=found, content_type="application/json")
        if not self.as_events:
            return web.json_response(found, headers=headers)
        response = web.StreamResponse(headers={**headers, "Content-Type": "text/event-stream"})
        await response.prepare(request)
        early = self.before if message["method"] == "tools/call" else []
        for each in (*early, *([found] if found else [])):
            await response.write(b"event: message\nid: 1\ndata: %b\n\n" % dumps(each).encode())
        return response

    async def _result(self, message: Json) -> Any:
        method, params = message["method"], message.get("params") or {}
        frame = {"jsonrpc": "2.0", "id": message["id"]}
        if method == "initialize":
            about = {"name": "stub", "version": "1"}
            return {
                **frame,
                "result": {"protocolVersion": self.version, "capabilities": {"tools": {}}, "serverInfo": about},
            }
        if method == "tools/list":
            if self.listing is not None:
                await self.listing()
            return {**frame, "result": self._page(params.get("cursor"))}
        if method == "tools/call":
            self.came.set()
            found = self.results.get(params["name"])
            if callable(found):
                found = found(params["arguments"])
                found = await found if asyncio.iscoroutine(found) else found
            if isinstance(found, int | bytes):
                return found
            if isinstance(found, dict) and "error" in found:
                return {**frame, **found}
            return {} if found is None else {**frame, "result": found}
        return {**frame, "result": {}}

    def _page(self, cursor: str | None) -> Json:
        cursors = self.cursors or [f"page-{number}" for number in range(1, len(self.pages))]
        place = 0 if cursor is None else cursors.index(cursor) + 1
        page: Json = {"tools": self.pages[place]}
        return {**page, "nextCursor": cursors[place]} if place < len(cursors) else page

    async def _older(self, request: web.Request) -> web.StreamResponse:
        if request.method != "GET":
            return web.Response(status=405)
        queue: asyncio.Queue[Json] = asyncio.Queue()
        self._streams.append(queue)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        to = self.points_to or f"/messages?stream={len(self._streams) - 1}"
        await response.write(f"event: endpoint\ndata: {to}\n\n".encode())
        while True:
            await response.write(b"event: message\ndata: %b\n\n" % dumps(await queue.get()).encode())

    async def message(self, request: web.Request) -> web.StreamResponse:
        """Take a message to an older server."""
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        message = await request.json()
        self.posted.append(message)
        if "id" in message and "method" in message:
            stream, found = self._streams[int(request.query["stream"])], await self._result(message)
            early = self.before if message["method"] == "tools/call" else []
            for each in (*early, *([found] if found else [])):
                stream.put_nowait(each)
        return web.Response(status=202)

    async def other(self, request: web.Request) -> web.StreamResponse:
        """Note a request for what no server of tools has."""
        self.others.append(request.path)
        return web.json_response({"authorization_servers": [self.url], "resource": self.url})


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@contextmanager
def mcp_server() -> Iterator[McpStub]:
    """A server of tools at `url`, in a thread of its own."""
    stub, ready, ending = McpStub(), Future[tuple[asyncio.AbstractEventLoop, int]](), asyncio.Event()
    thread = threading.Thread(target=lambda: asyncio.run(_serve(stub, ready, ending)))
    thread.start()
    loop, port = ready.result(timeout=PATIENCE)
    stub.url = f"http://127.0.0.1:{port}/mcp"
    try:
        yield stub
    finally:
        loop.call_soon_threadsafe(ending.set)
        thread.join(timeout=PATIENCE)


async def _serve(stub: McpStub, ready: Future[tuple[asyncio.AbstractEventLoop, int]], ending: asyncio.Event) -> None:
    app = web.Application(client_max_size=8 * 1024 * 1024)
    app.router.add_route("*", "/mcp", stub.answer)
    app.router.add_route("*", "/messages", stub.message)
    app.router.add_route("*", "/{rest:.*}", stub.other)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handle_signals=False)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    [address] = runner.addresses
    ready.set_result((asyncio.get_running_loop(), address[1]))
    await ending.wait()
    await runner.cleanup()
