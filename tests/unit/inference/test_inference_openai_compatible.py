"""Requests to a provider, its answers and streams, and the connections that are left open."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from json import loads
from typing import Any

import pytest

from server.inference.provider import ProviderFailed
from server.inference.providers.openai_compatible import OpenAICompatible
from tests.support.failing_provider import TEXT, Upstream, upstream
from tests.support.openai_provider import KEY, chat, complete, provider, streamed
from tests.support.patience import PATIENCE


@pytest.fixture(scope="module")
def running() -> Iterator[Upstream]:
    with upstream() as server:
        yield server


@pytest.fixture
def server(running: Upstream) -> Upstream:
    running.forget()
    return running


def test_the_provider_gets_its_own_name_of_the_model_and_everything_else_as_it_was(server: Upstream) -> None:
    answer = complete(server, chat(temperature=0.5, tools=[{"x": {"y": None}}]))
    assert server.body == {
        "model": "m",
        "messages": [{"role": "user", "content": "grüß dich"}],
        "temperature": 0.5,
        "tools": [{"x": {"y": None}}],
    }
    assert server.headers["Authorization"] == f"Bearer {KEY}"
    # Answers are passed on as they come, so they must not come compressed.
    assert server.headers["Accept-Encoding"] == "identity"
    assert answer["model"] == "p/canonical"
    assert answer["choices"][0]["message"]["content"] == "".join(TEXT)


def test_without_a_key_no_authorization_is_sent(server: Upstream) -> None:
    complete(server, chat(), key=None)
    assert "Authorization" not in server.headers


def test_a_stream_is_renamed_and_ends_with_done(server: Upstream) -> None:
    out = b"".join(streamed(server, chat(stream=True)))
    *events, done, rest = out.split(b"\n\n")
    assert (done, rest) == (b"data: [DONE]", b"")
    chunks = [loads(event.removeprefix(b"data: ")) for event in events]
    assert {chunk["model"] for chunk in chunks} == {"p/canonical"}
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == "".join(TEXT)


def test_a_piece_is_there_as_soon_as_the_provider_has_sent_it(server: Upstream) -> None:
    async def run() -> tuple[bytes, bytes]:
        async with provider(server) as made:
            stream = await made.stream(chat("gated", stream=True))
            pieces = aiter(stream)
            first = await anext(pieces)
            server.go_on.set()
            second = await anext(pieces)
            await stream.aclose()
            return first, second

    first, second = asyncio.run(run())
    assert b"first" in first
    assert b"second" in second


def test_closing_a_stream_closes_the_connection_to_the_provider(server: Upstream) -> None:
    async def run() -> bool:
        async with provider(server) as made:
            stream = await made.stream(chat("silent", stream=True))
            await anext(aiter(stream))
            await stream.aclose()
            return await asyncio.to_thread(server.left.wait, PATIENCE)

    assert asyncio.run(run())


def test_cancelling_a_completion_closes_the_connection_to_the_provider(server: Upstream) -> None:
    async def run() -> bool:
        async with provider(server) as made:
            task = asyncio.create_task(made.complete(chat("sleepy")))
            assert await asyncio.to_thread(server.arrived.wait, PATIENCE)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return await asyncio.to_thread(server.left.wait, PATIENCE)

    assert asyncio.run(run())


@pytest.mark.parametrize(("name", "most"), [("huge", 32 * 1024 * 1024), ("huge-refusal", 64 * 1024)])
def test_an_answer_without_an_end_is_read_to_its_limit_and_let_go(server: Upstream, name: str, most: int) -> None:
    async def run() -> tuple[str, bool]:
        async with provider(server) as made:
            with pytest.raises(ProviderFailed) as failed:
                await made.complete(chat(name))
            return failed.value.message, await asyncio.to_thread(server.left.wait, PATIENCE)

    assert asyncio.run(run()) == (f"the provider `p` answered with more than {most} bytes", True)


@pytest.mark.parametrize("stream", [False, True])
def test_one_connection_serves_one_request_after_another(server: Upstream, stream: bool) -> None:
    async def run() -> None:
        async with provider(server) as made:
            for _ in range(5):
                await _once(made, stream)

    asyncio.run(run())
    assert len(server.asked) == 5
    assert len(server.ports) == 1


def test_a_provider_that_lingers_after_the_end_is_not_waited_for(server: Upstream) -> None:
    async def run() -> None:
        async with provider(server) as made, asyncio.timeout(PATIENCE):
            await _drain(made.stream(chat("lingers", stream=True)))

    asyncio.run(run())


def test_no_cookie_of_one_answer_reaches_the_next_request(server: Upstream) -> None:
    async def run() -> None:
        async with provider(server) as made:
            await made.complete(chat("cookie"))
            await made.complete(chat())

    asyncio.run(run())
    assert "Cookie" not in server.headers


def test_the_environment_cannot_send_requests_elsewhere(server: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert complete(server, chat())["model"] == "p/canonical"


def test_a_provider_that_is_not_there_does_not_end_the_stream_of_another(server: Upstream) -> None:
    async def run() -> bytes:
        async with provider(server) as made, provider(Upstream(url="http://127.0.0.1:9")) as missing:
            stream = await made.stream(chat("gated", stream=True))
            pieces = aiter(stream)
            await anext(pieces)
            with pytest.raises(ProviderFailed):
                await missing.complete(chat())
            server.go_on.set()
            rest = b"".join([piece async for piece in pieces])
            await stream.aclose()
            return rest

    assert b"second" in asyncio.run(run())


def test_a_body_of_megabytes_is_sent_whole(server: Upstream) -> None:
    complete(server, chat(pad="x" * 3_000_000))
    assert len(server.body["pad"]) == 3_000_000


async def _once(made: OpenAICompatible, stream: bool) -> None:
    if stream:
        await _drain(made.stream(chat(stream=True)))
    else:
        await made.complete(chat())


async def _drain(opening: Coroutine[Any, Any, Any]) -> None:
    stream = await opening
    async for _ in stream:
        pass
    await stream.aclose()
