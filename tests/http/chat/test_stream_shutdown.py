"""A server that stops ends its open streams with an event that says so, and with a proper end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from json import loads

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from server.api.models.model import Model
from server.http.open_streams import OpenStreams
from server.inference.providers.openai_compatible import OpenAICompatible
from tests.support.application import house
from tests.support.failing_provider import ANSWERS, Upstream, upstream
from tests.support.patience import PATIENCE
from tests.support.serving import Address, parsed, serving
from tests.support.stream_client import Client, events


class Stopping:
    """An application whose streams can be ended from another thread."""

    def __init__(self, app: ASGIApp, streams: OpenStreams) -> None:
        self._app = app
        self._streams = streams
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._loop = asyncio.get_running_loop()
        await self._app(scope, receive, send)

    def end_all(self) -> None:
        assert self._loop is not None
        done = threading.Event()
        self._loop.call_soon_threadsafe(lambda: (self._streams.end_all(), done.set()))
        assert done.wait(PATIENCE)


@pytest.fixture
def running() -> Iterator[tuple[Upstream, Address, Stopping]]:
    with upstream() as server:
        provider = OpenAICompatible("p", f"{server.url}/v1", None)
        models = tuple(Model(f"{name}-here", "p", name, "llm", {}) for name in ("m", *ANSWERS))
        streams = OpenStreams()
        app = Stopping(house(models=models, providers={"p": provider}, streams=streams), streams)
        with serving(app) as address:
            yield server, address, app


def last_event(received: bytes) -> dict[str, dict[str, object]]:
    answer = parsed(received)
    *chunks, last = events(answer.body)
    assert all("choices" in chunk for chunk in chunks)
    assert isinstance(last, dict)
    return last


def test_a_stream_that_waits_for_its_provider_ends_with_an_error_and_the_provider_is_let_go(
    running: tuple[Upstream, Address, Stopping],
) -> None:
    server, address, app = running
    with Client(address, "silent") as one, Client(address, "silent") as other:
        one.read_until(b"first")
        other.read_until(b"first")
        app.end_all()
        for client in (one, other):
            error = last_event(client.read_until(b"0\r\n\r\n"))["error"]
            assert error["type"] == "server_error"
            assert error["code"] == "server_ending"
            assert "the server is shutting down" in str(error["message"])
        assert server.left.wait(PATIENCE)


def test_a_stream_that_begins_afterwards_ends_at_once(running: tuple[Upstream, Address, Stopping]) -> None:
    _, address, app = running
    with Client(address, "silent") as first:
        first.read_until(b"first")
        app.end_all()
        app.end_all()
        with Client(address, "silent") as late:
            assert last_event(late.read_until(b"0\r\n\r\n")).keys() == {"error"}


def test_a_stream_that_is_whole_is_not_disturbed(running: tuple[Upstream, Address, Stopping]) -> None:
    _, address, app = running
    with Client(address, "lingers") as client:
        client.read_until(b"[DONE]")
        app.end_all()
        assert client.read_until(b"0\r\n\r\n").endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


def test_a_client_that_does_not_read_does_not_keep_the_others_from_ending(
    running: tuple[Upstream, Address, Stopping],
) -> None:
    _, address, app = running
    with Client(address, "endless-stream", buffer=4096) as stuck, Client(address, "silent") as other:
        other.read_until(b"first")
        app.end_all()
        assert last_event(other.read_until(b"0\r\n\r\n")).keys() == {"error"}
        # Nothing is cut in the middle: who reads on gets whole events and the same end.
        received = stuck.read_until(b"\r\n0\r\n\r\n")
        last = parsed(received).body.split(b"\n\n")[-2]
        assert loads(last.removeprefix(b"data: ")).keys() == {"error"}
