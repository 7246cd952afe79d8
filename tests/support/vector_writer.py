"""A process that changes a vector index until it is killed, and says what it has done.

`python -m tests.support.vector_writer KIND FOLDER KEY FIRST WORK` prints `ready`, and then a line for each change that
is done: `added PART`, `removed PART`, `purged`. A file `stop` in the folder ends it.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.support.vector_indexes import DIMENSIONS, chunks, index_of, pieces, ready

ROWS = 30


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def _write(kind: str, folder: Path, key: str, first: int, work: str) -> None:
    index = index_of(kind, folder)
    async with index.running():
        await ready(index)
        say("ready")
        for part in range(first, first + 100_000):
            if (folder / "stop").exists():
                return
            await index.add(key, DIMENSIONS, part, pieces(chunks(ROWS, part), 7))
            say(f"added {part}")
            if work != "add" and part % 2:
                say(f"removing {part}")
                await index.remove(key, [part])
                say(f"removed {part}")
            if work == "purge":
                await index.purge(key)
                say("purged")


if __name__ == "__main__":
    asyncio.run(_write(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), sys.argv[5]))
