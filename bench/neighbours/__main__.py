"""`make neighbours`: runs every scenario, prints the tables, and fails where a goal is missed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

from bench import profile
from bench.neighbours import compare
from bench.neighbours.compare import Compared, Effort
from bench.neighbours.place import Place, place
from bench.neighbours.report import BEGIN, END, Combination, missed, report
from bench.neighbours.scenario import Scenario
from bench.neighbours.scenarios import SCENARIOS
from bench.report import written_into
from bench.results import machine
from tests.support.databases import KINDS


def main() -> None:
    """Parse the command line and run; the status is 1 where a goal is missed."""
    chosen = _parser().parse_args()
    scenarios = [one for one in SCENARIOS.values() if _is_chosen(one, chosen.scenarios)]
    where = machine()
    results: dict[Combination, list[Compared]] = {}
    with place(postgres="postgresql" in chosen.databases) as made:
        for combination, one in _compared(made, scenarios, chosen):
            results.setdefault(combination, []).append(one)
    text = report(results, where)
    sys.stdout.write(f"\n{text}")
    if chosen.write is not None:
        chosen.write.write_text(written_into(chosen.write.read_text(), text, BEGIN, END))
    failed = any(missed(one) for compared in results.values() for one in compared)
    sys.exit(failed and not chosen.report)


def _parser() -> argparse.ArgumentParser:
    usual = Effort()
    parser = argparse.ArgumentParser(
        prog="bench.neighbours",
        description="Measure what one greedy caller costs a modest one. A whole run takes an hour and a half.",
    )
    parser.add_argument(
        "scenarios", nargs="*", metavar="SCENARIO", help="texts in names of scenarios; without any, all run"
    )
    parser.add_argument("--runs", type=int, default=usual.runs, help="of each scenario; the tables have medians")
    parser.add_argument("--seconds", type=float, default=usual.seconds, help="in which the greedy caller is there")
    parser.add_argument("--databases", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--profile", action="store_true", help="show where the server's processor time goes")
    parser.add_argument("--report", action="store_true", help="succeed also where a goal is missed")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the tables between the marks of this page")
    return parser


def _is_chosen(scenario: Scenario, texts: list[str]) -> bool:
    return not texts or any(text in scenario.name for text in texts)


def _compared(
    made: Place, scenarios: list[Scenario], chosen: argparse.Namespace
) -> Iterator[tuple[Combination, Compared]]:
    """Yield each result: several workers on the first kind of database alone, what is not kept on no other."""
    effort = Effort(chosen.runs, chosen.seconds)
    first = chosen.databases[0]
    began = perf_counter()
    for scenario in scenarios:
        bare = compare.bare(made, scenario, effort)
        for kind in chosen.databases if scenario.kept else [first]:
            for workers in chosen.workers if kind == first else chosen.workers[:1]:
                sampled = made.folder / "samples.json" if chosen.profile else None
                one = compare.compare(made, scenario, kind, workers, bare, effort, sampled)
                if sampled is not None and sampled.exists():
                    sys.stderr.write(profile.report(profile.read(sampled), 100.0))
                sentences = "; ".join(missed(one)) or f"{one.more:.0f} ms more"
                sys.stderr.write(f"{perf_counter() - began:4.0f} s  {scenario.name} ({kind}, {workers}): {sentences}\n")
                yield (kind, workers), one


if __name__ == "__main__":
    main()
