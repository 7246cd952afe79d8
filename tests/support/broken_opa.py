"""A scripted peer on the wire that plays a broken OPA, and the words that tests of it share."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from policy.vocabulary import Action, Origin, Principal, Resource, Route
from server.authz.contract.question import Question
from server.authz.opa.transport import OpaTransport, TcpAddress, UnixAddress

ALICE = Principal("alice", "https://issuer.example", {"roles": ("developer", "alice"), "teams": ("ml",)})
MODEL = Resource("model", ("ollama/llama", "llama"), None, Origin.CONFIG)
READ = Question(ALICE, action=Action.READ, resource=MODEL)
CREATE = Question(ALICE, action=Action.CREATE, resource=Resource("prompt", ("prompt_1",)))
ROUTE = Question(ALICE, route=Route("GET", "/v1/models"))
BOTH = Question(ALICE, ROUTE.route, Action.READ, MODEL)

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def decision(**changes: Any) -> dict[str, Any]:
    """A well-formed permit by a rule, with `changes`."""
    permit: dict[str, Any] = {
        "effect": "permit",
        "rule": "access_policy[0]",
        "source": "config.yaml:41",
        "description": None,
        "reason": "the rule permits it",
        "obligations": [],
    }
    return permit | changes


def stamp(owner: Principal = ALICE) -> dict[str, Any]:
    """The obligation to stamp `owner`."""
    attributes = {name: list(values) for name, values in owner.attributes.items()}
    return {"id": "stamp_owner", "owner": {"id": owner.id, "issuer": owner.issuer, "attributes": attributes}}


def answer(**parts: Any) -> bytes:
    """The JSON of an answer by revision `r1` that holds `parts`."""
    return json.dumps({"result": {"contract": 1, "revision": "r1"} | parts}).encode()


PERMITTED = answer(resource=decision())


def reply(body: bytes, status: str = "200 OK", headers: str = "") -> bytes:
    """A whole HTTP answer with a Content-Length."""
    head = f"HTTP/1.1 {status}\r\n{headers}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def chunked(body: bytes, size: int, end: bytes = b"0\r\n\r\n") -> bytes:
    """A whole HTTP answer in chunks of `size` bytes, and then `end`."""
    chunks = [body[start : start + size] for start in range(0, len(body), size)]
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + end


class Peer:
    """Where the scripted peer listens, and what it has seen so far."""

    def __init__(self, address: UnixAddress | TcpAddress) -> None:
        self.address = address
        self.connections = 0
        self.open = 0
        self.most_open = 0
        self.requests: list[bytes] = []
        self._changed = asyncio.Condition()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when a request or the end of a connection has made `condition` true."""
        async with self._changed:
            await self._changed.wait_for(condition)

    async def change(self) -> None:
        """Let those look again who wait for something to happen here."""
        async with self._changed:
            self._changed.notify_all()

    async def request(self, reader: asyncio.StreamReader) -> bytes:
        """The next whole request; raises asyncio.IncompleteReadError when there is none."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        request = head + await reader.readexactly(length)
        self.requests.append(request)
        await self.change()
        return request


@asynccontextmanager
async def scripted(
    handle: Callable[[Peer, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], socket: Path | None
) -> AsyncIterator[Peer]:
    """A peer that treats each connection by `handle`, on the Unix `socket` or on a TCP port of loopback."""
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        peer.connections += 1
        peer.open += 1
        peer.most_open = max(peer.most_open, peer.open)
        try:
            await handle(peer, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            peer.open -= 1
            writer.close()
            await peer.change()

    if socket is not None:
        server = await asyncio.start_unix_server(serve, socket)
        peer = Peer(UnixAddress(socket))
    else:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        peer = Peer(TcpAddress("127.0.0.1", server.sockets[0].getsockname()[1]))
    try:
        yield peer
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def answering(*replies: bytes) -> Callable[[Peer, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """Answers the requests of each connection with `replies` in turn, the last one again and again."""

    async def handle(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        turn = 0
        while True:
            await peer.request(reader)
            writer.write(replies[min(turn, len(replies) - 1)])
            await writer.drain()
            turn += 1

    return handle


def answering_then_closing(
    data: bytes,
) -> Callable[[Peer, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """Reads one request, writes `data` and closes the connection."""

    async def handle(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peer.request(reader)
        writer.write(data)
        await writer.drain()

    return handle


@asynccontextmanager
async def transport_to(
    address: UnixAddress | TcpAddress, *, deadline: float = 20.0, **options: Any
) -> AsyncIterator[OpaTransport]:
    """A transport that is closed at the end; a busy machine may take the peer away for longer than a server waits."""
    transport = OpaTransport(address, deadline=deadline, **options)
    try:
        yield transport
    finally:
        transport.close()
