"""A small HTTP server on a Unix socket that answers like an OPA that permits everything, until told otherwise."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from server.authz.opa.transport import UnixAddress
from tests.support.patience import PATIENCE

REVISION = "r1"

Json = dict[str, Any]
Fault = Callable[[Json, asyncio.StreamWriter], Awaitable[None]]
"""What is done instead of sending the right answer, which it is given."""


class ScriptedOpa:
    """The running server. `fault` holds for questions to `entrypoint` alone, if that is set."""

    def __init__(self, socket: Path) -> None:
        self.address = UnixAddress(socket)
        self.fault: Fault | None = None
        self.entrypoint: str | None = None
        self.heads: list[bytes] = []
        self._loop: asyncio.AbstractEventLoop
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.StreamWriter] = set()

    def start(self) -> None:
        """Listen, if that had been stopped."""
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(timeout=PATIENCE)

    def stop(self) -> None:
        """Be gone, with every connection."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(timeout=PATIENCE)

    async def _start(self) -> None:
        if self._server is None:
            self.address.path.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(self._serve, self.address.path)

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in tuple(self._connections):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await self._answer(head, reader, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._connections.discard(writer)
            writer.close()

    async def _answer(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = head.split(b" ")[1].decode()
        if not path.startswith("/v1/data/"):
            writer.write(reply(b"{}"))
            return
        lengths = [line[16:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length: ")]
        asked = json.loads(await reader.readexactly(int(lengths[0])))["input"]
        self.heads.append(head)
        document: Json = {"result": _results(path, asked)}
        fault, entrypoint = self.fault, self.entrypoint
        if fault is None or (entrypoint is not None and f"/{entrypoint}?" not in path):
            writer.write(reply(json.dumps(document).encode()))
        else:
            await fault(document, writer)


def reply(body: bytes, status: str = "200 OK") -> bytes:
    """A whole HTTP answer."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _results(path: str, asked: Json) -> Any:
    if "/decision/answers?" in path:
        return [_result(question) for question in asked["questions"]]
    if "/filters/answer?" in path:
        return {"contract": 1, "revision": REVISION, "clauses": []}
    return _result(asked)


def _result(asked: Json) -> Json:
    """Everything is permitted but what only a probe asks."""
    result: Json = {"contract": 1, "revision": REVISION}
    if asked.get("action") == "probe":
        return result
    if "route" in asked:
        canary = asked["route"]["path"].startswith("/canary")
        result["route"] = _decision("deny", None) if canary else _decision("permit", "route_policy[0]")
    if "resource" in asked:
        result["resource"] = _decision("permit", "access_policy[0]")
    return result


def _decision(effect: str, rule: str | None) -> Json:
    source = None if rule is None else "config.yaml:9"
    return {"effect": effect, "rule": rule, "source": source, "description": None, "reason": "x", "obligations": []}


@contextmanager
def scripted_opa(socket: Path) -> Iterator[ScriptedOpa]:
    """The server, listening, in a thread of its own."""
    opa, ready, stop = ScriptedOpa(socket), Future[None](), asyncio.Event()

    async def run() -> None:
        opa._loop = asyncio.get_running_loop()
        await opa._start()
        ready.set_result(None)
        await stop.wait()
        await opa._stop()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    try:
        ready.result(timeout=PATIENCE)
        yield opa
    finally:
        opa._loop.call_soon_threadsafe(stop.set)
        thread.join(timeout=PATIENCE)
