"""A child process of `inline::llama-cpp` for the time of a test."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from server.inference.providers.llama_cpp.process import ModelFile, ModelProcess


def running(file: ModelFile, use: Callable[[ModelProcess], Awaitable[None]]) -> None:
    """Begin a process for the model, use it, and see that nothing is left of it."""

    async def run() -> None:
        made = ModelProcess("local", file)
        made.begin()
        directory = made.socket.parent
        try:
            assert directory.stat().st_mode & 0o777 == 0o700
            await use(made)
        finally:
            pid = made.pid
            await made.stop()
            await made.stop()
        left.extend((directory, Path(f"/proc/{pid}")))

    left = list[Path]()
    asyncio.run(run())
    assert not any(path.exists() for path in left)


async def until(is_so: Callable[[], bool]) -> None:
    """Return when it is so, within some seconds."""
    for _ in range(3000):
        if is_so():
            return
        await asyncio.sleep(0.01)  # no event tells of it
    raise TimeoutError
