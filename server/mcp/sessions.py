"""The open sessions with servers of tools: each belongs to one principal, one server and one set of credentials."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from json import dumps
from typing import Final

from server.fairness.caller import CURRENT, Caller
from server.fairness.shares import FairShares, Share, Turn
from server.mcp.session import Session, opened
from server.mcp.wire import Server, Wire

SESSIONS: Final = Share("sessions with servers of tools", 1024, 32, waiting=0, waiting_each=0, seconds=1.0)
"""Sessions with servers of tools, those included that are kept for the next request."""

KEPT_SECONDS: Final = 300.0
"""Seconds for which a session is kept that nothing uses."""

ASKED_SECONDS: Final = 10.0
"""Seconds after which the server of a kept session is asked whether it still knows it, so that no call is lost."""

_END: Final = "end of a session of tools"


@dataclass(frozen=True, slots=True)
class _Key:
    owner: Caller
    url: str
    proof: bytes


@dataclass(slots=True, eq=False)
class _Kept:
    """A session, the caller whose share it takes, the number of those that use it, and when the last one left."""

    key: _Key
    caller: Caller
    turn: Turn
    session: asyncio.Future[Session]
    users: int = 0
    left_at: float = 0.0
    expiry: asyncio.TimerHandle | None = None

    @property
    def is_over(self) -> bool:
        """True if the session could not be opened, or has ended."""
        done = self.session
        return done.done() and (done.cancelled() or done.exception() is not None or done.result().is_over)


class Sessions:
    """Opens sessions, and keeps them for a while for the same owner; belongs to one event loop."""

    def __init__(self, wire: Wire, kept_seconds: float = KEPT_SECONDS) -> None:
        self.wire = wire
        self._kept_seconds = kept_seconds
        self._shares = FairShares(SESSIONS)
        self._kept: dict[_Key, _Kept] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Close the sessions when the context ends."""
        async with self.wire.running():
            try:
                yield
            finally:
                for kept in [*self._kept.values()]:
                    self._drop(kept)
                await self.wire.background.finish()

    @asynccontextmanager
    async def using(self, owner: Caller | None, server: Server) -> AsyncIterator[Session]:
        """Give a session with the server that belongs to that owner; None has one of its own, which ends with its use.

        Raises McpFailed, and NoRoom where the caller has as many as may be, all of them in use.
        """
        if owner is None:
            turn = self._turn()
            try:
                session = await opened(self.wire, server)
                try:
                    yield session
                finally:
                    self.wire.background.start(_END, session.close())
            finally:
                turn.end()
            return
        key = _Key(owner, server.url, _proof(server))
        await self._forget_if_lost(key)
        kept = self._taken(key, server)
        try:
            yield await asyncio.shield(kept.session)
        finally:
            self._leave(kept)

    async def _forget_if_lost(self, key: _Key) -> None:
        kept = self._kept.get(key)
        if kept is None or kept.users or not kept.session.done():
            return
        idle = asyncio.get_running_loop().time() - kept.left_at
        if idle >= ASKED_SECONDS and not await kept.session.result().is_alive():
            self._drop(kept)

    def _taken(self, key: _Key, server: Server) -> _Kept:
        kept = self._kept.get(key)
        if kept is None:
            turn = self._turn()
            session = asyncio.ensure_future(opened(self.wire, server))
            kept = self._kept[key] = _Kept(key, CURRENT.get(), turn, session)
            session.add_done_callback(partial(self._drop_if_over, kept))
        if kept.expiry is not None:
            kept.expiry.cancel()
            kept.expiry = None
        kept.users += 1
        return kept

    def _turn(self) -> Turn:
        """Return a turn; a caller without room gives up that of its sessions which is unused for the longest time."""
        caller = CURRENT.get()
        turn = self._shares.take_now()
        while turn is None:
            idle = [kept for kept in self._kept.values() if not kept.users and kept.caller == caller]
            if not idle:
                raise self._shares.refusal()
            self._drop(min(idle, key=lambda kept: kept.left_at))
            turn = self._shares.take_now()
        return turn

    def _leave(self, kept: _Kept) -> None:
        loop = asyncio.get_running_loop()
        kept.users -= 1
        kept.left_at = loop.time()
        self._drop_if_over(kept)
        if not kept.users and self._kept.get(kept.key) is kept:
            kept.expiry = loop.call_later(self._kept_seconds, self._drop, kept)

    def _drop_if_over(self, kept: _Kept, _done: object = None) -> None:
        if kept.is_over:
            self._drop(kept)

    def _drop(self, kept: _Kept) -> None:
        """Forget a session, and end it at the server."""
        if self._kept.get(kept.key) is kept:
            del self._kept[kept.key]
        if kept.expiry is not None:
            kept.expiry.cancel()
        if not kept.turn.ended:
            kept.turn.end()
            self.wire.background.start(_END, _ended(kept))


async def _ended(kept: _Kept) -> None:
    await asyncio.wait([kept.session])
    if not kept.session.cancelled() and kept.session.exception() is None:
        await kept.session.result().close()


def _proof(server: Server) -> bytes:
    """Return a digest of the credentials, so that no key holds them."""
    return sha256(dumps(sorted(server.headers.items())).encode()).digest()
