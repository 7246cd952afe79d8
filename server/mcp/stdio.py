"""Messages to a program that is a server of tools: lines of its standard input, and back on its standard output."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from json import dumps
from typing import Final

from server.fairness.caller import CURRENT
from server.fairness.shares import NoRoom, Turn
from server.json_input.strict import Json
from server.mcp.faults import McpFailed
from server.mcp.one_stream import OneStream
from server.mcp.programs import GRACE_SECONDS, Program, ProgramProcess
from server.mcp.wire import Wire

_AT_ONCE: Final = 16 * 1024
"""Bytes that are looked at in one turn of the event loop."""

ENDED: Final = "the program of the tools has ended"
"""What is told of a call whose process has ended, or has failed before."""

_TOO_MUCH: Final = "the program of the tools has ended: all of them had more memory than they may have together"
_CLOSING: Final = "end of a program of tools"


class Stdio(OneStream):
    """A process of one program, for one session."""

    def __init__(self, wire: Wire, program: Program, changed: Callable[[], None]) -> None:
        super().__init__(wire, changed)
        self.caller = CURRENT.get()
        self._program = program
        self._process: ProgramProcess | None = None
        self._turn: Turn | None = None
        self._reading: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()
        self._is_given_up = False

    @property
    def launcher(self) -> int:
        """The parent of all processes of the program; 0 where it does not run."""
        return 0 if self._process is None else self._process.launcher

    @property
    def is_called(self) -> bool:
        """True if a call is under way."""
        return bool(self._pending)

    async def open(self) -> None:
        """Start the program; raises McpFailed, and NoRoom where too many run."""
        self._turn = await self._wire.processes.take()
        try:
            self._process = await ProgramProcess.start(self._program)
        except BaseException:
            self._turn.end()
            raise
        self._wire.memory.started(self)
        reading = self._read(self._process.answers)
        self._reading = asyncio.get_running_loop().create_task(reading, name="answers of a program of tools")

    def make_way(self) -> None:
        """End the program soon; nothing is asked of it any more."""
        self._end(McpFailed(ENDED))
        self._wire.background.start(_CLOSING, self.close())

    def give_up(self) -> None:
        """End the program at once, since programs have too much memory; calls that are under way fail."""
        self._is_given_up = True
        self._end(McpFailed(_TOO_MUCH))
        self._wire.background.start(_CLOSING, self.close())

    async def close(self) -> None:
        """End the program; its place is free once it is gone."""
        process, self._process = self._process, None
        if process is None:
            return
        self._wire.memory.ended(self)
        self._end(McpFailed(ENDED))
        try:
            if self._reading is not None:
                self._reading.cancel()
                await asyncio.wait([self._reading])
        finally:
            # A second cancellation leaves no program behind.
            try:
                await process.end(0 if self._is_given_up else GRACE_SECONDS)
            finally:
                self._wire.processes.left(self)
                if self._turn is not None:
                    self._turn.end()

    async def _send(self, message: Json) -> None:
        line = dumps(message, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        async with self._writing:
            if self._process is None:
                raise McpFailed(ENDED)
            self._process.questions.write(line)
            try:
                await self._process.questions.drain()
            except ConnectionError:
                raise McpFailed(ENDED) from None

    async def _read(self, answers: asyncio.StreamReader) -> None:
        fault: McpFailed | NoRoom = McpFailed(ENDED)
        try:
            with contextlib.suppress(ConnectionError):
                await self._heard_all(answers)
        except (McpFailed, NoRoom) as failed:
            fault = failed
        self._end(fault)
        self._wire.background.start(_CLOSING, self.close())

    async def _heard_all(self, answers: asyncio.StreamReader) -> None:
        rest, size = list[bytes](), 0
        with self._wire.incoming() as room:
            while piece := await answers.read(_AT_ONCE):
                self._flow.add(len(piece))
                *lines, last = piece.split(b"\n")
                if lines:
                    lines[0] = b"".join((*rest, lines[0]))
                    rest, size = [], 0
                # Some programs write words beside their messages, and there may be thousands of lines.
                for line in [line for line in lines if line.lstrip().startswith(b"{")]:
                    await self._heard(line)
                rest.append(last)
                size += len(last)
                room.hold(size)
                # What has come already is handed out without a pause, and others have turns too.
                await asyncio.sleep(0)
