"""A provider that takes a request's first bytes and no more: nobody waits for it for ever, and nothing stays open."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from json import dumps
from pathlib import Path

import pytest

from server.inference.provider import ChatRequest, Fault, ProviderFailed
from server.inference.providers.http_provider import Limits
from server.inference.providers.openai_compatible import OpenAICompatible
from tests.support.patience import PATIENCE

LARGE = ChatRequest("p/m", dumps({"model": "m", "messages": [{"role": "user", "content": "x" * 9_000_000}]}).encode())


@dataclass
class Deaf:
    """Accepts connections and reads nothing."""

    url: str
    connections: list[socket.socket] = field(default_factory=list)
    arrived: threading.Event = field(default_factory=threading.Event)


@contextmanager
def deaf() -> Iterator[Deaf]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Deaf(f"http://127.0.0.1:{listener.getsockname()[1]}")

        def accept() -> None:
            try:
                while True:
                    server.connections.append(listener.accept()[0])
                    server.arrived.set()
            except OSError:
                return

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(timeout=PATIENCE)
            for connection in server.connections:
                connection.close()


async def is_left(server: Deaf) -> bool:
    """Whether this process closes its end of the server's only connection within a generous time."""
    for _ in range(3000):
        if not _is_held(server):
            return True
        await asyncio.sleep(0.01)
    return False


def _is_held(server: Deaf) -> bool:
    (theirs,) = server.connections
    return any(_goes_to(theirs, name) for name in Path("/proc/self/fd").iterdir())


def _goes_to(theirs: socket.socket, descriptor: Path) -> bool:
    try:
        with socket.socket(fileno=os.dup(int(descriptor.name))) as ours:
            return ours.getsockname() == theirs.getpeername()
    except OSError:
        return False


@pytest.mark.parametrize("stream", [False, True])
def test_a_provider_that_does_not_take_a_request_is_not_waited_for(stream: bool) -> None:
    async def run(server: Deaf) -> None:
        made = OpenAICompatible("p", f"{server.url}/v1", None, limits=Limits(silence=0.3))
        await made.start()
        try:
            await (made.stream(LARGE) if stream else made.complete(LARGE))
        finally:
            assert await is_left(server)
            await made.close()

    with deaf() as server, pytest.raises(ProviderFailed, match="did not answer in time") as failure:
        asyncio.run(run(server))
    assert failure.value.fault is Fault.PROVIDER


def test_a_request_that_is_given_up_half_sent_keeps_no_connection() -> None:
    async def run(server: Deaf) -> bool:
        made = OpenAICompatible("p", f"{server.url}/v1", None, limits=Limits(silence=0.3))
        await made.start()
        task = asyncio.create_task(made.complete(LARGE))
        assert await asyncio.to_thread(server.arrived.wait, PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        left = await is_left(server)
        await made.close()
        return left

    with deaf() as server:
        assert asyncio.run(run(server))
