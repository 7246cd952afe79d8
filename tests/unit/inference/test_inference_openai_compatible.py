"""Talking to a provider: what is sent, what becomes of every kind of answer, and what is left open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from json import dumps, loads
from typing import Any

import pytest

from server.inference.provider import ChatRequest, Fault, HealthStatus, ProviderFailed
from server.inference.providers.http_provider import Limits
from server.inference.providers.openai_compatible import OpenAICompatible
from tests.support.failing_provider import SECRET, TEXT, Upstream, upstream

KEY = "sk-provider-key"


@pytest.fixture(scope="module")
def running() -> Iterator[Upstream]:
    with upstream() as server:
        yield server


@pytest.fixture
def server(running: Upstream) -> Upstream:
    running.forget()
    return running


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


def failure_of(work: Any) -> ProviderFailed:
    with pytest.raises(ProviderFailed) as raised:
        work()
    failure = raised.value
    assert SECRET not in repr((failure.message, failure.code, failure.param))
    assert KEY not in failure.message
    return failure


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


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("model", "fault", "code"),
    [
        ("status-400", Fault.REQUEST, "invalid_value"),
        ("status-400-odd", Fault.REQUEST, None),
        ("status-400-length", Fault.REQUEST, "context_length_exceeded"),
        ("status-401", Fault.PROVIDER, "server_error"),
        ("status-403", Fault.PROVIDER, "server_error"),
        ("status-404", Fault.PROVIDER, "server_error"),
        ("status-422", Fault.REQUEST, None),
        ("status-429", Fault.BUSY, "rate_limit_exceeded"),
        ("status-429-odd", Fault.BUSY, "rate_limit_exceeded"),
        ("status-429-quota", Fault.BUSY, "insufficient_quota"),
        ("status-500", Fault.PROVIDER, "server_error"),
        ("status-503", Fault.PROVIDER, "server_error"),
        ("redirect-301", Fault.PROVIDER, "server_error"),
        ("redirect-302", Fault.PROVIDER, "server_error"),
        ("redirect-303", Fault.PROVIDER, "server_error"),
        ("redirect-307", Fault.PROVIDER, "server_error"),
        ("redirect-308", Fault.PROVIDER, "server_error"),
    ],
)
def test_each_refusal_has_its_meaning_and_none_of_the_providers_words(
    server: Upstream, model: str, fault: Fault, code: str | None, stream: bool
) -> None:
    asked = chat(model, stream=stream)
    failure = failure_of(lambda: streamed(server, asked) if stream else complete(server, asked))
    assert (failure.fault, failure.code) == (fault, code)
    assert len(server.asked) == 1


def test_what_a_refusal_may_pass_on_is_the_place_and_the_time_to_wait(server: Upstream) -> None:
    assert failure_of(lambda: complete(server, chat("status-400"))).param == "messages[0].content"
    assert failure_of(lambda: complete(server, chat("status-400-odd"))).param is None
    assert failure_of(lambda: complete(server, chat("status-429"))).retry_after == 7
    assert failure_of(lambda: complete(server, chat("status-429-odd"))).retry_after is None


@pytest.mark.parametrize("model", ["html", "list", "no-choices", "nan", "huge"])
def test_an_answer_that_is_no_completion_is_the_providers_fault(server: Upstream, model: str) -> None:
    assert failure_of(lambda: complete(server, chat(model))).fault is Fault.PROVIDER


def test_a_stream_that_breaks_off_before_its_first_event_is_refused(server: Upstream) -> None:
    failure = failure_of(lambda: streamed(server, chat("endless-event", stream=True)))
    assert failure.fault is Fault.PROVIDER
    assert not hasattr(failure, "__notes__")


@pytest.mark.parametrize("model", ["html", "list"])
def test_an_answer_that_is_no_stream_is_refused_before_the_first_piece(server: Upstream, model: str) -> None:
    failure = failure_of(lambda: streamed(server, chat(model, stream=True)))
    assert failure.fault is Fault.PROVIDER
    assert failure.message == "the provider `p` answered with something other than a stream"
    assert not hasattr(failure, "__notes__")


@pytest.mark.parametrize("model", ["dies", "stops", "garbage", "errs", "silent"])
def test_a_stream_that_breaks_off_raises_after_the_pieces_that_were_whole(server: Upstream, model: str) -> None:
    failure = failure_of(lambda: streamed(server, chat(model, stream=True), silence=0.3))
    assert failure.fault is Fault.PROVIDER
    received = "".join(failure.__notes__)
    assert SECRET not in received
    assert "half" not in received
    assert "first" in received


@pytest.mark.parametrize("stream", [False, True])
def test_silence_ends_the_wait_for_an_answer(server: Upstream, stream: bool) -> None:
    asked = chat("sleepy", stream=stream)
    answer = streamed if stream else complete
    failure = failure_of(lambda: answer(server, asked, silence=0.2))
    assert "did not answer in time" in failure.message


def test_a_provider_that_is_not_there_is_the_providers_fault() -> None:
    nowhere = Upstream(url="http://127.0.0.1:9")
    failure = failure_of(lambda: complete(nowhere, chat()))
    assert (failure.fault, failure.message) == (Fault.PROVIDER, "the provider `p` could not be reached")


@pytest.mark.parametrize(
    ("model", "spent"),
    [
        (None, False),
        *((f"status-{status}", False) for status in ("400", "401", "404", "422", "429", "500", "503")),
        ("redirect-307", False),
        *((model, True) for model in ("sleepy", "html", "list", "no-choices")),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_provider_may_have_worked_unless_it_refused_or_is_not_there(
    server: Upstream, model: str | None, stream: bool, spent: bool
) -> None:
    asked, ask = chat(model or "m", stream=stream), streamed if stream else complete
    there = server if model else Upstream(url="http://127.0.0.1:9")
    assert failure_of(lambda: ask(there, asked, silence=0.3)).spent is spent


def test_closing_a_stream_closes_the_connection_to_the_provider(server: Upstream) -> None:
    async def run() -> bool:
        async with provider(server) as made:
            stream = await made.stream(chat("silent", stream=True))
            await anext(aiter(stream))
            await stream.aclose()
            return await asyncio.to_thread(server.left.wait, 5)

    assert asyncio.run(run())


def test_cancelling_a_completion_closes_the_connection_to_the_provider(server: Upstream) -> None:
    async def run() -> bool:
        async with provider(server) as made:
            task = asyncio.create_task(made.complete(chat("sleepy")))
            assert await asyncio.to_thread(server.arrived.wait, 5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return await asyncio.to_thread(server.left.wait, 5)

    assert asyncio.run(run())


@pytest.mark.parametrize(("name", "most"), [("huge", 32 * 1024 * 1024), ("huge-refusal", 64 * 1024)])
def test_an_answer_without_an_end_is_read_to_its_limit_and_let_go(server: Upstream, name: str, most: int) -> None:
    async def run() -> tuple[str, bool]:
        async with provider(server) as made:
            with pytest.raises(ProviderFailed) as failed:
                await made.complete(chat(name))
            return failed.value.message, await asyncio.to_thread(server.left.wait, 5)

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
        async with provider(server) as made, asyncio.timeout(3):
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


def test_health_is_asked_for_once_however_many_want_to_know(server: Upstream) -> None:
    async def run() -> set[HealthStatus]:
        async with provider(server) as made:
            return {health.status for health in await asyncio.gather(*(made.health() for _ in range(10)))}

    assert asyncio.run(run()) == {HealthStatus.OK}
    assert [path for path, _, _ in server.asked] == ["/v1/models"]


def test_health_is_asked_for_again_after_a_while(server: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    from server.inference.providers import openai_compatible as module

    monkeypatch.setattr(module, "HEALTH_SECONDS", 0.1)

    async def run() -> None:
        async with provider(server) as made:
            for _ in range(3):
                await made.health()
            await asyncio.sleep(0.15)
            await made.health()

    asyncio.run(run())
    assert [path for path, _, _ in server.asked] == ["/v1/models", "/v1/models"]


@pytest.mark.parametrize(
    ("status", "well"), [(200, True), (204, False), (301, False), (401, False), (404, False), (500, False)]
)
def test_only_a_list_of_models_is_a_sign_of_health(server: Upstream, status: int, well: bool) -> None:
    async def run() -> tuple[HealthStatus, str]:
        async with provider(server) as made:
            health = await made.health()
            return health.status, health.message

    server.health = status
    wanted = (HealthStatus.OK, "") if well else (HealthStatus.ERROR, f"it answers with status {status}")
    assert asyncio.run(run()) == wanted
    assert [path for path, _, _ in server.asked] == ["/v1/models"]


def test_a_provider_that_is_not_there_is_not_well() -> None:
    async def run() -> tuple[HealthStatus, str]:
        async with provider(Upstream(url="http://127.0.0.1:9")) as made:
            health = await made.health()
            return health.status, health.message

    assert asyncio.run(run()) == (HealthStatus.ERROR, "it can't be reached")


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
