"""The cost of a request against another revision: `python -m bench.against REVISION [SCENARIO...]`.

Both servers get slices of the same load in turn, so that other work of the machine affects both alike. `difference` is
that of the processor time of server and OPA, as the median over the turns; half of the turns are within the bounds
beside it. Other work makes the same request cost more processor time, so the least of all turns are compared, too.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import uvloop

from bench.client import Load
from bench.measure import Measured, compared_loads, ratio, spread
from bench.processes import ROOT, Running
from bench.records import CONNECTIONS, Place, conversation_loads, served
from bench.report import table
from bench.results import RULES
from bench.scenarios import scenarios
from bench.world import World, world

USUAL: Final = ("chat", "stream", "create", "get")
"""The scenarios that are measured if none is named; `create` and `get` are of conversations, on SQLite."""

_OURS: Final = "here"
_THEIRS: Final = "there"
_OF_RECORDS: Final = ("create", "get")


def main() -> None:
    """Parse the command line, measure and print."""
    parser = argparse.ArgumentParser(prog="bench.against", description="Compare costs with those of a revision.")
    parser.add_argument("revision", help="of this repository")
    parser.add_argument("scenarios", nargs="*", default=USUAL, help="of `make bench`, or `create` and `get`")
    parser.add_argument("--seconds", type=float, default=0.5, help="of one slice of load")
    parser.add_argument("--turns", type=int, default=15, help="of the servers, one slice each")
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    chosen = parser.parse_args()
    with world() as made, checkout(chosen.revision, made.folder / "checkout") as other:
        unknown = {*chosen.scenarios} - {*scenarios(made.callers), *_OF_RECORDS}
        if unknown:
            parser.error(f"`{min(unknown)}` is none of the scenarios")
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found = runner.run(_all(made, other, chosen))
    sys.stdout.write("\n".join(table(_HEAD, (_row(name, one) for name, one in found.items()))) + "\n")


@contextmanager
def checkout(revision: str, folder: Path) -> Iterator[Path]:
    """Yield a folder with the code of a revision, which is removed at the end."""
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(folder), revision], check=True)  # noqa: S603 - git itself
    try:
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], check=True)  # noqa: S603 - as above


async def _all(made: World, other: Path, chosen: argparse.Namespace) -> dict[str, Mapping[str, Measured]]:
    found: dict[str, Mapping[str, Measured]] = {}
    with ExitStack() as stack:
        servers = {
            _THEIRS: stack.enter_context(made.server(RULES, root=other)),
            _OURS: stack.enter_context(made.server(RULES)),
        }
        for name in chosen.scenarios:
            if name not in _OF_RECORDS:
                load = scenarios(made.callers)[name]
                found[name] = await _compared({key: (server, load) for key, server in servers.items()}, chosen)
    if {*chosen.scenarios} & {*_OF_RECORDS}:
        found |= await _of_records(made, other, chosen)
    return found


async def _of_records(made: World, other: Path, chosen: argparse.Namespace) -> dict[str, Mapping[str, Measured]]:
    place, found = Place(made.folder, made.callers, ""), {}
    with ExitStack() as stack:
        servers = {}
        for name, root in ((_THEIRS, other), (_OURS, ROOT)):
            database = str(made.folder / f"{name}.db")
            servers[name] = stack.enter_context(served(place, database, name, root=root))
        loads = {name: conversation_loads(server, made.callers) for name, server in servers.items()}
        for scenario in _OF_RECORDS:
            if scenario in chosen.scenarios:
                loaded = {name: (server, loads[name][scenario]) for name, server in servers.items()}
                found[scenario] = await _compared(loaded, chosen)
    return found


async def _compared(loaded: Mapping[str, tuple[Running, Load]], chosen: argparse.Namespace) -> Mapping[str, Measured]:
    return await compared_loads(loaded, connections=chosen.connections, seconds=chosen.seconds, turns=chosen.turns)


_HEAD: Final = (
    "scenario",
    "CPU there: server",
    "OPA",
    "here: server",
    "OPA",
    "difference",
    "half of the turns",
    "of the least",
)


def _row(name: str, found: Mapping[str, Measured]) -> list[str]:
    ours, theirs = found[_OURS], found[_THEIRS]
    costs = [f"{one.median(figure):.3f}" for one in (theirs, ours) for figure in ("server_cpu", "opa_cpu")]
    first, third = spread(ours, theirs)
    least = min(ours.all("cpu")) / min(theirs.all("cpu"))
    half = f"{first - 1:+.1%} to {third - 1:+.1%}"
    return [name, *costs, f"{ratio(ours, theirs) - 1:+.1%}", half, f"{least - 1:+.1%}"]


if __name__ == "__main__":
    main()
