"""The measurements of a run, in their order."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from bench.decisions import DecisionCost, decision_cost
from bench.measure import Measured, compared
from bench.neighbours.cores import SERVER, on_core
from bench.open_streams import STREAMS, Held, held
from bench.policies import Kind
from bench.processes import Cost, Running
from bench.scenarios import open_streams, scenarios
from bench.world import World
from translators import opa

BARE: Final = "bare"
OURS: Final = "ours"
REMEMBERING: Final = "bare that remembers its tokens"

RELAYED: Final = ("chat", "stream")
"""The scenarios that are also measured against a bare server that checks each token once."""

RULES: Final = 100
"""Rules in each policy wherever their number isn't what is measured."""

POLICIES: Final = {
    "10 rules": (10, Kind.NAMES),
    "100 rules": (RULES, Kind.NAMES),
    "1,000 rules": (1000, Kind.NAMES),
    "1,000 regexes": (1000, Kind.REGEXES),
}

UNINDEXED: Final = "50 regexes for everybody"
"""Rules that no index can skip: every question is compared with every one of them."""

_LOADED: Final = 8
_OTHERS: Final = (1, 64)
_BY_POLICY: Final = ("chat", "models")

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Effort:
    """The length of a run: seconds of a slice, turns of the servers, questions of the decision alone, starts,
    open streams.
    """

    seconds: float = 1.0
    turns: int = 5
    questions: int = 2000
    starts: int = 3
    streams: int = STREAMS


@dataclass(frozen=True, slots=True)
class Results:
    """`loads` by number of connections and scenario, `by_policy` by scenario and policy, `streams`, each by server.

    `ready` is in seconds, from the start of the process to the first answer.
    """

    machine: str
    loads: Mapping[int, Mapping[str, Mapping[str, Measured]]]
    streams: Mapping[str, Held]
    by_policy: Mapping[str, Mapping[str, Measured]]
    decisions: Mapping[str, DecisionCost]
    ready: float
    idle: Cost


def machine() -> str:
    """Return the machine's processor and software in one sentence."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    processor = models[0].partition(": ")[2] if models else platform.processor()
    release = ".".join(map(str, opa.version(opa.find()) or ()))
    return (
        f"{len(os.sched_getaffinity(0))} x {processor}, Linux {platform.release()}, "
        f"Python {platform.python_version()}, OPA {release}; load average at the start {os.getloadavg()[0]:.1f}"
    )


async def everything(world: World, effort: Effort, tell: Tell) -> Results:
    """Run all measurements; `tell` is called with the name of each. Raises WrongAnswer and NotStarted."""
    where = machine()
    tell("start and idle")
    ready, idle = _started(world, effort.starts)
    with world.server(RULES) as ours:
        loads = {count: await _loads(world, ours, count, effort, tell) for count in (_LOADED, *_OTHERS)}
    tell("open streams")
    streams = await _streams(world, effort.streams)
    by_policy = await _by_policy(world, effort, tell)
    decisions: dict[str, DecisionCost] = {}
    for name, (rules, kind) in [*POLICIES.items(), (UNINDEXED, (50, Kind.COMMON_REGEXES))]:
        tell(f"one decision, {name}")
        with world.server(rules, kind) as server:
            decisions[name] = await decision_cost(server, world.home(rules, kind), effort.questions)
    return Results(where, loads, streams, by_policy, decisions, ready, idle)


def _started(world: World, starts: int) -> tuple[float, Cost]:
    """Return the median time from a start until the server says that it serves, and its memory then."""
    times = []
    for _ in range(starts):
        began = time.perf_counter()
        with world.server(RULES) as server:
            times.append(time.perf_counter() - began)
            cost = server.cost()
    return median(times), cost


async def _loads(
    world: World, ours: Running, connections: int, effort: Effort, tell: Tell
) -> dict[str, Mapping[str, Measured]]:
    # Comparisons are at `_LOADED` connections; the other numbers confirm them.
    turns = effort.turns if connections == _LOADED else max(effort.turns // 2, 1)
    found: dict[str, Mapping[str, Measured]] = {}
    for name, load in scenarios(world.callers).items():
        tell(f"{name}, {connections} connections")
        servers = {BARE: world.bare, OURS: ours}
        if connections == _LOADED and name in RELAYED:
            servers[REMEMBERING] = world.remembering
        found[name] = await compared(servers, load, connections=connections, seconds=effort.seconds, turns=turns)
    return found


async def _streams(world: World, count: int) -> dict[str, Held]:
    requests = open_streams(world.callers)
    with ExitStack() as stack:
        with on_core(SERVER):
            ours = stack.enter_context(world.server(RULES))
        return {BARE: await held(world.bare, requests, count), OURS: await held(ours, requests, count)}


async def _by_policy(world: World, effort: Effort, tell: Tell) -> dict[str, Mapping[str, Measured]]:
    with ExitStack() as stack:
        servers = {name: stack.enter_context(world.server(rules, kind)) for name, (rules, kind) in POLICIES.items()}
        found: dict[str, Mapping[str, Measured]] = {}
        for name in _BY_POLICY:
            tell(f"{name}, {' and '.join(servers)}")
            load = scenarios(world.callers)[name]
            found[name] = await compared(servers, load, connections=_LOADED, seconds=effort.seconds, turns=effort.turns)
    return found
