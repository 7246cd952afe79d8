"""Messages to a program that is a server of tools: lines of its standard input, and back on its standard output."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from json import dumps
from typing import Final

from server.fairness.shares import NoRoom, Turn
from server.json_input.strict import Json
from server.mcp.faults import McpFailed
from server.mcp.one_stream import OneStream
from server.mcp.programs import Program, ProgramProcess
from server.mcp.wire import Wire

_AT_ONCE: Final = 16 * 1024
"""Bytes that are looked at in one turn of the event loop."""

_ENDED: Final = "the program of the tools has ended"


class Stdio(OneStream):
    """A process of one program, for one session."""

    def __init__(self, wire: Wire, program: Program, changed: Callable[[], None]) -> None:
        super().__init__(wire, changed)
        self._program = program
        self._process: ProgramProcess | None = None
        self._turn: Turn | None = None
        self._reading: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()

    async def open(self) -> None:
        """Start the program; raises McpFailed, and NoRoom where too many run."""
        self._turn = await self._wire.processes.take()
        try:
            self._process = await ProgramProcess.start(self._program)
        except BaseException:
            self._turn.end()
            raise
        reading = self._read(self._process.answers)
        self._reading = asyncio.get_running_loop().create_task(reading, name="answers of a program of tools")

    async def close(self) -> None:
        """End the program; its place is free once it is gone."""
        process, self._process = self._process, None
        if process is None:
            return
        self._end(McpFailed(_ENDED))
        try:
            if self._reading is not None:
                self._reading.cancel()
                await asyncio.wait([self._reading])
        finally:
            # A second cancellation leaves no program behind.
            try:
                await process.end()
            finally:
                if self._turn is not None:
                    self._turn.end()

    async def _send(self, message: Json) -> None:
        line = dumps(message, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        async with self._writing:
            if self._process is None:
                raise McpFailed(_ENDED)
            self._process.questions.write(line)
            try:
                await self._process.questions.drain()
            except ConnectionError:
                raise McpFailed(_ENDED) from None

    async def _read(self, answers: asyncio.StreamReader) -> None:
        fault: McpFailed | NoRoom = McpFailed(_ENDED)
        try:
            with contextlib.suppress(ConnectionError):
                await self._heard_all(answers)
        except (McpFailed, NoRoom) as failed:
            fault = failed
        self._end(fault)
        self._wire.background.start("end of a program of tools", self.close())

    async def _heard_all(self, answers: asyncio.StreamReader) -> None:
        rest, size = list[bytes](), 0
        with self._wire.incoming() as room:
            while piece := await answers.read(_AT_ONCE):
                self._flow.add(len(piece))
                *lines, last = piece.split(b"\n")
                for line in lines:
                    rest.append(line)
                    await self._heard_line(b"".join(rest))
                    rest, size = [], 0
                rest.append(last)
                size += len(last)
                room.hold(size)
                # What has come already is handed out without a pause, and others have turns too.
                await asyncio.sleep(0)

    async def _heard_line(self, line: bytes) -> None:
        # Some programs write words beside their messages.
        if line.lstrip().startswith(b"{"):
            await self._heard(line)
