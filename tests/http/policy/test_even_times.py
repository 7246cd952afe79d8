"""What is hidden and what is missing are answered after the same time, however much the owner weighs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from json import dumps
from pathlib import Path
from statistics import median
from time import perf_counter
from types import SimpleNamespace

import pytest
from starlette.types import Message, Scope

from policy.vocabulary import Principal
from server.http.even_times import LEAST, MOST, Ended, EvenTimes
from tests.support.application import ByToken
from tests.support.callers import bearer
from tests.support.registry_server import KINDS, Registry, registry

SAMPLES = 60
POLICY = """
        - permit: {actions: [create]}
        - permit: {actions: [read], resource: "provider::*"}
        - permit: {actions: [read, update, delete]}
          when: user is owner
        - permit: {actions: [read]}
          when: user in owners teams
"""
DEEP = "/".join("abcdefghijklmnopqrstu")
RICH, BOB = bearer("rich"), bearer("bob")


class WithGroups(ByToken):
    """`rich` is in so many groups that a question about what is hers takes several times as long as another."""

    async def authenticate(self, token: str, request: Scope, /) -> Principal:
        """The principal, with all of its groups."""
        found = await super().authenticate(token, request)
        if token != "rich":
            return found
        return Principal(found.id, found.issuer, {"teams": tuple(f"a-team-with-number-{n}" for n in range(1500))})


@pytest.fixture(scope="module")
def kept(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("even")
    with registry(opa_binary, folder, policy=POLICY, authenticator=WithGroups()) as running:
        yield running


def seconds(connection: HTTPConnection, method: str, path: str, body: object = None) -> float:
    """How long it takes to learn that there is nothing."""
    headers = {"Authorization": "Bearer bob", "Content-Type": "application/json"}
    began = perf_counter()
    connection.request(method, path, None if body is None else dumps(body), headers)
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 404
    return perf_counter() - began


def compared(kept: Registry, ask: Callable[[HTTPConnection, str], float], hidden: str, missing: str) -> float:
    """How many times as long the hidden one takes as the missing one, by medians of samples in turn."""
    address = kept.house.address
    found: dict[str, list[float]] = {hidden: [], missing: []}
    connection = HTTPConnection(address.host, address.port)
    for _ in range(SAMPLES):
        for name, samples in found.items():
            samples.append(ask(connection, name))
    connection.close()
    return median(found[hidden]) / median(found[missing])


@pytest.mark.alone
@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("kind", ["shield", "model"])
def test_a_deep_name_does_not_tell_by_time_that_it_is_taken(kept: Registry, kind: str, method: str) -> None:
    hidden, missing = f"{DEEP}/{method}", f"{DEEP}/{method[:-1]}X"
    assert kept.register(kind, hidden, RICH).status == 200

    def ask(connection: HTTPConnection, name: str) -> float:
        return seconds(connection, method, f"{KINDS[kind].path}/{name}")

    assert 0.8 < compared(kept, ask, hidden, missing) < 1.25


@pytest.mark.alone
def test_a_chat_does_not_tell_by_time_that_its_model_is_there(kept: Registry) -> None:
    assert kept.register("model", f"{DEEP}/chat", RICH).status == 200

    def ask(connection: HTTPConnection, name: str) -> float:
        body = {"model": name, "messages": [{"role": "user", "content": "hi"}]}
        return seconds(connection, "POST", "/v1/chat/completions", body)

    assert 0.8 < compared(kept, ask, f"{DEEP}/chat", f"{DEEP}/chaX") < 1.25


@pytest.mark.alone
def test_a_cursor_does_not_tell_by_time_that_its_record_is_there(kept: Registry) -> None:
    assert kept.register("shield", f"{DEEP}/cursor", RICH).status == 200

    def ask(connection: HTTPConnection, name: str) -> float:
        return seconds(connection, "GET", f"/v1/shields?after={name}")

    assert 0.8 < compared(kept, ask, f"{DEEP}/cursor", f"{DEEP}/cursoX") < 1.25


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of a clock which goes on by what is slept, and by nothing else."""
    now = [100.0]

    async def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr("server.http.even_times.perf_counter", lambda: now[0])
    monkeypatch.setattr("server.http.even_times.asyncio", SimpleNamespace(sleep=sleep))
    return now


def waited(times: EvenTimes, clock: list[float], spent: float) -> float:
    """Seconds from the end of a request that took so long to its answer."""
    ended = clock[0] - spent
    asyncio.run(times.wait(ended))
    return clock[0] - ended


SPREAD = 0.004


def test_each_answer_waits_for_as_long_as_the_slowest_took(clock: list[float]) -> None:
    times = EvenTimes()
    assert LEAST <= waited(times, clock, 0.0) < LEAST + SPREAD
    assert waited(times, clock, 0.03) == pytest.approx(0.03)
    assert 0.03 - 1e-6 <= waited(times, clock, 0.0) < 0.03 + SPREAD
    assert 0.029 <= waited(times, clock, 0.002) < 0.03 + SPREAD


def test_no_caller_waits_for_long_whatever_another_one_takes(clock: list[float]) -> None:
    times = EvenTimes()
    assert waited(times, clock, 30.0) == pytest.approx(30.0)
    assert LEAST <= waited(times, clock, 0.0) < MOST + SPREAD
    assert times._slowest <= MOST


def test_a_slow_time_is_forgotten(clock: list[float]) -> None:
    times = EvenTimes()
    waited(times, clock, 0.04)
    assert times._slowest == pytest.approx(0.04)
    clock[0] += 10
    waited(times, clock, 0.0)
    assert times._slowest == LEAST


def test_the_time_counts_from_the_last_part_of_a_request() -> None:
    """Or who sends slowly would learn from the rest."""
    parts: list[Message] = [
        {"type": "http.request", "body": b"{", "more_body": True},
        {"type": "http.request", "body": b"}", "more_body": False},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Message:
        await asyncio.sleep(0.01)
        return parts.pop(0)

    async def scenario() -> None:
        ended = Ended(receive)
        began = ended.at
        for _ in range(2):
            before = ended.at
            await ended()
            assert ended.at >= before + 0.009
        last = ended.at
        assert (await ended())["type"] == "http.disconnect"
        assert ended.at == last > began

    asyncio.run(scenario())
