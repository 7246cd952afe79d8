"""The attacks of which most scenarios are: the same request again and again, in one of the crowd's ways."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from bench.neighbours.crowd import CONNECTIONS
from bench.neighbours.messages import head
from bench.neighbours.scenario import Attack, Script

Make: TypeAlias = Callable[[Script], bytes]
"""Builds the request of a scenario."""

PATHS = "paths"
"""The key of prepared paths."""


def repeated(make: Make, connections: int = CONNECTIONS, pipelined: int = 1) -> Callable[[Script], Attack]:
    """Return the attack that sends the request without a pause."""

    def attack(script: Script) -> Attack:
        data = make(script)
        return lambda crowd: crowd.repeat([data], connections, pipelined=pipelined)

    return attack


def numbered(make: Callable[[Script, str], bytes]) -> Callable[[Script], Attack]:
    """Return the attack that sends another request each time; `make` gets a text that differs."""

    def each(script: Script) -> Iterator[bytes]:
        number = 0
        while True:
            number += 1
            yield make(script, f"{script.run}-{number}")

    def attack(script: Script) -> Attack:
        return lambda crowd: crowd.repeat(each(script))

    return attack


def once_each(make: Make) -> Callable[[Script], Attack]:
    """Return the attack that opens a connection for each request."""

    def attack(script: Script) -> Attack:
        data = make(script)
        return lambda crowd: crowd.once_each([data])

    return attack


def left(make: Make, after: float) -> Callable[[Script], Attack]:
    """Return the attack that closes each connection so many seconds after its request."""

    def attack(script: Script) -> Attack:
        data = make(script)
        return lambda crowd: crowd.vanish([data], after=after)

    return attack


def unread(make: Make) -> Callable[[Script], Attack]:
    """Return the attack that reads no answer."""

    def attack(script: Script) -> Attack:
        data = make(script)
        return lambda crowd: crowd.unread(data)

    return attack


def get(path: str, *, known: bool = True) -> Make:
    """Return the maker of a GET, as the greedy caller or without a token."""
    return lambda script: head("GET", path, script.token if known else "")


def prepared(script: Script) -> bytes:
    """Return a GET of the prepared path of the run."""
    return head("GET", path_of(script), script.token)


def path_of(script: Script) -> str:
    """Return the prepared path of the run, where each has its own."""
    paths = script.names(PATHS)
    return paths[script.run % len(paths)]
