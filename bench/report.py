"""The tables of a run, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from bench.measure import Measured, ratio, spread
from bench.open_streams import Held
from bench.results import BARE, OURS, POLICIES, REMEMBERING, RULES, Results

BEGIN: Final = "<!-- bench: what follows is written by `make bench` -->"
END: Final = "<!-- bench: until here -->"

_MB: Final = 1_000_000
_LOADED: Final = 8
_FLOOD: Final = "forged token"


def report(results: Results) -> str:
    """Return the report."""
    return "\n".join(_lines(results)) + "\n"


def written_into(page: str, text: str, begin: str = BEGIN, end: str = END) -> str:
    """Return `page` with `text` between the two marks; raise ValueError if it has none."""
    before, begun, rest = page.partition(begin)
    _, ended, after = rest.partition(end)
    if not begun or not ended:
        raise ValueError("the page has no place for the tables")
    return f"{before}{begin}\n\n{text}\n{end}{after}"


def _lines(results: Results) -> Iterator[str]:
    yield f"Measured on {results.machine}."
    yield ""
    yield from _goals(results)
    for connections, loads in results.loads.items():
        yield ""
        yield f"**{connections} connection{'s' if connections > 1 else ''}, {RULES} rules in each policy**"
        yield ""
        yield from _loads(loads)
    yield ""
    yield f"**Rules: processor time of server + OPA, {_LOADED} connections**"
    yield ""
    yield from _by_policy(results.by_policy)
    yield ""
    yield "**One decision (route and resource in one question), seen from a handler**"
    yield ""
    yield from _decisions(results)


def _goals(results: Results) -> Iterator[str]:
    loads = results.loads[_LOADED]
    alone = results.loads[1]["stream"]
    first = alone[OURS].median("first_p50") - alone[BARE].median("first_p50")
    decision, few = results.decisions[f"{RULES} rules"], results.decisions["10 rules"]
    many = max(results.decisions[name].p50 for name in POLICIES) / few.p50
    models = 1000 / max(loads["models"][OURS].median("cpu"), 0.001)
    flood = loads[_FLOOD]
    rows = [
        ("chat, CPU of server + OPA against the bare pass-through", against(loads["chat"]), "≤ 1.4x"),
        ("stream of 20 chunks, the same", against(loads["stream"]), "≤ 1.2x"),
        ("embeddings, the same", against(loads["embeddings"]), "≤ 1.5x"),
        ("list of 6 models, the same", against(loads["models"]), "≤ 1.3x"),
        ("chat, against one that checks each token once", against(loads["chat"], REMEMBERING), ""),
        ("stream, the same", against(loads["stream"], REMEMBERING), ""),
        ("time added to the first token, one connection", f"{first:.2f} ms", "≤ 1 ms"),
        (f"memory of {results.streams[OURS].streams:,} open streams", _grown(results.streams[OURS]), "≤ 150 MB"),
        ("the same, of the bare pass-through", _grown(results.streams[BARE]), ""),
        ("`GET /v1/models`, one core for server and OPA together", f"{models:,.0f}/s", "≥ 2,000/s"),
        ("flood of forged tokens against a bare 401", against(flood), "≤ 1.5x"),
        ("one decision, p50", f"{decision.p50:.2f} ms", "≤ 0.2 ms"),
        ("one decision, Python's CPU, one at a time", f"{decision.python_cpu:.3f} ms", "≤ 0.05 ms"),
        ("one decision, Python's CPU, 8 under way", f"{decision.together_python_cpu:.3f} ms", "≤ 0.05 ms"),
        ("the slowest policy against 10 rules, p50", f"{many:.2f}x", "≤ 1.3x"),
        ("ready after", f"{results.ready:.2f} s", "≤ 1.5 s"),
        ("server + OPA idle", f"{(results.idle.server_bytes + results.idle.opa_bytes) / _MB:.0f} MB", "≤ 150 MB"),
    ]
    yield from table(("what", "measured", "goal"), rows)


def against(measured: Mapping[str, Measured], other: str = BARE) -> str:
    """Return the ratio and, in brackets, those between which half of the turns are."""
    first, third = spread(measured[OURS], measured[other])
    return f"{ratio(measured[OURS], measured[other]):.2f}x ({first:.2f} to {third:.2f})"


def _grown(held: Held) -> str:
    return f"{(held.server + held.opa) / _MB:.0f} MB"


def _loads(loads: Mapping[str, Mapping[str, Measured]]) -> Iterator[str]:
    head = ("scenario", "CPU: bare", "server", "OPA", "ratio", "req/s: bare", "server", "p50: bare", "server")
    rows = []
    for name, measured in loads.items():
        bare, ours = measured[BARE], measured[OURS]
        cpu = [f"{value:.3f}" for value in (bare.median("cpu"), ours.median("server_cpu"), ours.median("opa_cpu"))]
        rates = [f"{one.median('rate'):,.0f}" for one in (bare, ours)]
        times = [f"{one.median('p50'):.2f}" for one in (bare, ours)]
        rows.append((name, *cpu, f"{ratio(ours, bare):.2f}x", *rates, *times, f"{ours.median('p99'):.1f}"))
    yield from table((*head, "p99"), rows)
    for name, measured in loads.items():
        unserved = measured[OURS].median("unserved")
        if unserved:
            yield ""
            yield f"{unserved:.1%} of the requests of `{name}` were turned away with 503: OPA had no time for them."


def _by_policy(by_policy: Mapping[str, Mapping[str, Measured]]) -> Iterator[str]:
    names = list(next(iter(by_policy.values())))
    rows = []
    for scenario, measured in by_policy.items():
        least = measured[names[0]]
        cells = [f"{measured[name].median('cpu'):.3f} ({ratio(measured[name], least):.2f}x)" for name in names]
        rows.append((scenario, *cells))
    yield from table(("ms a request", *names), rows)


def _decisions(results: Results) -> Iterator[str]:
    head = ("ms a decision", "p50", "Python's CPU", "8 under way: Python's CPU", "OPA's CPU")
    rows = []
    for name, cost in results.decisions.items():
        times = (cost.p50, cost.python_cpu, cost.together_python_cpu, cost.together_opa_cpu)
        rows.append((name, *(f"{time:.3f}" for time in times)))
    yield from table(head, rows)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table."""
    whole = [head, *rows]
    widths = [max(len(row[column]) for row in whole) for column in range(len(head))]
    for index, row in enumerate(whole):
        yield "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        if index == 0:
            yield "| " + " | ".join("-" * width for width in widths) + " |"
