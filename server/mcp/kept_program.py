"""A program of tools for one session: it is started for the first call, and anew once its process has ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from server.fairness.shares import Turn
from server.json_input.body_parser import BodyCheck
from server.json_input.strict import Json
from server.mcp.faults import McpFailed
from server.mcp.programs import Program
from server.mcp.stdio import ENDED, Stdio
from server.mcp.wire import Wire


class KeptProgram:
    """The way of messages to a program, whose process makes way for others while no call is under way.

    `greet` begins a session with a new process, and `changed` is called where the tools may be others.
    """

    def __init__(
        self, wire: Wire, program: Program, changed: Callable[[], None], greet: Callable[[Stdio], Awaitable[None]]
    ) -> None:
        self._wire = wire
        self._program = program
        self._changed = changed
        self._greet = greet
        self._stdio: Stdio | None = None
        self._opening = asyncio.Lock()
        self._calls = 0
        self._leave: Turn | None = None
        self._is_over = False

    @property
    def is_over(self) -> bool:
        """True once it is closed."""
        return self._is_over

    async def request(self, method: str, params: Json, look: BodyCheck, seconds: float) -> Json:
        """Return what `look` has read of the result; raises McpFailed, and NoRoom where no place becomes free."""
        if method == "ping" and (self._stdio is None or self._stdio.is_over):
            # None is started to be asked whether it runs.
            return {}
        # To ask whether it runs, nothing else has to make room.
        async with self._used(is_call=method != "ping") as stdio:
            return await stdio.request(method, params, look, seconds)

    async def notify(self, method: str, params: Json | None = None) -> None:
        """Send a message that has no answer."""
        async with self._used(is_call=True) as stdio:
            await stdio.notify(method, params)

    async def close(self) -> None:
        """End the process."""
        self._is_over = True
        if self._stdio is not None:
            await self._stdio.close()

    @asynccontextmanager
    async def _used(self, *, is_call: bool) -> AsyncIterator[Stdio]:
        """Give the process, which makes no way in the meantime."""
        self._calls += 1
        try:
            yield await self._running(is_call=is_call)
        finally:
            self._calls -= 1
            if not self._calls:
                if self._leave is not None:
                    self._leave.end()
                    self._leave = None
                if self._stdio is not None and not self._stdio.is_over:
                    self._wire.processes.idle(self._stdio)

    async def _running(self, *, is_call: bool) -> Stdio:
        """Return the process, which does not make way until it is idle again."""
        async with self._opening:
            if self._is_over:
                raise McpFailed(ENDED)
            if is_call and self._leave is None:
                self._leave = await self._wire.processes.call()
            if self._stdio is not None and not self._stdio.is_over:
                self._wire.processes.busy(self._stdio)
                return self._stdio
            stdio = Stdio(self._wire, self._program, self._changed)
            await stdio.open()
            try:
                await self._greet(stdio)
            except BaseException:
                await stdio.close()
                raise
            if self._is_over:
                await stdio.close()
                raise McpFailed(ENDED)
            if self._stdio is not None:
                self._changed()
            self._stdio = stdio
            return stdio
