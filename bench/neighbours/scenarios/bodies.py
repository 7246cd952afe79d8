"""Bodies that are large, deep, full of values, wrong or slow."""

from __future__ import annotations

from json import dumps
from typing import Final

from bench.neighbours.messages import JSON, chat, head, post, request
from bench.neighbours.scenario import Attack, Scenario, Script
from bench.neighbours.scenarios.attacks import Make, left, repeated

_KB: Final = 1024
_MB: Final = 1024 * _KB
_PATH: Final = "/v1/chat/completions"
_START: Final = (
    b'{"model": "bench/fast", "messages": [{"role": "user", "content": "hi"}], '
    b'"tools": [{"type": "function", "function": {"name": "f", "parameters": {"x": '
)
_END: Final = b"0]}}}]}"
"""The end of an array in a body that begins so: a place where anything may stand, and which goes to the provider."""

_SMALL: Final = 63 * _KB
"""Just under the size from which a body is read beside the server."""


def _of(size: int, unit: bytes, end: bytes = _END) -> Make:
    """Return the maker of a chat of about `size` bytes, most of them an array of `unit`s."""
    body = _START + b"[" + (unit + b",") * (size // (len(unit) + 1)) + end
    return lambda script: request("POST", _PATH, script.token, body)


def _text(size: int) -> Make:
    return lambda script: chat(script.token, messages=[{"role": "user", "content": "x" * size}])


def _many_keys(script: Script) -> bytes:
    parameters = {f"key-{index}": index for index in range(40_000)}
    return chat(script.token, tools=[{"type": "function", "function": {"name": "f", "parameters": parameters}}])


def _many_messages(script: Script) -> bytes:
    message = {"role": "user", "content": [{"type": "text", "text": "a"}]}
    return chat(script.token, messages=[message] * 900)


def _escapes(script: Script) -> bytes:
    text = dumps("\N{GRINNING FACE}" * 5_000).encode()
    body = b'{"model": "bench/fast", "messages": [{"role": "user", "content": %b}]}' % text
    return request("POST", _PATH, script.token, body)


def _metadata(script: Script) -> bytes:
    return post("/v1/conversations", script.token, {"metadata": {f"key-{index}": "v" * 512 for index in range(16)}})


def _cut_off(script: Script) -> bytes:
    return _text(_MB)(script)[:-1000]


def _chunks_cut_off(script: Script) -> bytes:
    start = head("POST", _PATH, script.token, f"Content-Type: {JSON}", "Transfer-Encoding: chunked")
    return start + b"%x\r\n" % _MB + b" " * (_MB - 1000)


def _slow(script: Script) -> Attack:
    start = head("POST", _PATH, script.token, f"Content-Type: {JSON}", f"Content-Length: {9 * _MB}")
    return lambda crowd: crowd.drip(start + _START, [b" " * 4096], 0.02)


def _without_end(script: Script) -> Attack:
    whole = _text(9 * _MB)(script)
    return lambda crowd: crowd.drip(whole[:-_MB], [b"x"], 0.5)


def _tiny_chunks(script: Script) -> Attack:
    start = head("POST", _PATH, script.token, f"Content-Type: {JSON}", "Transfer-Encoding: chunked")
    return lambda crowd: crowd.drip(start, [b"1\r\n \r\n" * 2000], 0.005)


SCENARIOS: Final = [
    Scenario("large bodies", repeated(_text(9 * _MB))),
    Scenario("bodies full of arrays", repeated(_of(4 * _MB, b"[[]]"))),
    Scenario("small bodies full of arrays", repeated(_of(_SMALL, b"[]"))),
    Scenario("small bodies full of numbers", repeated(_of(_SMALL, b"1.5e3"))),
    Scenario("deep bodies", repeated(_of(_MB, b"[" * 50 + b"]" * 50))),
    Scenario("small wrong bodies", repeated(_of(_SMALL, b"[]", b"}"))),
    Scenario("large wrong bodies", repeated(_of(4 * _MB, b"[]", b"}"))),
    Scenario("bodies with many keys", repeated(_many_keys)),
    Scenario("chats of many messages", repeated(_many_messages)),
    Scenario("texts full of escapes", repeated(_escapes)),
    Scenario("slow bodies", _slow),
    Scenario("bodies that lack their end", _without_end),
    Scenario("bodies in chunks of a byte", _tiny_chunks),
    Scenario("callers that leave in a body", left(_cut_off, 0.05)),
    Scenario("callers that leave in a chunk", left(_chunks_cut_off, 0.05)),
    Scenario("conversations full of metadata", repeated(_metadata), kept=True),
]
