"""Many connections and many small requests."""

from __future__ import annotations

from typing import Final

from bench.neighbours.messages import chat, head
from bench.neighbours.scenario import Attack, Scenario, Script
from bench.neighbours.scenarios.attacks import get, left, once_each, repeated
from bench.neighbours.settings import Setting

_PIPELINED: Final = 32
_LEFT: Final = 400


def _chat(script: Script) -> bytes:
    return chat(script.token)


def _many_headers(script: Script) -> bytes:
    return head("GET", "/v1/models", script.token, *(f"X-Header-{index}: {'v' * 20}" for index in range(700)))


def _many_parameters(script: Script) -> bytes:
    query = "&".join(f"metadata[k{index}]=v" for index in range(900))
    return head("GET", f"/v1/chat/completions?{query}", script.token)


def _malformed(script: Script) -> bytes:
    return b"GET / / HTTP/1.1\r\nHost: a\r\n\r\n"


def _begun(script: Script) -> bytes:
    return b"G"


def _silent(script: Script) -> Attack:
    return lambda crowd: crowd.drip(b"", [b""], 1.0, _LEFT)


def _slow_heads(script: Script) -> Attack:
    return lambda crowd: crowd.drip(b"GET /v1/models HTTP/1.1\r\nHost: a\r\n", [b"X-A: b\r\n"], 0.02, _LEFT)


def _byte_by_byte(script: Script) -> Attack:
    data = head("GET", "/v1/models", script.token)
    return lambda crowd: crowd.drip(b"", [data[at : at + 1] for at in range(len(data))], 0.001)


SCENARIOS: Final = [
    Scenario("tiny requests", repeated(get("/v1/models"))),
    Scenario("tiny requests, pipelined", repeated(get("/v1/models"), pipelined=_PIPELINED)),
    Scenario("health without a token", repeated(get("/v1/health", known=False))),
    Scenario("readiness", repeated(get("/v1/health/ready"))),
    Scenario("pages of metrics", repeated(get("/metrics"))),
    Scenario("lists of providers", repeated(get("/v1/providers"))),
    Scenario("chats", repeated(_chat)),
    Scenario("chats, pipelined", repeated(_chat, pipelined=_PIPELINED)),
    Scenario("chats that are left", left(_chat, 0.003)),
    Scenario("a connection for each request", once_each(get("/v1/models"))),
    Scenario("connections that are opened and closed", left(_begun, 0.001)),
    Scenario("silent connections", _silent),
    Scenario("slow heads", _slow_heads),
    Scenario("heads byte by byte", _byte_by_byte),
    Scenario("many headers", repeated(_many_headers)),
    Scenario("many parameters", repeated(_many_parameters), kept=True),
    Scenario("malformed requests", once_each(_malformed)),
    Scenario("unknown paths", repeated(get("/v1/unknown"))),
    Scenario("long paths", repeated(get("/v1/files/" + "a%2Db" * 300))),
    Scenario("refused routes", repeated(get("/v1/toolgroups")), setting=Setting.CLOSED),
    Scenario("anonymous requests", repeated(get("/v1/models", known=False)), setting=Setting.CLOSED),
]
