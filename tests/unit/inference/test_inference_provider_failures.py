"""Failures of a provider: refusals, broken answers, silence, and whether it may have worked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from server.inference.provider import Fault, ProviderFailed
from tests.support.failing_provider import SECRET, Upstream, upstream
from tests.support.openai_provider import KEY, chat, complete, streamed


@pytest.fixture(scope="module")
def running() -> Iterator[Upstream]:
    with upstream() as server:
        yield server


@pytest.fixture
def server(running: Upstream) -> Upstream:
    running.forget()
    return running


def failure_of(work: Any) -> ProviderFailed:
    with pytest.raises(ProviderFailed) as raised:
        work()
    failure = raised.value
    assert SECRET not in repr((failure.message, failure.code, failure.param))
    assert KEY not in failure.message
    return failure


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
