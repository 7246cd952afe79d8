"""The server's end of one child process that runs a model."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from dataclasses import asdict
from pathlib import Path
from subprocess import SubprocessError
from typing import Any, Final

from server.background.child_processes import prepare_child
from server.inference.providers.llama_cpp.child import FAULT, LASTING, READY, Order

LOAD_SECONDS: Final = 600.0
"""Limit of the time to verify and load a model."""

_LAST_WORDS: Final = 10
_LONGEST_WORDS: Final = 300
_LONGEST_LINE: Final = 64 * 1024
_ROOT: Final = Path(__file__).resolve().parents[4]
_CODE: Final = (
    f"import sys; sys.path.append({str(_ROOT)!r}); from server.inference.providers.llama_cpp.child import main; main()"
)
_COMMAND: Final = (sys.executable, "-I", "-B", "-c", _CODE)

_log: Final = logging.getLogger("ostiary.llama_cpp")


class ChildFailed(Exception):
    """The child ended, or never got ready; the message goes on after the provider. `lasting` if it would again."""

    def __init__(self, sentence: str, *, lasting: bool = False) -> None:
        super().__init__(sentence)
        self.lasting = lasting


class Child:
    """A process that loads a model and then serves it, and ends when this object is dropped or ended.

    What it prints is kept until the model is loaded, for the log of a failure; later lines may quote prompts and are
    dropped.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self._loads = True
        self._words: deque[str] = deque(maxlen=_LAST_WORDS)
        self._hearing = asyncio.create_task(self._hear())

    @classmethod
    async def start(cls, order: Order, home: Path) -> Child:
        """Start a process, which sees nothing of the server's environment; raises ChildFailed."""
        try:
            process = await asyncio.create_subprocess_exec(
                *_COMMAND,
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                cwd=home,
                env={"HOME": str(home)},
                limit=_LONGEST_LINE,
                preexec_fn=prepare_child(),
            )
        except OSError as fault:
            raise ChildFailed(f"can't start the process of its model ({fault.strerror})") from None
        except SubprocessError:
            raise ChildFailed("can't start the process of its model") from None
        child = cls(process)
        assert process.stdin is not None  # noqa: S101 - asked for above
        process.stdin.write(json.dumps(asdict(order)).encode() + b"\n")
        return child

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    async def loaded(self) -> None:
        """Return when it serves; raises ChildFailed."""
        assert self._process.stdout is not None  # noqa: S101 - asked for in `start`
        try:
            async with asyncio.timeout(LOAD_SECONDS):
                said = _said(await self._process.stdout.readline())
        except TimeoutError:
            raise ChildFailed(f"has not loaded its model within {LOAD_SECONDS:.0f} s", lasting=True) from None
        if READY in said:
            self._loads = False
            self._words.clear()
            return
        status = await self._process.wait()
        await asyncio.wait({self._hearing}, timeout=1)
        for line in self._words:
            _log.warning("llama.cpp: %s", line)
        if FAULT in said:
            raise ChildFailed(f"can't load its model: {said[FAULT]}", lasting=bool(said.get(LASTING)))
        killed = "; memory may have run out" if status == -signal.SIGKILL else ""
        raise ChildFailed(f"lost the process that loads its model ({_told(status)}){killed}")

    async def ended(self) -> ChildFailed:
        """Return when it has ended, with the failure that this is."""
        return ChildFailed(f"lost the process of its model ({_told(await self._process.wait())})")

    async def end(self) -> None:
        """Kill the process, which loses nothing, and return when it is gone."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        self._hearing.cancel()
        await asyncio.wait({self._hearing})

    async def _hear(self) -> None:
        """Read without end, so that the child never waits for a full pipe."""
        assert self._process.stderr is not None  # noqa: S101 - asked for in `start`
        line = b""
        while chunk := await self._process.stderr.read(_LONGEST_LINE):
            *lines, line = (line + chunk).split(b"\n")
            line = line[:_LONGEST_WORDS]
            if self._loads:
                self._words += [_printable(each) for each in lines if each.strip()]


def _printable(line: bytes) -> str:
    text = line[:_LONGEST_WORDS].decode(errors="replace").strip()
    return "".join([character if character.isprintable() else " " for character in text])


def _said(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if type(found) is dict else {}


def _told(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"status {status}"
