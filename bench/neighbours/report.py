"""The tables of a run, and what misses the goal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Final, TypeAlias

from bench.neighbours.compare import Compared, p99, slowest
from bench.report import table

BEGIN: Final = "<!-- neighbours: what follows is written by `make neighbours` -->"
END: Final = "<!-- neighbours: until here -->"

MORE_MS: Final = 50.0
GROWN_MB: Final = 300.0
HEALTH_MS: Final = 50.0

Combination: TypeAlias = tuple[str, int]
"""A kind of database and a number of workers."""

Results: TypeAlias = Mapping[Combination, Sequence[Compared]]

_HEAD: Final = (
    *("scenario", "alone: p99", "slowest", "beside: p99", "slowest", "bare: more", "more", "slowest is", "health"),
    *("not 2xx", "memory", "log", "greedy: 2xx", "429, 503", "others"),
)


def report(results: Results, machine: str) -> str:
    """Return all tables as Markdown."""
    return "\n".join(_lines(results, machine)) + "\n"


def missed(one: Compared) -> list[str]:
    """Return a sentence for each goal that a scenario misses."""
    found = [one.fault] if one.fault else []
    if one.more > MORE_MS:
        found.append(f"the modest caller waits {one.more:.0f} ms longer, mostly for {one.slowest_kind()}")
    if one.health > HEALTH_MS + max(0.0, one.bare):
        found.append(f"health takes {one.health:.0f} ms")
    if one.grown > GROWN_MB:
        found.append(f"memory grows by {one.grown:.0f} MB")
    if one.errors:
        found.append(f"{one.errors} requests of the modest caller fail: {counted(one.unserved)}")
    return found


def counted(statuses: Mapping[tuple[int, str], int]) -> str:
    """Return statuses and codes with their counts."""
    named = {f"{status or 'no answer'} {code}".strip(): count for (status, code), count in sorted(statuses.items())}
    return ", ".join(f"{count} x {name}" for name, count in named.items()) or "-"


def _lines(results: Results, machine: str) -> Iterator[str]:
    yield f"Measured on {machine}. All times are in milliseconds."
    for (database, workers), compared in results.items():
        yield ""
        yield f"**{database}, {workers} worker{'s' if workers > 1 else ''}**"
        yield ""
        yield from table(_HEAD, [_row(one) for one in compared])
    failures = [
        f"- {one.scenario} ({database}, {workers}): {'; '.join(sentences)}."
        for (database, workers), compared in results.items()
        for one in compared
        if (sentences := missed(one))
    ]
    yield ""
    yield "Goals that are missed:" if failures else "No goal is missed."
    if failures:
        yield ""
        yield from failures


def _row(one: Compared) -> list[str]:
    done = one.done
    served = sum(count for status, count in done.items() if status // 100 == 2)
    turned_away = done[429] + done[503]
    times = [
        median(p99(run.alone) for run in one.runs),
        median(slowest(run.alone) for run in one.runs),
        median(p99(run.beside) for run in one.runs),
        median(slowest(run.beside) for run in one.runs),
        one.bare,
        one.more,
    ]
    return [
        one.scenario,
        *(f"{time:.0f}" for time in times),
        one.slowest_kind(),
        f"{one.health:.0f}",
        counted(one.unserved),
        f"{one.grown:+.0f} MB",
        f"{one.logged:+.1f} MB",
        f"{served:,}",
        f"{turned_away:,}",
        f"{done.total() - served - turned_away:,}",
    ]
