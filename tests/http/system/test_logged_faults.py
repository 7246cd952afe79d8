"""A fault of our own in the log: where it happened, and nothing of what a client or a provider has said."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from json import loads

import pytest

from server.api.models.model import Model
from server.inference.provider import ChatRequest, ChatStream, HealthStatus, Pieces, ProviderHealth
from tests.support.application import house
from tests.support.serving import serving
from tests.support.stream_client import CHAT, body

CANARY = "prompt-canary"


class Clumsy:
    """A provider with a bug that quotes what it was asked; in a stream, behind the first piece."""

    async def start(self) -> None:
        """Nothing."""

    async def close(self) -> None:
        """Nothing."""

    async def health(self) -> ProviderHealth:
        """Fine."""
        return ProviderHealth(HealthStatus.OK)

    async def complete(self, request: ChatRequest) -> Pieces:
        """Fails."""
        return [_fail(request)]

    async def stream(self, request: ChatRequest) -> ChatStream:
        """Begins, and fails."""
        return _ClumsyStream(request)


class _ClumsyStream:
    def __init__(self, request: ChatRequest) -> None:
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b'data: {"choices":[]}\n\n'
        yield _fail(self._request)

    async def aclose(self) -> None:
        """Nothing."""


def _fail(request: ChatRequest) -> bytes:
    said: bytes = loads(request.payload)["messages"][0]["content"]
    try:
        return {b"": b""}[said]
    except KeyError as fault:
        raise ValueError(f"what is `{said}`?") from fault


@pytest.mark.parametrize("stream", [False, True])
def test_a_fault_is_logged_with_its_place_and_without_its_words(caplog: pytest.LogCaptureFixture, stream: bool) -> None:
    caplog.set_level(logging.DEBUG)
    models = (Model("m-here", "p", "m", "llm", {}),)
    with serving(house(models=models, providers={"p": Clumsy()})) as address:
        answer = address.post(CHAT, body("m", stream=stream, said=CANARY))
    last = answer.body.split(b"\n\n")[-2].removeprefix(b"data: ") if stream else answer.body
    error = loads(last)["error"]
    assert answer.status == (200 if stream else 500)
    assert (error["type"], error["code"]) == ("server_error", "server_error")
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    said = record.getMessage()
    assert answer.headers["x-request-id"] in said
    assert answer.headers["x-request-id"] in error["message"]
    assert "ValueError" in said and "KeyError" in said and "in _fail" in said
    assert CANARY not in caplog.text
