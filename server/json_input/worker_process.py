"""The server's end of one worker process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
from json import loads
from pathlib import Path
from typing import Final

from server.json_input.strict import InvalidJson, Json, Why
from server.json_input.worker import ANSWERED, ASKED, BYTES

MAX_TOLD: Final = 1280 * 1024
"""Bytes of the members that a check may return, as JSON."""

MAX_BYTES: Final = 64 * 1024 * 1024
"""Bytes of the member that is no JSON: some checks return a whole body in another form."""

_ROOT: Final = Path(__file__).resolve().parents[2]
_CODE: Final = f"import sys; sys.path.append({str(_ROOT)!r}); from server.json_input.worker import main; main()"
_COMMAND: Final = (sys.executable, "-I", "-S", "-B", "-c", _CODE)
_ENVIRONMENT: Final[dict[str, str]] = {}
_PIECE: Final = 256 * 1024


class WorkerGone(Exception):
    """The process has ended, or breaks the protocol."""


class WorkerProcess:
    """An interpreter that reads bodies, one at a time, and ends when the server's end of its socket is closed.

    Once it is `spent`, it must not be asked again.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], answers: asyncio.StreamReader, questions: asyncio.StreamWriter
    ) -> None:
        self._process = process
        self._answers = answers
        self._questions = questions
        self._asked_last = False

    @classmethod
    async def start(cls) -> WorkerProcess:
        """Start a process, which sees nothing of the server's environment; raises WorkerGone."""
        ours, theirs = socket.socketpair()
        with theirs:
            answers, questions = await asyncio.open_unix_connection(sock=ours)
            try:
                # Nothing is awaited from here on, so a cancelled caller leaves no process behind.
                return cls(_spawn(theirs), answers, questions)
            except OSError as fault:
                questions.close()
                raise WorkerGone(f"it can't be started: {fault.strerror}") from None

    @property
    def spent(self) -> bool:
        """True if it has ended, or is about to."""
        return self._asked_last or self._answers.at_eof()

    async def ask(self, name: str, raw: bytes, *, as_it_is: bool = False) -> Json:
        """Return what the function `module:name` returns of the body; raises InvalidJson or WorkerGone.

        The function gets the document, or `raw` itself with `as_it_is`.
        Anything but an answer ends the process, and so does a cancellation.
        """
        try:
            refused, last, told = await self._exchange(name, raw, as_it_is)
        except BaseException as fault:
            self._asked_last = True
            self._process.kill()
            if isinstance(fault, OSError | asyncio.IncompleteReadError):
                raise WorkerGone("it ended in the middle of a body") from None
            raise
        self._asked_last = last
        if refused:
            raise InvalidJson(told["message"], told["param"], told["code"], Why(told["why"]))
        return told

    async def ended(self) -> None:
        """End the process, and return when it is gone."""
        self._questions.close()
        with contextlib.suppress(OSError):
            await self._questions.wait_closed()
        await asyncio.to_thread(self._process.wait)

    async def _exchange(self, name: str, raw: bytes, as_it_is: bool) -> tuple[bool, bool, Json]:
        await self._send(ASKED.pack(as_it_is, len(name), len(raw)) + name.encode(), raw)
        refused, last, size, more = ANSWERED.unpack(await self._answers.readexactly(ANSWERED.size))
        if size > MAX_TOLD or more > MAX_BYTES:
            raise WorkerGone("it tells too much")
        told = loads(await self._answers.readexactly(size))
        member = told.pop(BYTES, None)
        return refused, last, told if member is None else {**told, member: await self._answers.readexactly(more)}

    async def _send(self, head: bytes, raw: bytes) -> None:
        self._questions.write(head)
        view = memoryview(raw)
        for start in range(0, len(raw), _PIECE):
            self._questions.write(view[start : start + _PIECE])
            await self._questions.drain()


def _spawn(end: socket.socket) -> subprocess.Popen[bytes]:
    """Start the process without the event loop, whose way to do so copies the server's page tables first."""
    return subprocess.Popen(  # noqa: S603 - nothing in it is of a request
        _COMMAND,
        stdin=end.fileno(),
        stdout=end.fileno(),
        stderr=subprocess.DEVNULL,  # a traceback might quote what was read
        cwd="/",
        env=_ENVIRONMENT,
        process_group=0,  # Ctrl-C is for the server
    )
