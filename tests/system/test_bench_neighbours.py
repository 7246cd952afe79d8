"""What a greedy caller costs a modest one is measured against a real server, and the tables tell what misses a goal.

Under OSTIARY_NIGHTLY=1 three scenarios are also judged, by bounds that a busy machine keeps.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.neighbours import compare
from bench.neighbours.compare import Compared, Effort, Run
from bench.neighbours.modest import Answered
from bench.neighbours.place import Place, place
from bench.neighbours.report import BEGIN, END, missed, report
from bench.neighbours.scenario import Script
from bench.neighbours.scenarios import SCENARIOS, SUBJECTS
from bench.report import written_into
from bench.tokens import issuer

ROOT = Path(__file__).parent.parent.parent
NIGHTLY = os.environ.get("OSTIARY_NIGHTLY") == "1"
JUDGED = ("tiny requests", "items that name unknown files", "small bodies full of arrays")
WORST_MS = 1000.0
"""Above what a busy machine costs a caller, and below what a caller once cost another."""

WORST_FAILING = 0.1
"""A third failed where one caller could open the breaker for all."""


@pytest.fixture(scope="module")
def made(opa_binary: Path) -> Iterator[Place]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSTIARY_OPA", str(opa_binary))
        with place(postgres=False) as found:
            yield found


def test_no_two_scenarios_have_one_name() -> None:
    assert len(SCENARIOS) == sum(len(subject.SCENARIOS) for subject in SUBJECTS)


def test_every_scenario_builds_its_load() -> None:
    script = Script(issuer(), 0, {})
    for scenario in SCENARIOS.values():
        if "principals" not in scenario.name:  # ten thousand signatures
            assert callable(scenario.attack(script))


def test_a_scenario_is_run_beside_a_caller_that_is_served(made: Place) -> None:
    scenario = SCENARIOS["health without a token"]
    effort = Effort(1, 1.0)
    bare = compare.bare(made, scenario, effort)
    found = compare.compare(made, scenario, "sqlite", 1, bare, effort)
    assert not found.fault
    assert found.done[200] > 0
    assert {one.status for run in found.runs for one in (*run.alone, *run.beside)} == {200}
    assert {one.kind for run in found.runs for one in (*run.alone, *run.beside)} >= {"get", "health", "chat"}


@pytest.mark.skipif(not NIGHTLY, reason="takes half a minute: OSTIARY_NIGHTLY=1")
@pytest.mark.parametrize("name", JUDGED)
def test_a_greedy_caller_shuts_no_other_out(made: Place, name: str) -> None:
    effort = Effort(3, 2.0)  # a busy machine is given several tries
    bare = compare.bare(made, SCENARIOS[name], effort)
    found = compare.compare(made, SCENARIOS[name], "sqlite", 1, bare, effort)
    assert not found.fault
    assert found.more < WORST_MS, found.slowest_kind()
    assert min(failing(run) for run in found.runs) < WORST_FAILING, found.unserved
    assert found.grown < 300


def failing(run: Run) -> float:
    """The share of the modest caller's requests that fail: on a busy machine a decision may take too long."""
    return sum(one.status == 0 or one.status >= 500 for one in run.beside) / max(1, len(run.beside))


def answered(milliseconds: float, status: int = 200, kind: str = "get", code: str = "") -> Answered:
    return Answered(kind, 0.0, milliseconds / 1000, status, code)


def test_what_misses_a_goal_is_said() -> None:
    alone = [answered(4), answered(5, kind="health")]
    good = Compared("good", [Run(alone, [answered(60), answered(9, 429)], {200: 3})], 10.0, 299.0)
    assert missed(good) == []
    beside = [answered(90), answered(70, 503, "health", "server_busy"), answered(9, 0)]
    bad = Compared("bad", [Run(alone, beside, {503: 2, 404: 1})], 10.0, 301.0, 1.5, "did not end")
    assert missed(bad) == [
        "did not end",
        "the modest caller waits 75 ms longer, mostly for get",
        "health takes 70 ms",
        "memory grows by 301 MB",
        "2 requests of the modest caller fail: 1 x no answer, 1 x 503 server_busy",
    ]
    text = report({("sqlite", 1): [good, bad]}, "a machine")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| bad")]
    assert rows[0][5:] == [
        "10",
        "75",
        "get",
        "70",
        "1 x no answer, 1 x 503 server_busy",
        "+301 MB",
        "+1.5 MB",
        "0",
        "2",
        "1",
    ]
    assert "- bad (sqlite, 1): did not end;" in text
    page = (ROOT / "bench" / "neighbours.md").read_text()
    assert text in written_into(page, text, BEGIN, END)
