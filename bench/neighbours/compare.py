"""One scenario on one server: the modest caller alone, and then beside the greedy one."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench.neighbours import memory
from bench.neighbours.greedy import Order
from bench.neighbours.messages import Unprepared, ask, post, upload
from bench.neighbours.modest import HEALTH, Answered, Visit
from bench.neighbours.place import Place
from bench.neighbours.scenario import MODEST, Scenario, Script, Stage
from bench.processes import NotEnded, NotStarted, Running

BARE_RUNS: Final = 3
"""Runs against the bare server, of which there are no more than of the others."""

_MB: Final = 1_000_000
_SOON: Final = 0.05
_FILES: Final = 3
_SERVER_ERROR: Final = 500
_WATCH_SECONDS: Final = 0.25
_MOST_HELD: Final = 4_000 * _MB
"""Bytes of memory at which a server is killed, before it takes the machine with it."""


class TooLarge(Exception):
    """Raised if a server had to be killed for its memory."""


@dataclass(frozen=True, slots=True)
class Effort:
    """The number of runs, and the seconds in which the modest caller is alone and beside the greedy one in each."""

    runs: int = 5
    seconds: float = 2.0
    alone: float = 0.5


@dataclass(frozen=True, slots=True)
class Run:
    """The modest caller's answers alone and beside the greedy one, and the greedy one's, counted by status."""

    alone: Sequence[Answered]
    beside: Sequence[Answered]
    done: Mapping[int, int]

    @property
    def more(self) -> float:
        """The milliseconds by which the slowest answer is slower than the slowest alone."""
        return slowest(self.beside) - slowest(self.alone)


@dataclass(frozen=True, slots=True)
class Compared:
    """A scenario's runs on a server, and the milliseconds that the same load costs on the bare one.

    `grown` is the growth of the server's memory at its peak, and `logged` that of the decision log, in MB. `fault` says
    why there are no runs, or why the server did not end.
    """

    scenario: str
    runs: Sequence[Run]
    bare: float
    grown: float
    logged: float = 0.0
    fault: str = ""

    @property
    def more(self) -> float:
        """The milliseconds by which the modest caller's slowest answer got slower, without what the bare one costs."""
        return median(run.more for run in self.runs) - max(0.0, self.bare)

    @property
    def health(self) -> float:
        """The slowest answer of `health` in milliseconds."""
        return median(slowest([one for one in run.beside if one.kind == HEALTH]) for run in self.runs)

    @property
    def unserved(self) -> Counter[tuple[int, str]]:
        """The modest caller's answers that were none of 2xx, by status and code."""
        return Counter((one.status, one.code) for run in self.runs for one in run.beside if one.status // 100 != 2)

    @property
    def errors(self) -> int:
        """The number of those that are the server's fault, or did not come."""
        return sum(count for (status, _), count in self.unserved.items() if status == 0 or status >= _SERVER_ERROR)

    @property
    def done(self) -> Counter[int]:
        """The greedy caller's answers in all runs, by status."""
        total: Counter[int] = Counter()
        for run in self.runs:
            total.update(run.done)
        return total

    def slowest_kind(self) -> str:
        """Return the kind of the slowest answer of all runs."""
        every = [one for run in self.runs for one in run.beside]
        return max(every, key=lambda one: one.seconds).kind if every else "none"


def slowest(answers: Sequence[Answered]) -> float:
    """Return the slowest answer in milliseconds."""
    return max((one.seconds for one in answers), default=0.0) * 1000


def p99(answers: Sequence[Answered]) -> float:
    """Return the milliseconds within which 99 of 100 answers came."""
    times = sorted(one.seconds for one in answers)
    return times[int(len(times) * 0.99)] * 1000 if times else 0.0


def bare(place: Place, scenario: Scenario, effort: Effort) -> float:
    """Return the milliseconds that a scenario costs the modest caller of the bare server."""
    runs = min(effort.runs, BARE_RUNS)
    return median(_run(place, place.bare, "none", scenario, {}, number, effort).more for number in range(runs))


def compare(
    place: Place,
    scenario: Scenario,
    kind: str,
    workers: int,
    bare_ms: float,
    effort: Effort,
    sampled: Path | None = None,
) -> Compared:
    """Run a scenario on a new server; `sampled` is the file for its profile."""
    runs: list[Run] = []
    grown = logged = 0
    fault = ""
    try:
        with place.served(scenario.setting, kind, workers, sampled=sampled) as served:
            server = served.server
            prepared = scenario.prepare(Stage(server.port, place.issuer, served.database, effort.runs))
            conversation = _modest_records(place, server)
            if sampled is not None:
                os.kill(server.pid, signal.SIGUSR1)
            before, lines = memory.forget_peak(server), served.logged()
            for number in range(effort.runs):
                runs.append(_run(place, server, conversation, scenario, prepared, number, effort))
            grown, logged = memory.peak(server) - before, served.logged() - lines
    except (NotStarted, NotEnded, TooLarge, Unprepared, OSError) as error:
        fault = str(error)
    return Compared(scenario.name, runs or [Run([], [], {})], bare_ms, grown / _MB, logged / _MB, fault)


def _modest_records(place: Place, server: Running) -> str:
    """Make what the modest caller has, and return the id of its conversation."""
    token = place.issuer.token(MODEST, ["quiet"])
    for _ in range(_FILES):
        ask(server.port, upload(token, b"notes"))
    items = [{"type": "message", "role": "user", "content": "hello"}] * 5
    made: str = ask(server.port, post("/v1/conversations", token, {"items": items}))["id"]
    return made


def _run(
    place: Place,
    server: Running,
    conversation: str,
    scenario: Scenario,
    prepared: Mapping[str, Any],
    number: int,
    effort: Effort,
) -> Run:
    place.greedy.send(Order(scenario.name, Script(place.issuer, number, prepared), server.port))
    place.greedy.recv()
    alone = time.monotonic() + _SOON
    began = alone + effort.alone
    until = began + effort.seconds
    place.greedy.send((began, until))
    place.modest.send(Visit(server.port, place.issuer.token(MODEST, ["quiet"]), conversation, alone, until))
    killed = False
    while not place.modest.poll(_WATCH_SECONDS):
        if memory.held(server) > _MOST_HELD:
            server.kill()
            killed = True
    answers: list[Answered] = place.modest.recv()
    done: Counter[int] = place.greedy.recv()
    if killed:
        raise TooLarge(f"the server was killed, as it held more than {_MOST_HELD // _MB:,} MB")
    beside = [one for one in answers if one.at + one.seconds > began]
    return Run([one for one in answers if one.at + one.seconds <= began], beside, done)
