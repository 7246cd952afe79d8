"""`make bench`: measures everything, prints the tables, and writes them into the documentation."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from time import perf_counter

import uvloop

from bench.report import report, written_into
from bench.results import Effort, everything
from bench.world import world


def main() -> None:
    """Parse the command line and run."""
    usual = Effort()
    parser = argparse.ArgumentParser(prog="bench", description="Measure what a request costs. Takes some five minutes.")
    parser.add_argument("--seconds", type=float, default=usual.seconds, help="of one slice of load")
    parser.add_argument("--turns", type=int, default=usual.turns, help="of the servers, one slice each")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the tables between the marks of this page")
    chosen = parser.parse_args()
    began = perf_counter()

    def tell(what: str) -> None:
        sys.stderr.write(f"{perf_counter() - began:4.0f} s  {what}\n")

    with world() as made, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        text = report(runner.run(everything(made, Effort(chosen.seconds, chosen.turns), tell)))
    sys.stdout.write(f"\n{text}")
    if chosen.write is not None:
        chosen.write.write_text(written_into(chosen.write.read_text(), text))


if __name__ == "__main__":
    main()
