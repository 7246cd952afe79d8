"""The name in an answer: replaced where it is, whatever else looks like it, and nothing else changed."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from json import dumps, loads
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.inference.answers.model_name import SMALL, ModelNaming
from server.inference.answers.plain import NotAnAnswer

NAME = 'p/"ü"'

names = st.sampled_from(["id", "object", "created", "usage", 'a"model', "models", "x\\", "error_code", "Model"])
texts = st.text(max_size=8) | st.sampled_from(['"model":"m"', "\\", '\\"', '"}', '],"model":"m"}', "[DONE]", "\u2028"])
leaves = texts | st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(names | st.sampled_from(["model", "error", "choices"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@st.composite
def answers(draw: st.DrawFn) -> dict[str, Any]:
    members = [(name, draw(values)) for name in draw(st.lists(names, max_size=4, unique=True))]
    members.append(("choices", draw(st.lists(values, max_size=3))))
    if draw(st.booleans()):
        members.append(("model", draw(leaves)))
    if draw(st.booleans()):
        members.append(("error", None))
    return dict(draw(st.permutations(members)))


def renamed(text: bytes, name: str = NAME) -> bytes:
    return b"".join(ModelNaming(name).apply(text))


@given(answers(), st.sampled_from([(",", ":"), (", ", ": "), (" ,\r\n", "\t: ")]), st.booleans())
def test_any_answer_gets_the_name_and_keeps_the_rest(
    answer: dict[str, Any], separators: tuple[str, str], ascii_only: bool
) -> None:
    text = dumps(answer, separators=separators, ensure_ascii=ascii_only).encode()
    out = renamed(text)
    assert loads(out) == {**answer, "model": NAME}
    if "model" in answer:
        before = text[: _common(text, out)]
        after = text[len(text) - _common(text[::-1], out[::-1]) :]
        assert len(before) + len(after) + len(dumps(answer["model"]).encode()) >= len(text)


def _common(one: bytes, other: bytes) -> int:
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def test_a_name_that_comes_twice_is_replaced_twice() -> None:
    assert renamed(b'{"model":"a","choices":[],"model":"b"}', "p/m").count(b'"p/m"') == 2


@pytest.mark.parametrize("padding", [0, 2 * SMALL])
@pytest.mark.parametrize(
    "text",
    [
        '{"mod\\u0065l":"upstream","choices":[]}',
        '{"object":"o","model":"m","choices":[],"mod\\u0065l":"upstream"}',
        '{"object":"o","model":"m","choices":[],"\\u006dodel":"upstream"}',
        '{"choices":[],"\\u006D\\u006F\\u0064\\u0065\\u006C":"upstream","model":"m","object":"o"}',
    ],
)
def test_a_name_that_is_spelled_with_escapes_is_replaced_too(text: str, padding: int) -> None:
    out = renamed(text.replace("[]", f"[{' ' * padding}]").encode())
    assert loads(out)["model"] == NAME
    assert b"upstream" not in out


@pytest.mark.parametrize("padding", [0, 2 * SMALL])
def test_an_error_that_is_spelled_with_escapes_is_no_answer(padding: int) -> None:
    text = f'{{"object":"o","model":"m","choices":[{" " * padding}],"\\u0065rror":{{"message":"secret"}}}}'
    with pytest.raises(NotAnAnswer):
        renamed(text.encode())


NO_ANSWERS = [
    b"",
    b"nonsense",
    b"[]",
    b'"text"',
    b"{}",
    b'{"model":"m"}',
    b'{"choices":{}}',
    b'{"choices":null}',
    b'{"choices":[],"error":{"message":"key sk-1 is wrong"}}',
    b'{"error":"no","choices":[]}',
    b'{"choices":[]',
    b'{"choices":[',
    b'{"choices":[]}}',
    b'{"choices":[]} {}',
    b'{"choices":[],}',
    b'{"choices":[] "model":"m"}',
    b'{choices:[],"model":"m"}',
    b'{"choices"=[]}',
    b'{"model":"m,"choices":[]}',
    b'{"model":bad,"choices":[]}',
    b'{"choices":["\\"]}',
]


@pytest.mark.parametrize("text", NO_ANSWERS)
def test_what_is_no_answer_is_refused(text: bytes) -> None:
    with pytest.raises(NotAnAnswer):
        renamed(text)


@pytest.mark.parametrize(
    "text",
    [
        b'{"choices":[],"x":NaN}',
        b'{"choices":[Infinity]}',
        b'{"choices":["\xff"]}',
        b'{"choices":["\x01"]}',
        b'{"choices":["\\x"]}',
        b'{"choices":[01]}',
        b'{"choices":' + b"[" * 60_000,
    ],
)
@pytest.mark.parametrize("padding", [0, 200_000])
def test_what_is_no_json_is_refused(text: bytes, padding: int) -> None:
    with pytest.raises(NotAnAnswer):
        renamed(text[:-1] + b',"y":"' + b"x" * padding + b'"}' if text.endswith(b"}") else text)


@pytest.mark.parametrize("shift", range(8))
def test_a_number_at_the_border_of_a_window_is_one(shift: int) -> None:
    numbers = b"-1.25e+3," * 30_000
    text = b'{"z":"' + b"x" * shift + b'","n":[' + numbers + b'1],"choices":[],"model":"m"}'
    assert renamed(text) == text.replace(b'"m"', dumps(NAME).encode())


def _large(content: str, size: int) -> bytes:
    choices = [{"message": {"content": content}} for _ in range(size // (len(dumps(content)) + 30))]
    return dumps({"id": "x", "choices": choices, "created": 1, "model": "m", "usage": {"total_tokens": 1}}).encode()


@pytest.mark.parametrize(
    "content", ["x" * 1_000_000, 'say \\"model\\": "m" [{' * 9, ""], ids=["long", "quoted", "many"]
)
def test_a_large_answer_is_renamed(content: str) -> None:
    text = _large(content, 8_000_000)
    assert len(text) > SMALL
    assert renamed(text) == text.replace(b'"model": "m", "usage"', b'"model": %b, "usage"' % dumps(NAME).encode())


@pytest.mark.alone
def test_the_loop_goes_round_while_a_large_answer_is_renamed() -> None:
    text = _large("", 8_000_000)

    async def longest_and_whole() -> tuple[float, float]:
        work = asyncio.create_task(asyncio.to_thread(ModelNaming(NAME).apply, text))
        rounds = [perf_counter()]
        while not work.done():
            await asyncio.sleep(0)
            rounds.append(perf_counter())
        await work
        return max(end - start for start, end in pairwise(rounds)), rounds[-1] - rounds[0]

    longest, whole = asyncio.run(longest_and_whole())
    assert longest < whole / 2


MANY = b'"model":"m",'


@pytest.mark.parametrize(
    "text",
    [
        b"{" + MANY * 5000 + b'"z":{},"choices":[]}',
        b'{"choices":[],' + MANY * 5000 + b'"z":{}}',
        b'{"choices":[],' + MANY * 5000 + b'"z":1}',
    ],
    ids=["before", "behind", "all behind"],
)
def test_thousands_of_names_are_replaced(text: bytes) -> None:
    assert renamed(text) == text.replace(b'"m"', dumps(NAME).encode())


@pytest.mark.parametrize("place", [0, 1, 8, 9, -2, -1])
def test_blanks_may_be_of_any_length(place: int) -> None:
    text = b'{"model":"m","choices":[]}'
    place %= len(text) + 1
    text = text[:place] + b" \n\t\r" * 100_000 + text[place:]
    assert renamed(text) == text.replace(b'"m"', dumps(NAME).encode())


def test_a_number_that_fills_a_megabyte_is_no_part_of_an_answer() -> None:
    with pytest.raises(NotAnAnswer):
        renamed(b'{"choices":[],"n":' + b"1" * 1_000_000 + b"}")
