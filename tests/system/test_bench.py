"""The measuring still measures: every scenario runs against both servers, and the tables hold what they should."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from bench import client, profile
from bench.decisions import DecisionCost, decision_cost
from bench.measure import Measured, Slice, ratio
from bench.open_streams import Held, held
from bench.policies import Kind
from bench.processes import Cost, Running
from bench.report import BEGIN, END, report, written_into
from bench.results import BARE, OURS, POLICIES, REMEMBERING, UNINDEXED, Results
from bench.scenarios import open_streams, scenarios
from bench.world import World, world

RULES = 5
SCENARIOS = (
    "health",
    "models",
    "chat",
    "stream",
    "embeddings",
    "embeddings as numbers",
    "paced stream",
    "refused route",
    "refused model",
    "forged token",
    "no token",
)


@pytest.fixture(scope="module")
def made(opa_binary: Path) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSTIARY_OPA", str(opa_binary))
        with world() as found:
            yield found


@pytest.fixture(scope="module")
def ours(made: World) -> Iterator[Running]:
    with made.server(RULES) as server:
        yield server


def few(server: Running, load: client.Load) -> client.Sample:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(client.run(server.port, load, connections=2, seconds=30, most=3))


def test_every_scenario_is_listed(made: World) -> None:
    assert tuple(scenarios(made.callers)) == SCENARIOS


@pytest.mark.parametrize("name", SCENARIOS)
def test_both_servers_answer_a_scenario_as_it_says(made: World, ours: Running, name: str) -> None:
    for server in (made.bare, ours):
        sample = few(server, scenarios(made.callers)[name])
        assert len(sample.whole) + sample.unserved == 6
        assert all(0 < first <= whole for first, whole in zip(sample.first, sample.whole, strict=True))


def test_another_answer_than_the_scenario_is_about_ends_the_run(made: World) -> None:
    wrong = client.Load(scenarios(made.callers)["no token"].requests, 200)
    with pytest.raises(client.WrongAnswer, match="wanted 200"):
        few(made.bare, wrong)


def test_the_cost_of_opa_is_told_apart_from_that_of_the_server(made: World, ours: Running) -> None:
    cost = ours.cost()
    assert cost.server > 0
    assert cost.opa_bytes > 0
    assert made.bare.cost().opa_bytes == 0


def test_the_memory_of_open_streams_is_measured_on_both_servers(
    made: World, ours: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.open_streams._SETTLED_SECONDS", 0.05)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for server in (made.bare, ours):
            found = runner.run(held(server, open_streams(made.callers), 40))
            assert found.streams == 40
            assert found.server >= 0


def test_a_decision_alone_can_be_measured(made: World, ours: Running) -> None:
    home = made.home(RULES, Kind.NAMES)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        cost = runner.run(decision_cost(ours, home, 40))
    assert cost.p50 > 0
    assert cost.python_cpu > 0


def test_a_profile_names_the_functions_that_run(made: World, tmp_path: Path) -> None:
    samples = tmp_path / "samples.json"
    load = scenarios(made.callers)["health"]
    with made.server(RULES, Kind.REGEXES, sampled=samples) as server:
        os.kill(server.pid, signal.SIGUSR1)
        before = server.cost().server
        while server.cost().server < before + 0.5:
            few(server, load)
    assert "server/http/route_guard.py" in profile.report(profile.read(samples), 1.0)


def test_the_ratio_is_that_of_the_turns_and_not_of_the_whole() -> None:
    slow_then_fast = (measured(4.0, 1.0, 1.0), measured(2.0, 0.5, 0.5))
    assert ratio(*slow_then_fast) == 2.0


def measured(*costs: float) -> Measured:
    return Measured(tuple(Slice(cost, 0.0, 100.0, 1.0, 2.0, 0.5, 0.0) for cost in costs))


def test_the_tables_are_written_between_the_marks_of_the_page() -> None:
    pair = {OURS: measured(0.3), BARE: measured(0.2), REMEMBERING: measured(0.1)}
    loads = {count: dict.fromkeys(SCENARIOS, pair) for count in (8, 1, 64)}
    by_policy = {"chat": dict.fromkeys(POLICIES, measured(0.3))}
    decisions = dict.fromkeys([*POLICIES, UNINDEXED], DecisionCost(0.1, 0.04, 0.03, 0.1))
    streams = {OURS: Held(3, 90_000_000, 10_000_000), BARE: Held(3, 5_000_000, 0)}
    text = report(Results("a machine", loads, streams, by_policy, decisions, 1.0, Cost(0, 0, 60_000_000, 40_000_000)))
    assert "| 1.50x" in text
    assert "| memory of 3 open streams" in text
    assert "100 MB" in text
    page = (Path(__file__).parents[2] / "bench/performance.md").read_text()
    once = written_into(page, text)
    assert once.count(BEGIN) == once.count(END) == 1
    assert text in once
    assert written_into(once, text) == once
    with pytest.raises(ValueError, match="no place"):
        written_into("a page without marks", text)
