"""`python -m bench.vectors [--million] [--write PAGE]` measures both indexes and ingestion, and fails where a goal is
missed.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from bench.report import table, written_into
from bench.results import machine
from bench.vectors import taken
from bench.vectors.filled import MINE
from bench.vectors.measure import KINDS, Measured, measured
from bench.vectors.taken import Taken

BEGIN: Final = "<!-- vectors: what follows is written by `python -m bench.vectors` -->"
END: Final = "<!-- vectors: until here -->"

USUAL: Final = 100_000
MILLION: Final = 1_000_000

SIZES: Final = (5.0, 20.0)
"""Megabytes of the texts that are taken in."""

PURGED: Final = 60.0
"""Seconds until no byte of what was removed may be left."""

GOALS: Final = {USUAL: 25.0, MILLION: 30.0}
"""Milliseconds that half of all searches may take, by the number of chunks in the store."""

_MB: Final = 1_000_000


def main() -> None:
    """Parse the command line and run; the status is 1 where a goal is missed."""
    parser = argparse.ArgumentParser(prog="bench.vectors", description="Measure the indexes of vector stores.")
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=KINDS)
    parser.add_argument("--count", type=int, default=USUAL, help="chunks in the store")
    parser.add_argument("--million", action="store_true", help="measure a million chunks in LanceDB too")
    parser.add_argument("--take", nargs="*", type=float, default=SIZES, metavar="MB", help="texts that are taken in")
    parser.add_argument("--report", action="store_true", help="succeed also where a goal is missed")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table between the marks of this page")
    chosen = parser.parse_args()
    where = machine()
    works = [(kind, chosen.count) for kind in chosen.kinds]
    works += [("lancedb", MILLION)] if chosen.million else []
    found = [run(kind, count) for kind, count in works]
    texts = [taken.taken(size) for size in chosen.take]
    text = report(found, texts, where)
    sys.stdout.write(text)
    if chosen.write is not None:
        chosen.write.write_text(written_into(chosen.write.read_text(), text, BEGIN, END))
    missing = [line for one in found for line in missed(one)]
    missing += [line for one in texts for line in taken.missed(one)]
    sys.stderr.write("".join(f"{line}\n" for line in missing))
    sys.exit(bool(missing) and not chosen.report)


def run(kind: str, count: int) -> Measured:
    """Measure an index in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="bench-vectors-") as folder:
        return asyncio.run(measured(kind, count, Path(folder)))


def missed(one: Measured) -> Iterator[str]:
    """Yield a sentence for each goal that is missed."""
    if one.recall < 1.0:
        yield f"{one.kind}: {one.recall:.3f} of what is nearest is found in {one.count:,}"
    if one.p50 > GOALS.get(one.count, GOALS[MILLION]):
        yield f"{one.kind}: half of the searches in {one.count:,} take up to {one.p50:.0f} ms"
    if one.purged > PURGED:
        yield f"{one.kind}: a purge of {one.count:,} takes {one.purged:.0f} s"


def report(found: Sequence[Measured], texts: Sequence[Taken], where: str) -> str:
    """Return the tables as Markdown."""
    head = (
        "index",
        "chunks",
        "search p50",
        "p99",
        "CPU",
        "recall@10",
        "words p50",
        "added",
        "longest stall",
        "memory",
        "part purged in",
    )
    rows = [
        (
            f"`inline::{one.kind}`",
            f"{one.count:,}",
            f"{one.p50:.1f} ms",
            f"{one.p99:.1f} ms",
            f"{one.cpu:.1f} ms",
            f"{one.recall:.3f}",
            f"{one.words:.1f} ms",
            f"{one.rate:,.0f}/s",
            f"{one.stalled:.0f} ms",
            f"{one.memory / _MB:.0f} MB",
            f"{one.purged:.1f} s",
        )
        for one in found
    ]
    lines = [f"Measured on {where}; {MINE:,} chunks are one's own."]
    if rows:
        lines += ["", *table(head, rows)]
    if texts:
        lines += ["", *table(taken.HEAD, [taken.row(one) for one in texts])]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
