"""`python -m bench.responses [--write PAGE]` measures what responses cost, and fails where a goal is missed."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import uvloop

from bench import client
from bench.client import Load
from bench.measure import compared_loads
from bench.open_streams import held
from bench.policies import FAST
from bench.processes import Running
from bench.report import table, written_into
from bench.responses.events import event_seconds
from bench.responses.tools import call_milliseconds, streams_without_end, with_tools
from bench.results import machine
from bench.scenarios import chats, posts
from bench.upstream import OPEN, PACED
from bench.world import World, world

BEGIN = "<!-- responses: what follows is written by `python -m bench.responses` -->"
END = "<!-- responses: until here -->"

CONNECTIONS = 16
STREAMS = 200

_MB = 1024 * 1024
_DONE = b"event: response.completed"
_STREAM_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Figure:
    """One number with its unit, and the most that it may be."""

    what: str
    value: float
    most: float
    unit: str

    @property
    def is_missed(self) -> bool:
        """True where it is more."""
        return self.value > self.most


def main() -> None:
    """Parse the command line and run; the status is 1 where a goal is missed."""
    parser = argparse.ArgumentParser(prog="bench.responses", description="Measure what responses cost.")
    parser.add_argument("--seconds", type=float, default=2.0, help="of one slice of load")
    parser.add_argument("--turns", type=int, default=5, help="of the servers, one slice each")
    parser.add_argument("--report", action="store_true", help="succeed also where a goal is missed")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table between the marks of this page")
    chosen = parser.parse_args()
    with (
        world() as made,
        made.keeping("responses", partial(_with_agents, made.upstream.port)) as server,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        figures = runner.run(_measured(made, server, chosen.seconds, chosen.turns))
    text = report(figures, machine())
    sys.stdout.write(text)
    if chosen.write is not None:
        chosen.write.write_text(written_into(chosen.write.read_text(), text, BEGIN, END))
    missed = [figure for figure in figures if figure.is_missed]
    sys.stderr.write("".join(f"missed: {figure.what}\n" for figure in missed))
    sys.exit(bool(missed) and not chosen.report)


def _with_agents(upstream: int, config: dict[str, Any]) -> None:
    """Have a server keep responses, and give their models tools."""
    config["apis"].append("agents")
    with_tools(config, upstream)


async def _measured(made: World, server: Running, seconds: float, turns: int) -> list[Figure]:
    tokens = made.callers.good
    stored = Load(_responses(FAST, tokens), 200, b'"object":"response"')
    loaded = {"stored": (server, stored)}
    slices = (await compared_loads(loaded, connections=CONNECTIONS, seconds=seconds, turns=turns))["stored"]
    added = await _added(made, server, seconds, turns)
    many = Load(_responses(PACED, tokens, stream=True), 200, _DONE)
    called = await call_milliseconds(server, tokens, seconds, turns)
    unended = await streams_without_end(server, tokens, STREAMS)
    before = server.cost()
    began = perf_counter()
    sample = await client.run(server.port, many, connections=STREAMS, seconds=_STREAM_SECONDS, most=1)
    whole = (server.cost().server - before.server) / len(sample.whole)
    await held(server, _responses(OPEN, tokens, stream=True), STREAMS)
    kept = server.cost().server_bytes
    sys.stderr.write(f"{len(sample.whole)} of {STREAMS} streams ended well, after {perf_counter() - began:.0f} s; ")
    sys.stderr.write(f"each has taken {whole * 1000:.0f} ms of processor time\n")
    return [
        Figure("a stored response: processor time", slices.median("server_cpu"), 2.3, "ms"),
        Figure(f"a stored response at {CONNECTIONS} connections: p99", slices.median("p99"), 40.0, "ms"),
        Figure("the first event of a stream, later than from the provider", added, 3.0, "ms"),
        Figure(f"the server after {STREAMS} streams that were open: memory", kept / _MB, 300.0, "MB"),
        Figure(f"{STREAMS} streams at once: those without their end", STREAMS - len(sample.whole), 0.0, ""),
        Figure("a call of a server's tool in a response: processor time", called, 1.0, "ms"),
        Figure(f"{STREAMS} streams at once with a call of a tool each: those without their end", unended, 0.0, ""),
        Figure("an event of a stream, read, stepped and written", event_seconds() * 1e6, 30.0, "µs"),
    ]


async def _added(made: World, server: Running, seconds: float, turns: int) -> float:
    """Return the milliseconds by which the first event of a stream comes later than the provider's first chunk."""
    tokens = made.callers.good
    mine = Load(_responses(PACED, tokens, stream=True, store=False), 200, _DONE)
    bare = Load(chats(PACED, tokens, stream=True), 200, b"data: [DONE]")
    loaded = {"ours": (server, mine), "bare": (made.remembering, bare)}
    found = await compared_loads(loaded, connections=1, seconds=seconds, turns=turns)
    pairs = zip(found["ours"].all("first_p50"), found["bare"].all("first_p50"), strict=True)
    return median(ours - theirs for ours, theirs in pairs)


def _responses(model: str, tokens: Sequence[str], **more: bool) -> list[bytes]:
    body = {"model": f"bench/{model}", "input": "Explain in one sentence why doors are free. " * 8, **more}
    return posts("/v1/responses", tokens, body)


def report(figures: Sequence[Figure], where: str) -> str:
    """Return the table as Markdown."""
    rows = [
        (one.what, f"{one.value:.3g} {one.unit}", f"{one.most:g} {one.unit}", "yes" if one.is_missed else "")
        for one in figures
    ]
    return "\n".join([where, "", *table(("figure", "measured", "at most", "missed"), rows), ""])


if __name__ == "__main__":
    main()
