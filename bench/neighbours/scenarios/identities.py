"""Tokens: unknown, forged, large, and of many principals."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from secrets import token_hex
from typing import Final

from bench.neighbours.messages import chat, head
from bench.neighbours.scenario import GREEDY, Attack, Scenario, Script
from bench.neighbours.scenarios.attacks import repeated
from bench.neighbours.settings import Setting
from bench.tokens import Issuer, forged

_PRINCIPALS: Final = 10_000
_MINTED: Final = 2_000
_GROUPS: Final = 900
_PATH: Final = "/v1/models"


def _opaque(script: Script) -> Attack:
    def each() -> Iterator[bytes]:
        while True:
            yield head("GET", _PATH, token_hex(24))

    return lambda crowd: crowd.repeat(each())


def _forged(script: Script) -> Attack:
    token = script.token

    def each() -> Iterator[bytes]:
        while True:
            yield head("GET", _PATH, forged(token))

    return lambda crowd: crowd.repeat(each())


def _unknown_keys(script: Script) -> Attack:
    data = [head("GET", _PATH, script.issuer.token(GREEDY, kid=f"unknown-{index}")) for index in range(500)]
    return lambda crowd: crowd.repeat(data)


def _many_groups(script: Script) -> bytes:
    return chat(script.issuer.token(GREEDY, [f"group-{index:05}" for index in range(_GROUPS)]))


def _large_token(script: Script) -> bytes:
    return head("GET", _PATH, forged(script.token).replace(".", "." + "A" * 20_000, 1))


@cache
def _tokens(issuer: Issuer, count: int) -> list[str]:
    """Return tokens of as many principals; kept from run to run, since they take a while."""
    return [issuer.token(f"minted-{index}", ["tenant"]) for index in range(count)]


def _principals(script: Script) -> Attack:
    data = [head("GET", _PATH, token) for token in _tokens(script.issuer, _PRINCIPALS)]
    return lambda crowd: crowd.repeat(data)


def _minted(script: Script) -> Attack:
    data = [chat(token) for token in _tokens(script.issuer, _PRINCIPALS)[:_MINTED]]
    return lambda crowd: crowd.repeat(data)


SCENARIOS: Final = [
    Scenario("unknown tokens", _opaque),
    Scenario("unknown tokens, judged by an endpoint", _opaque, setting=Setting.CUSTOM),
    Scenario("forged tokens", _forged),
    Scenario("tokens with unknown keys", _unknown_keys),
    Scenario("a caller of many groups", repeated(_many_groups)),
    Scenario("large tokens", repeated(_large_token)),
    Scenario("10,000 principals", _principals),
    Scenario("a tenant that mints principals", _minted, setting=Setting.GROUPED),
    Scenario(
        "chats under many regular expressions", repeated(lambda script: chat(script.token)), setting=Setting.REGEXES
    ),
]
