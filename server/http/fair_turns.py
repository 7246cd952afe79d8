"""The guard that works on few requests of each caller at a time, in fair turns."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from policy.vocabulary import Anonymous
from server.fairness.caller import CURRENT, Caller
from server.fairness.places import HELD, PASSING, Place, Places
from server.fairness.shares import NoRoom, Share
from server.http.acting import acting_of
from server.http.credentials import digest_of
from server.http.disconnects import WhileConnected
from server.http.error_shapes import error_response
from server.http.error_table import error_of
from server.http.errors import ClientGone
from server.http.interruptible import Interruptible
from server.http.leaving import LEAVING, Leaving
from server.http.request_state import state_of
from server.json_input.memory_limit import MemoryLimit
from server.quota.admission import FREE, Admission, at_path

ARRIVED: Final = "ostiary.arrived"
"""The key, in the scope, of a function that says whether `receive` would return at once."""

WAITING_BODIES: Final = Share(
    "bytes of bodies whose requests wait", 256 * 1024 * 1024, 48 * 1024 * 1024, 0, 0, seconds=1.0
)
"""Bytes that connections may have taken of bodies while their requests wait for a place. Such a connection is read no
further, so that its client may have left long ago: nothing else would bound how many there are."""

MOST_READ: Final = 320 * 1024
"""Bytes of one body that its connection takes at most while nothing reads them: 64 kB, and what one read brings."""

UNCOUNTED: Final = 4 * 1024
"""Bytes of a body that count for nothing, since a request takes more anyway."""

_ANONYMOUS: Final = Anonymous()


class FairTurns:
    """Holds a place for each request, that of its caller or, while that isn't known, of its address.

    A request that finds no place waits before anything is done for it, and is dropped if its client leaves.
    """

    def __init__(self, app: ASGIApp, admission: Admission) -> None:
        self.app = app
        self._admission = admission
        self._places = Places()
        self._bodies = MemoryLimit(WAITING_BODIES)
        admission.waiting = lambda: self._places.work.shares.waiting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on in its turn."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        call, places, path = state_of(scope), self._places, scope["path"]
        acting = acting_of(scope)
        if acting is not None:
            caller, room = self._admission.caller(acting.principal, acting.address), places.later
        else:
            digest = call.token_digest = digest_of(scope)
            known = None if digest is None else self._admission.known.caller(digest)
            if known is None:
                known = self._admission.caller(_ANONYMOUS, self._admission.addresses.of(scope))
            caller, room = at_path(path, known), places.probes if path in FREE else places.work
        CURRENT.set(caller)
        place = Place(room, caller)
        HELD.set(place)
        PASSING.set(places.pieces)
        turn = call.turn = RequestTurn(
            receive, place, scope.get(ARRIVED), scope.get(LEAVING), self._bodies, partial(_size_of_body, scope)
        )

        async def send_piece(message: Message) -> None:
            await places.pieces.pass_on()
            await send(message)

        async def send_fairly(message: Message) -> None:
            if message.get("more_body"):
                place.leave()
                await places.pieces.pass_on()
            await send(message)

        call.send_piece = send_piece
        try:
            await turn.begin()
            await self.app(scope, turn, send_fairly)
        except ClientGone:
            return
        except NoRoom as fault:
            if call.status:
                raise
            await error_response(error_of(fault, call.request_id), scope)(scope, receive, send)
        finally:
            place.leave()


class RequestTurn:
    """Receives a request that may have to wait for its place, and gives the place up while its client sends.

    Only the task that reads the request gives it up: a listener for a client that leaves waits while the work goes on.
    A request that waits reads no further where its connection tells that the client leaves. `bodies` bounds what such
    requests hold of their bodies; `size` returns the bytes of this one's, and is called if it waits.
    """

    __slots__ = ("_ahead", "_arrived", "_bodies", "_place", "_reader", "_receive", "_size", "_whole", "leaving")

    def __init__(
        self,
        receive: Receive,
        place: Place,
        arrived: Callable[[], bool] | None,
        leaving: Leaving | None = None,
        bodies: MemoryLimit | None = None,
        size: Callable[[], int] = int,
    ) -> None:
        self.leaving = leaving
        self._receive = receive
        self._place = place
        self._arrived = arrived
        self._bodies = bodies
        self._size = size
        self._reader = asyncio.current_task()
        self._whole = False
        self._ahead: deque[Message] = deque()

    @property
    def has_next(self) -> bool:
        """True if the next part of the request is there."""
        return bool(self._ahead) or (self._arrived is not None and self._arrived())

    async def __call__(self) -> Message:
        """Return the next part of the request; raises NoRoom."""
        if self._ahead:
            return self._ahead.popleft()
        is_there = self._whole or self._arrived is None or self._arrived()
        if is_there or not self._place.is_held or asyncio.current_task() is not self._reader:
            return self._noted(await self._receive())
        self._place.leave()
        message = self._noted(await self._receive())
        # A client that has left is no reason to wait.
        if message["type"] != "http.disconnect" and not self._place.take_now():
            with self._waiting(len(message.get("body", b""))):
                await self._place.take()
        return message

    async def begin(self) -> None:
        """Return with a place; raises NoRoom, and ClientGone if the client leaves before."""
        if not self._place.take_now():
            await self._wait()

    async def pass_to(self, caller: Caller) -> None:
        """Return with a place of that caller in place of the one that it has; raises what `begin` raises."""
        if not self._place.pass_to(caller):
            await self._wait()

    async def _wait(self) -> None:
        with self._waiting(self._size()):
            if self.leaving is None:
                async with WhileConnected(self._listen):
                    await self._place.take()
                return
            if self.leaving.is_gone:
                raise ClientGone
            block = Interruptible(ClientGone)
            self.leaving.watch(block.interrupt)
            try:
                with block:
                    await self._place.take()
            finally:
                self.leaving.unwatch(block.interrupt)

    @contextmanager
    def _waiting(self, size: int) -> Iterator[None]:
        """Count bytes of the body for as long as the context lasts; raises NoRoom."""
        if self._bodies is None or size <= UNCOUNTED:
            yield
            return
        with self._bodies.share(self._place.caller) as hold:
            hold(min(size, MOST_READ))
            yield

    async def _listen(self) -> Message:
        """Receive ahead of the reader, but no more than one part of a body that is still coming."""
        if self._ahead and not self._whole:
            await asyncio.get_running_loop().create_future()
        message = self._noted(await self._receive())
        self._ahead.append(message)
        return message

    def _noted(self, message: Message) -> Message:
        self._whole = not message.get("more_body", False)
        return message


def _size_of_body(scope: Scope) -> int:
    """Return the bytes that the request's body may have, as its head tells."""
    headers = scope["headers"]
    length = next((value for name, value in headers if name == b"content-length"), None)
    if length is not None:
        return int(length)
    return MOST_READ if any(name == b"transfer-encoding" for name, _ in headers) else 0
