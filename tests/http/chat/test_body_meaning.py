"""One parse, one meaning: what the policy, the server and the provider see of a body is the same, or nobody sees it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from json import dumps, loads
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.inference.known_members import CHANGED, CUT, SHIELDS, STAMPED
from server.inference.members import EVERYTHING, MemberRules
from server.json_input.reader import LARGE
from tests.support.application import house
from tests.support.patience import PATIENCE
from tests.support.recording_provider import Listening
from tests.support.serving import Address, serving
from tests.support.unsafe_policy import UnsafePermitAll

pytestmark = pytest.mark.usefixtures("nothing_asked")

CHAT = "/v1/chat/completions"
MESSAGES = b'"messages":[{"role":"user","content":"hi"}]'
PAD = b'"pad":"' + b"x" * LARGE + b'",'
SIZES = pytest.mark.parametrize("pad", [b"", PAD], ids=["small", "large"])


@pytest.fixture(scope="module")
def address(enforcement: UnsafePermitAll, provider: Listening) -> Iterator[Address]:
    everything = MemberRules(frozenset({EVERYTHING}))
    with serving(house(enforcement=enforcement, providers={"echo": provider}, members=everything)) as running:
        yield running


@SIZES
@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        (b'"model":"llama","model":"meta/llama"', "a key comes twice"),
        (b'"model":"llama","mode\\u006c":"meta/llama"', "a key comes twice"),
        (b'"model":"llama","Model":"meta/llama"', "`Model` is written `model`"),
        (b'"MODEL":"llama"', "`MODEL` is written `model`"),
        ('"model":"llama","me\u017f\u017fages":[]'.encode(), "is written `messages`"),
        (b'"model":"llama","Stream":true', "`Stream` is written `stream`"),
        (b'"model":"llama","STORE":true', "`STORE` is written `store`"),
        (b'"model":"llama","x":NaN', "`NaN`"),
        (b'"model":"llama","x":-Infinity', "`-Infinity`"),
        (b'"model":"llama","x":1e400', "too large"),
        (b'"model":"llama","x":' + b"9" * 5000, "too many digits"),
        (b'"model":"llama","x":"\\ud800"', "surrogate"),
        (b'"model":"\\udc00llama"', "surrogate"),
        (b'"model":"llama","x":"\xff"', "not UTF-8"),
        (b'"model":"llama","x":"\xed\xa0\x80"', "not UTF-8"),
        (b'"model":"llama","x":' + b"[" * 10_000 + b"]" * 10_000, "levels deep"),
        (b'"model":"llama","x":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "levels deep"),
        (b'"model":"llama","x":{"y":1,"y":2}', "a key comes twice"),
        (b'"model":"llama",' + b'"x":1,' * 10_000 + b'"x":1', "a key comes twice"),
        (b'"model":"llama"},{"x":1', "not JSON"),
        (b'"model":"llama","x":1,', "not JSON"),
        (b'"model":"llama","x":\'1\'', "not JSON"),
        (b'"model":"llama","x":1 // y', "not JSON"),
    ],
)
def test_what_two_readers_could_take_differently_reaches_no_provider(
    address: Address, enforcement: UnsafePermitAll, provider: Listening, members: bytes, sentence: str, pad: bytes
) -> None:
    answer = address.post(CHAT, b"{" + pad + MESSAGES + b"," + members + b"}")
    assert answer.status == 400
    assert sentence in answer.error["message"]
    assert provider.asked == []
    assert all(resource is None for _, resource in enforcement.asked)


@SIZES
@pytest.mark.parametrize("tail", [b"x", b"\x00", b"{}", b"]", b'{"model":"meta/llama"}'])
def test_what_follows_a_body_spoils_it(address: Address, provider: Listening, pad: bytes, tail: bytes) -> None:
    answer = address.post(CHAT, b"{" + pad + b'"model":"llama",' + MESSAGES + b"}" + tail)
    assert answer.status == 400
    assert provider.asked == []


@SIZES
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"model":"llama",%PAD%%MESSAGES%}', b'{"model":"llama3.2",%PAD%%MESSAGES%}'),
        (b'{%PAD%%MESSAGES% ,\n "model" :\t"llama" } \n', b'{%PAD%%MESSAGES% ,\n "model" :\t"llama3.2" } \n'),
        (
            b'{"x":{"model":"llama"},%PAD%"mode\\u006c":"ll\\u0061ma",%MESSAGES%}',
            b'{"x":{"model":"llama"},%PAD%"mode\\u006c":"llama3.2",%MESSAGES%}',
        ),
        (
            '{"ü":"😀",%PAD%"model":"llama",%MESSAGES%,"z":1E2}'.encode(),
            '{"ü":"😀",%PAD%"model":"llama3.2",%MESSAGES%,"z":1E2}'.encode(),
        ),
        (
            b'{"x":"\\"model\\":\\"llama\\"",%PAD%"model":"llama",%MESSAGES%}',
            b'{"x":"\\"model\\":\\"llama\\"",%PAD%"model":"llama3.2",%MESSAGES%}',
        ),
        (b'{"model":"echo\\/llama3.2",%PAD%%MESSAGES%,"n":1.0}', b'{"model":"llama3.2",%PAD%%MESSAGES%,"n":1.0}'),
    ],
)
def test_a_provider_gets_the_body_to_the_byte_but_for_the_models_name(
    address: Address, enforcement: UnsafePermitAll, provider: Listening, before: bytes, after: bytes, pad: bytes
) -> None:
    sent, expected = (text.replace(b"%PAD%", pad).replace(b"%MESSAGES%", MESSAGES) for text in (before, after))
    assert address.post(CHAT, sent).status == 200
    assert provider.asked == [expected]
    [(_, resource)] = enforcement.asked
    assert resource is not None
    assert resource.names[0] == "echo/llama3.2"


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
_LOOKED_AT = ("model", "messages", "stream", "stream_options", "store", *CUT, *STAMPED, *CHANGED, *SHIELDS)
NAMES = st.text().filter(lambda name: name.casefold() not in _LOOKED_AT)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.dictionaries(NAMES, VALUES), st.booleans(), st.booleans(), st.booleans())
def test_whatever_else_is_in_a_body_the_provider_sees_what_the_policy_judged(
    address: Address,
    enforcement: UnsafePermitAll,
    provider: Listening,
    others: dict[str, Any],
    escaped: bool,
    last: bool,
    large: bool,
) -> None:
    enforcement.asked.clear()
    provider.asked.clear()
    ours = {"model": "meta/llama", "messages": [{"role": "user", "content": others}]}
    body = {**others, **ours} if last else {**ours, **others}
    if large:
        body["pad"] = "x" * LARGE
    assert address.post(CHAT, dumps(body, ensure_ascii=escaped).encode()).status == 200
    [(_, resource)] = enforcement.asked
    assert resource is not None
    assert resource.names[0] == "echo/meta/llama-3"
    assert loads(provider.asked[0]) == {**body, "model": "meta/llama-3"}


@pytest.mark.parametrize("stream", [b"true", b"false", b"null"])
@SIZES
def test_a_stream_is_one_wherever_its_body_is_read(
    address: Address, provider: Listening, pad: bytes, stream: bytes
) -> None:
    answer = address.post(CHAT, b'{"model":"llama",' + pad + b'"stream":' + stream + b"," + MESSAGES + b"}")
    assert answer.headers["content-type"].startswith("text/event-stream" if stream == b"true" else "application/json")


def test_others_with_large_bodies_are_served_while_clients_leave_theirs(address: Address, provider: Listening) -> None:
    raw = b'{"model":"llama",' + MESSAGES + b',"x":[' + b"{}," * 3_000_000 + b"{}]}"
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    )

    def leave() -> None:
        with socket.create_connection((address.host, address.port), timeout=PATIENCE) as connection:
            connection.sendall(head % len(raw) + raw)

    leavers = [threading.Thread(target=leave) for _ in range(6)]
    for leaver in leavers:
        leaver.start()
    for leaver in leavers:
        leaver.join()
    started = time.monotonic()
    good = b"{" + PAD + b'"model":"llama",' + MESSAGES + b"}"
    assert address.post(CHAT, good).status == 200
    # Those who have gone are not read for: six of them would take many seconds.
    assert time.monotonic() - started < 60
    assert provider.asked[-1].endswith(MESSAGES + b"}")
