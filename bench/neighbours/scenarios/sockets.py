"""WebSockets: idle, noisy, and with more to ask than is answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from json import dumps
from typing import Final

from bench.neighbours.messages import head
from bench.neighbours.scenario import Attack, Scenario, Script
from bench.neighbours.scenarios.attacks import left, once_each

_OFFER: Final = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
_MASK: Final = bytes(4)
"""A mask that leaves the data as it is."""

_MANY: Final = 400
_MB: Final = 1024 * 1024
_LARGE: Final = 9 * _MB
_PIECE: Final = 64 * 1024


def _offer(script: Script) -> bytes:
    return head("GET", "/v1/responses", script.token, *_OFFER)


def _frame(op: int, data: bytes = b"", *, last: bool = True) -> bytes:
    first = bytes([(0x80 if last else 0) | op])
    if len(data) < 126:
        return first + bytes([0x80 | len(data)]) + _MASK + data
    return first + b"\xfe" + len(data).to_bytes(2) + _MASK + data


def _create() -> bytes:
    body = {"type": "response.create", "model": "bench/fast", "input": "Say one word.", "store": False}
    return _frame(1, dumps(body).encode())


def _cut_off(script: Script) -> bytes:
    return _offer(script) + b"\x81\xff" + _MB.to_bytes(8) + _MASK + b"x" * (_MB - 1000)


def _sent(
    pieces: Sequence[bytes], pause: float, connections: int = 50, begin: bytes = b""
) -> Callable[[Script], Attack]:
    """Return the attack that opens WebSockets and sends `begin` and then the pieces on each."""
    return lambda script: lambda crowd: crowd.drip(_offer(script) + begin, pieces, pause, connections)


SCENARIOS: Final = [
    Scenario("idle WebSockets", _sent([b""], 1.0, _MANY)),
    Scenario("WebSockets that are opened and left", left(_offer, 0.01)),
    Scenario("WebSockets that are refused", once_each(lambda _: head("GET", "/v1/responses", "", *_OFFER))),
    Scenario("responses on WebSockets", _sent([_create()], 0.02)),
    Scenario("messages by the dozen on WebSockets", _sent([_create() * 12], 0.02)),
    Scenario("pings on WebSockets", _sent([_frame(9, b"x" * 125) * 32], 0.001)),
    Scenario(
        "messages in crumbs on WebSockets", _sent([_frame(0, last=False) * 900], 0.001, begin=_frame(1, last=False))
    ),
    Scenario(
        "large messages on WebSockets",
        _sent([b"x" * _PIECE], 0.002, begin=b"\x81\xff" + _LARGE.to_bytes(8) + _MASK),
    ),
    Scenario("WebSockets that are left in a message", left(_cut_off, 0.05)),
]
