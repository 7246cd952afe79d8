"""Requests and answers of very many texts: shields look at no more of them than other callers can wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from json import dumps, loads
from typing import Any

import pytest

from server.config.shield_params import Common
from server.inference.provider import ChatRequest, Task
from server.safety import texts as subject
from server.safety.checks import MOST_BYTES, Checks, Given
from server.safety.keyword import Keywords
from server.safety.running import RunningShield, ShieldUnavailable, TextTooLong, UsableShield
from server.safety.shield import Direction, Verdict
from server.safety.slots import Texts
from server.safety.texts import MOST_SIGNS, MOST_TEXTS, answer_texts, request_texts


class Guard:
    """Has one shield, a list of words."""

    def shields(self) -> Sequence[UsableShield]:
        shield = Keywords({"own": ["canary"]}, whole_words=False)
        return [UsableShield(RunningShield("words", shield, Common()), None)]  # type: ignore[arg-type]

    async def note(
        self, shield: str, direction: Direction, verdict: Verdict, characters: int, *, acts: bool = True
    ) -> None:
        pass


def checks() -> Checks:
    guard = Guard()
    return Checks(guard, guard.shields())


def chat(**members: Any) -> bytes:
    return dumps({"messages": [{"role": "user", "content": "x", **members}]}).encode()


def beside(count: int) -> bytes:
    return dumps({"messages": [], "stop": [""] * count}).encode()


def inputs(count: int) -> bytes:
    return dumps({"input": [""] * count}).encode()


REQUESTS = [
    (lambda count: chat(tool_calls=["a"] * (count - 2)), Task.CHAT),
    (beside, Task.CHAT),
    (inputs, Task.EMBEDDING),
]


@pytest.mark.parametrize(("request_of", "task"), REQUESTS)
def test_a_request_has_so_many_texts_and_no_more(request_of: Any, task: Task) -> None:
    given = asyncio.run(checks().given(ChatRequest("", request_of(MOST_TEXTS - 2), task=task)))
    assert isinstance(given, Given)
    assert len(given.said) >= MOST_TEXTS - 3
    with pytest.raises(TextTooLong, match=f"at most {MOST_TEXTS} texts"):
        asyncio.run(checks().given(ChatRequest("", request_of(MOST_TEXTS + 3), task=task)))


def test_what_escapes_stand_for_are_texts() -> None:
    with pytest.raises(TextTooLong, match=f"at most {MOST_TEXTS} texts"):
        asyncio.run(checks().given(ChatRequest("", chat(tool_calls=["\\u0061"] * (MOST_TEXTS // 2 + 1)))))


@pytest.mark.parametrize(("value", "signs"), [(0, 1), ([], 2), ({}, 2), ("", 2), ({"i": 0}, 3)])
def test_what_has_more_parts_is_not_parsed(value: Any, signs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "loads", None)
    payload = dumps(
        {"messages": [{"role": "user", "x": [value] * (MOST_SIGNS // signs)}]}, separators=(",", ":")
    ).encode()
    with pytest.raises(TextTooLong, match=f"at most {MOST_SIGNS} brackets"):
        asyncio.run(checks().given(ChatRequest("", payload)))


def test_one_text_may_hold_any_number_of_signs() -> None:
    text = ',[{"\\' * (MOST_SIGNS // 2)
    assert [said.text for said in request_texts(chat(content=text), Task.CHAT).said] == [text]


@pytest.mark.parametrize("count", [MOST_TEXTS + 1, MOST_SIGNS // 2])
def test_an_answer_of_more_texts_is_not_sent(count: int) -> None:
    answer = dumps({"choices": [{"message": {"content": [""] * count}}]}).encode()
    given = Given(ChatRequest("", chat()), [])
    with pytest.raises(ShieldUnavailable, match="so that it can't be checked"):
        asyncio.run(checks().made(given, answer))


def test_a_megabyte_of_tokens_with_probabilities_is_checked() -> None:
    token = {"token": "word", "logprob": -0.25, "bytes": [119, 111, 114, 100]}
    tokens = [{**token, "top_logprobs": [token] * 5}] * (MOST_BYTES // 405)
    choice = {"message": {"content": "word" * len(tokens)}, "logprobs": {"content": tokens}}
    answer = dumps({"choices": [choice]}, separators=(",", ":")).encode()
    assert 0.9 * MOST_BYTES < len(answer) <= MOST_BYTES
    assert answer_texts(answer).said[-1].text == choice["message"]["content"]


def test_masked_texts_are_what_the_next_shield_is_given() -> None:
    texts: Texts = answer_texts(dumps({"choices": [{"message": {"content": "\\u0061", "refusal": "b"}}]}).encode())
    assert [said.text for said in texts.said] == ["a", "\\u0061", "b"]
    assert not texts.put_back(["a", "b"])
    assert not texts.put_back(["masked", "\\u0061", "b"])
    assert texts.put_back(["a", "\\u0061", "masked"])
    assert [said.text for said in texts.said] == ["a", "\\u0061", "masked"]
    assert all(said.by_model for said in texts.said)
    assert loads(texts.written())["choices"][0]["message"] == {"content": "\\u0061", "refusal": "masked"}
    assert replace(texts, images=()).said == texts.said
