"""Answers that a test writes for itself, in the words of its last message to `inline::echo`."""

from __future__ import annotations

from collections.abc import Iterator
from json import dumps, loads
from time import monotonic
from typing import Any

import openai
import pytest

from tests.support.relay_server import Relaying, relaying

CALLS = [{"name": "weather", "arguments": {"city": "Bern, Kanton Bern"}}, {"name": "time"}]


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relaying]:
    with relaying(tmp_path_factory.mktemp("echo"), "provider_type: inline::echo") as running:
        yield running


def script(**members: Any) -> list[dict[str, str]]:
    return [{"role": "user", "content": "first"}, {"role": "user", "content": dumps({"echo": members})}]


def client(echo: Relaying) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{echo.address.url}/v1", api_key="alice", max_retries=0)


SAYING = {
    "content": "hello there",
    "reasoning": "let me see",
    "refusal": None,
    "tool_calls": CALLS,
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
}


def test_a_script_is_answered_whole_and_in_a_stream_alike(echo: Relaying) -> None:
    messages: Any = script(**SAYING)
    with client(echo) as asking:
        whole = asking.chat.completions.create(model="p/m", messages=messages)
        with asking.chat.completions.stream(
            model="p/m", messages=messages, stream_options={"include_usage": True}
        ) as stream:
            streamed = stream.get_final_completion()
    for answer in (whole, streamed):
        [choice] = answer.choices
        assert (choice.message.content, choice.finish_reason) == ("hello there", "tool_calls")
        assert choice.message.model_dump()["reasoning_content"] == "let me see"
        calls = [(call.function.name, loads(call.function.arguments)) for call in choice.message.tool_calls or ()]
        assert calls == [("weather", {"city": "Bern, Kanton Bern"}), ("time", {})]
        assert answer.usage is not None and answer.usage.total_tokens == 3
    assert whole.id == streamed.id
    first, second = (answer.choices[0].message.tool_calls for answer in (whole, streamed))
    assert [call.id for call in first or ()] == [call.id for call in second or ()]


def test_the_same_script_gives_the_same_bytes_but_for_the_time(echo: Relaying) -> None:
    for stream in (False, True):
        answers = [echo.chat(messages=script(**SAYING), stream=stream, n=2).body for _ in range(2)]
        one, other = (answer.replace(b"created", b"") for answer in answers)
        assert len(one) == len(other)
        assert answers[0].count(b"hello") == 2


def test_a_refusal_and_a_reason_to_end(echo: Relaying) -> None:
    [choice] = echo.chat(messages=script(refusal="no", finish_reason="content_filter")).json["choices"]
    assert (choice["message"]["refusal"], choice["finish_reason"]) == ("no", "content_filter")
    assert choice["message"]["content"] is None


def test_usage_may_be_left_out(echo: Relaying) -> None:
    assert "usage" not in echo.chat(messages=script(content="a", usage=None)).json
    assert echo.chat(messages=script(content="a")).json["usage"]["total_tokens"] > 0


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        ({}, 502, "server_error"),
        ({"status": 400, "code": "context_length_exceeded"}, 400, "context_length_exceeded"),
        ({"status": 429}, 429, "rate_limit_exceeded"),
        ({"status": 503, "after": 0}, 502, "server_error"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_an_error_in_the_place_of_an_answer(
    echo: Relaying, error: dict[str, Any], status: int, code: str, stream: bool
) -> None:
    answer = echo.chat(messages=script(content="a", error=error), stream=stream)
    assert (answer.status, answer.error["code"]) == (status, code)


@pytest.mark.parametrize("after", [1, 2, 3])
def test_an_error_behind_a_chunk(echo: Relaying, after: int) -> None:
    answer = echo.chat(messages=script(content="a b c d", error={"after": after}), stream=True)
    events = [loads(text[6:]) for text in answer.body.split(b"\n\n")[:-1]]
    assert (answer.status, len(events)) == (200, after + 1)
    assert events[-1]["error"]["code"] == "server_error"


def test_delays_are_before_each_chunk(echo: Relaying) -> None:
    started = monotonic()
    assert echo.chat(messages=script(content="a b c", delay_ms=100), stream=True).body.endswith(b"[DONE]\n\n")
    assert monotonic() - started >= 0.5
    started = monotonic()
    assert echo.chat(messages=script(content="a b c", delay_ms=100)).status == 200
    assert 0.1 <= monotonic() - started < 5


@pytest.mark.parametrize(
    "members",
    [
        {"x": 1},
        {"content": 5},
        {"tool_calls": [{}]},
        {"tool_calls": {"name": "f"}},
        {"usage": 5},
        {"delay_ms": -1},
        {"delay_ms": 10_001},
        {"delay_ms": True},
        {"error": {"status": 200}},
        {"error": {"code": "no code"}},
        {"error": {"after": -1}},
        {"error": 5},
        {"content": "x" * 40_000},
    ],
)
def test_a_wrong_script_is_refused(echo: Relaying, members: dict[str, Any]) -> None:
    answer = echo.chat(messages=script(**members))
    assert (answer.status, answer.error["param"]) == (400, "messages")


def test_delays_have_a_limit_together(echo: Relaying) -> None:
    answer = echo.chat(messages=script(content="a " * 100, delay_ms=10_000), stream=True)
    assert (answer.status, answer.error["param"]) == (400, "messages")


@pytest.mark.parametrize("text", ['{"echo": 5}', '{"echo": {}, "x": 1}', '{"echo"', 'say {"echo": {}}'])
def test_what_is_no_script_is_repeated(echo: Relaying, text: str) -> None:
    answer = echo.chat(messages=[{"role": "user", "content": text}]).json
    assert answer["choices"][0]["message"]["content"] == f"echo: {text}"


def test_results_of_calls_lead_to_the_next_script(echo: Relaying) -> None:
    second = {"tool_calls": [{"name": "time"}]}
    messages: Any = script(tool_calls=CALLS, then=second)
    told = []
    with client(echo) as asking:
        for result in ("sunny", "noon"):
            message = asking.chat.completions.create(model="p/m", messages=messages).choices[0].message
            assert message.tool_calls is not None
            told.append([call.id for call in message.tool_calls])
            messages.append(message.model_dump(exclude_none=True))
            messages += [{"role": "tool", "tool_call_id": each, "content": result} for each in told[-1]]
        last = asking.chat.completions.create(model="p/m", messages=messages).choices[0].message
    assert last.content == "echo: noon"
    assert [len(ids) for ids in told] == [2, 1]
    assert not {*told[0]} & {*told[1]}
