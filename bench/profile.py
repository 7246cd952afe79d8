"""A profile of the server's processor time: `python -m bench.profile [SCENARIO]` is `make profile`.

`self` is the share of a function's own code, of what it calls in C and of the kernel's work for it; `total` adds the
functions that it calls. Both are shares of the main thread's time while the load ran.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from json import loads
from pathlib import Path
from typing import Final

import uvloop

from bench import client
from bench.scenarios import scenarios
from bench.world import World, world

_SHOWN: Final = 40

Stacks = list[tuple[list[str], int]]


def main() -> None:
    """Load a sampled server and print its profile."""
    parser = argparse.ArgumentParser(prog="bench.profile", description="Show where the server's processor time goes.")
    parser.add_argument("scenario", nargs="?", default="chat", help="one of those that `make bench` lists")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--rules", type=int, default=100)
    chosen = parser.parse_args()
    with world() as made:
        known = scenarios(made.callers)
        if chosen.scenario not in known:
            parser.error(f"`{chosen.scenario}` is none of {', '.join(known)}")
        sys.stdout.write(_profiled(made, chosen))


def _profiled(made: World, chosen: argparse.Namespace) -> str:
    load = scenarios(made.callers)[chosen.scenario]
    samples = made.folder / "samples.json"
    with made.server(chosen.rules, sampled=samples) as server:
        os.kill(server.pid, signal.SIGUSR1)
        before = server.cost()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            load_once = client.run(server.port, load, connections=chosen.connections, seconds=chosen.seconds)
            count = len(runner.run(load_once).whole)
        after = server.cost()
    ours, opa = (after.server - before.server) / count * 1000, (after.opa - before.opa) / count * 1000
    head = f"{chosen.scenario}: {count} requests, {ours:.3f} ms of the server and {opa:.3f} ms of OPA each\n"
    return head + report(read(samples), ours)


def read(samples: Path) -> Stacks:
    """Return the stacks of `bench.sampler`, the most frequent first."""
    found: Stacks = loads(samples.read_text())
    return found


def report(stacks: Stacks, milliseconds: float) -> str:
    """Return the functions and packages with the greatest shares; `milliseconds` is the total for a request."""
    whole = sum(count for _, count in stacks) or 1
    own, total, packages = Counter[str](), Counter[str](), Counter[str]()
    for stack, count in stacks:
        own[stack[-1]] += count
        packages[stack[-1].partition("/")[0]] += count
        for call in set(stack):
            total[call] += count
    tables = (("self", "function", own), ("total", "function", total), ("self", "package", packages))
    return "\n".join("\n".join(_table(*table, whole, milliseconds / whole)) + "\n" for table in tables)


def _table(share: str, what: str, counted: Counter[str], whole: int, milliseconds: float) -> Iterator[str]:
    """Yield the most frequent entries of `whole` samples, for each of which a request took `milliseconds`."""
    yield f"{share:>7}  {'ms':>7}  {what}"
    for name, count in counted.most_common(_SHOWN):
        yield f"{count / whole:7.1%}  {count * milliseconds:7.4f}  {name}"


if __name__ == "__main__":
    main()
