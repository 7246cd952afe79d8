"""The parser of bodies: one parse, one meaning, and the place of every member."""

from __future__ import annotations

from json import dumps, loads
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.json_input.strict import MAX_DEPTH, InvalidJson, Repeats, StrictDecoder, Why, parse_json

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=12)
NAMES = st.text() | st.sampled_from(["model", "messages", "a", ""])
MODELS = st.text(min_size=1) | st.sampled_from(["model", '"', "\\", '"model":"x"'])
BLANKS = st.text(" \t\r\n", max_size=3)


@given(st.dictionaries(st.text(), VALUES), st.booleans())
def test_a_body_means_what_json_says(body: dict[str, Any], escaped: bool) -> None:
    assert parse_json(dumps(body, ensure_ascii=escaped).encode()).members == body


@given(st.binary())
def test_any_bytes_are_a_body_or_refused(raw: bytes) -> None:
    try:
        assert isinstance(parse_json(raw).members, dict)
    except InvalidJson as refusal:
        assert refusal.why is Why.WRONG


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b'{"model":"a","model":"b"}', "a key comes twice"),
        (b'{"model":"a","mo\\u0064el":"b"}', "a key comes twice"),
        (b'{"a":[{"x":1,"\\u0078":2}]}', "a key comes twice"),
        (b"{" + b'"a":1,' * 10_000 + b'"a":1}', "a key comes twice"),
        (b'{"a":NaN}', "`NaN`"),
        (b'{"a":Infinity}', "`Infinity`"),
        (b'{"a":[-Infinity]}', "`-Infinity`"),
        (b'{"a":1e400}', "too large"),
        (b'{"a":-1e999}', "too large"),
        (b'{"a":' + b"1" * 5000 + b"}", "too many digits"),
        (b'{"a":"\\ud800"}', "surrogate"),
        (b'{"a":"\\udc00\\ud800"}', "surrogate"),
        (b'{"\\udfff":1}', "surrogate"),
        (b'{"a":"\xed\xa0\x80"}', "not UTF-8"),
        (b'{"a":"\xc0\xaf"}', "not UTF-8"),
        (b"\xff\xfe{\x00}\x00", "not UTF-8"),
        (b"\x00\x00\x00{\x00\x00\x00}", "not JSON"),
        (b'\xef\xbb\xbf{"a":1}', "not JSON"),
        (b"", "the body is empty"),
        (b" \n", "the body is empty"),
        (b'{"a":1} x', "not JSON"),
        (b'{"a":1}\x00', "not JSON"),
        (b'{"a":1}{"a":2}', "not JSON"),
        (b'{"a":1,}', "not JSON"),
        (b'{"a":1 /* b */}', "not JSON"),
        (b"{'a':1}", "not JSON"),
        (b"{a:1}", "not JSON"),
        (b'{"a":01}', "not JSON"),
        (b'{"a":+1}', "not JSON"),
        (b'{"a":.5}', "not JSON"),
        (b'{"a":0x1}', "not JSON"),
        (b'{"a":"\n"}', "not JSON"),
        (b'{"a":"\x00"}', "not JSON"),
        (b'{"a":"\\x41"}', "not JSON"),
        (b'{"a":\xc2\xa01}', "not JSON"),
        (b'{"a":1', "not JSON"),
        (b"[]", "not a JSON object"),
        (b'"model"', "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}", "levels deep"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "levels deep"),
        (b'{"a":' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}", "levels deep"),
    ],
)
def test_what_has_no_single_meaning_is_refused(raw: bytes, sentence: str) -> None:
    with pytest.raises(InvalidJson) as refusal:
        parse_json(raw)
    assert refusal.value.why is Why.WRONG
    assert sentence in refusal.value.message
    assert len(refusal.value.message) < 200


def test_the_deepest_body_is_read() -> None:
    depth = MAX_DEPTH - 1
    assert parse_json(b'{"a":' + b"[" * depth + b"]" * depth + b"}")
    assert parse_json(b'{"a":[' + b",".join([b"[]"] * 10 * MAX_DEPTH) + b"]}")


def test_both_halves_of_a_character_are_one_character() -> None:
    assert parse_json(b'{"a":"\\ud83d\\ude00"}').members == {"a": "😀"}


@given(st.lists(st.tuples(NAMES, VALUES), unique_by=lambda member: member[0]), MODELS, st.data())
def test_the_span_of_a_member_is_its_value_and_nothing_else(
    others: list[tuple[str, Any]], model: str, data: st.DataObject
) -> None:
    members = [(name, value) for name, value in others if name != "model"]
    members.insert(data.draw(st.integers(0, len(members))), ("model", model))
    raw = b"{" + b",".join(spelled(*member, data) for member in members) + b"}"
    document = parse_json(raw)
    start, end = document.span("model")
    assert loads(raw[start:end]) == model
    renamed = parse_json(raw[:start] + b'"another"' + raw[end:])
    assert renamed.members == document.members | {"model": "another"}


def spelled(name: str, value: Any, data: st.DataObject) -> bytes:
    """A member as some client might spell it."""
    key = dumps(name, ensure_ascii=data.draw(st.booleans()))
    if data.draw(st.booleans()):
        key = (
            '"'
            + "".join(f"\\u{ord(letter):04x}" if letter.isalpha() and letter < "z" else letter for letter in key[1:-1])
            + '"'
        )
    if loads(key) != name:
        key = dumps(name)
    blank = data.draw(BLANKS)
    text = dumps(value, ensure_ascii=data.draw(st.booleans()))
    return f"{blank}{key}{blank}:{blank}{text}{blank}".encode()


@pytest.mark.parametrize(
    "raw",
    [
        b'{"model":"a"}',
        b' {\n"messages" : [{"model":"a"}] ,\t"model" : "a" } ',
        b'{"x":{"model":"a"},"mode\\u006c":"a"}',
        b'{"x":"\\"model\\":\\"a\\"","model":"a"}',
        b'{"x\\"model":"b","model":"a"}',
        '{"ü":"äöü😀","x":{"model":1},"model":"a","z":"ß"}'.encode(),
        b'{"y":"\\u00e4","model":"a"}',
    ],
)
def test_the_model_is_found_where_it_counts(raw: bytes) -> None:
    document = parse_json(raw)
    start, end = document.span("model")
    assert raw[start:end] == b'"a"'
    assert parse_json(raw[:start] + b'"b"' + raw[end:]).members == document.members | {"model": "b"}


def test_a_member_that_is_not_there_has_no_span() -> None:
    with pytest.raises(KeyError):
        parse_json(b'{"x":{"model":"a"}}').span("model")


@pytest.mark.parametrize("name", ["a/b", "ü", 'a"b', "n", "o", "t", "l", "empty"])
def test_any_member_of_any_name_has_its_span(name: str) -> None:
    raw = (
        '{"x":{"a/b":1,"ü":1},"a\\/b":[1,2],"\\u00fc":null,"a\\"b":{"c":"}"},'
        '"n":-1.5e3,"o":{},"t":true,"l":"\\"","empty":""}'
    )
    document = parse_json(raw.encode())
    start, end = document.span(name)
    assert loads(raw.encode()[start:end]) == document.members[name]


REFUSED = object()
HUGE = b"1" * 5000
OPTIONS: list[tuple[StrictDecoder, list[object]]] = [
    (StrictDecoder(), [REFUSED, REFUSED, REFUSED, REFUSED]),
    (StrictDecoder(Repeats.NULL), [[None], REFUSED, REFUSED, REFUSED]),
    (StrictDecoder(Repeats.LAST), [[{"a": 2}], REFUSED, REFUSED, REFUSED]),
    (StrictDecoder(constants=True), [REFUSED, [inf], REFUSED, REFUSED]),
    (StrictDecoder(large_floats=True), [REFUSED, REFUSED, [inf], REFUSED]),
    (StrictDecoder(large_integers=True), [REFUSED, REFUSED, REFUSED, [inf]]),
]


@pytest.mark.parametrize(
    ("decoder", "values"), OPTIONS, ids=["none", "null", "last", "constants", "large floats", "large integers"]
)
def test_each_option_of_the_decoder_permits_one_thing(decoder: StrictDecoder, values: list[object]) -> None:
    def read(raw: bytes) -> object:
        try:
            return decoder.decode(raw)
        except InvalidJson:
            return REFUSED

    assert [read(raw) for raw in (b'[{"a":1,"a":2}]', b"[Infinity]", b"[1e400]", b"[%b]" % HUGE)] == values
    assert read(b'[{"a":1.5,"b":[2,null]}]') == [{"a": 1.5, "b": [2, None]}]
    for wrong in (b"[1] 2", b'["\xff"]', b"[" * 100_000, b"\xef\xbb\xbf[]", b""):
        assert read(wrong) is REFUSED
