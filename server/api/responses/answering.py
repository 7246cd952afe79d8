"""Chat models whose answers are responses: whole ones, and streams of events with one end."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Final, TypeAlias

from server.api.responses.chunks import read_beside, read_events, read_whole
from server.api.responses.happenings import Ended, Happening, ToolBegun
from server.api.responses.loop import Step, step
from server.api.responses.response_stream import END, Keep, Read, ResponseStream, passed
from server.api.responses.server_tools.rounds import CallTurns, Counted, Rounds, uncounted
from server.api.responses.state import State
from server.background.lasting import LastingWork
from server.fairness.shares import FairShares, Share
from server.fairness.threads import in_thread
from server.http.errors import ApiError
from server.inference.answers.model_name import QUICK
from server.inference.answers.plain import encoded
from server.inference.provider import (
    ChatModel,
    ChatRequest,
    ChatStream,
    Pieces,
)

UNDER_WAY: Final = Share(
    "bytes of responses under way", 1024 * 1024 * 1024, 64 * 1024 * 1024, waiting=1024, waiting_each=128, seconds=5.0
)
"""Bytes that are held for responses until they are over: the items that are stored with them, and their output."""

LEAST_HELD: Final = 128 * 1024
"""Bytes that each response counts for at least, so that one caller has at most 512 under way."""

Passing: TypeAlias = Callable[[State], Awaitable[None]]
"""Takes note of a response whose tools are called, when they begin and when they have ended."""


class Endings(LastingWork):
    """The ends of responses, which are reached also when their callers have left, and the room until then.

    `calls` has the turns of calls of tools.
    """

    def __init__(self, counted: Counted = uncounted) -> None:
        """`counted` is told of each call of a tool."""
        super().__init__()
        self.room = FairShares(UNDER_WAY)
        self.calls = CallTurns(counted)


class RespondingChat:
    """Answers one request by `model` as a response that begins with `state`.

    `keep` is given the response when it is over, before its end is told. `named` returns the canonical name of the
    model that answers, and `size` the bytes that are held for the response until it is over. A response that fails in
    its middle is kept, too; a stream whose caller leaves is where it `keeps_left`. `passing` is told the state of
    one that is no stream when its tools are called. `rounds` makes the calls of this server's tools; it is
    closed with the response. `read` reads the pieces of the model's stream, and `step` makes each step of the response.
    """

    def __init__(
        self,
        model: ChatModel,
        state: State,
        keep: Keep,
        size: int,
        named: Callable[[], str],
        endings: Endings,
        request_id: str,
        rounds: Rounds,
        read: Read = read_events,
        step: Step = step,
        *,
        keeps_left: bool = False,
        passing: Passing | None = None,
    ) -> None:
        self._step = step
        self._keeps_left = keeps_left
        self._passing = passing
        self._model = model
        self._rounds = rounds
        self._state = state._replace(served=rounds.served)
        self._keep = keep
        self._size = LEAST_HELD + size
        self._named = named
        self._endings = endings
        self._request_id = request_id
        self._read = read
        self._events: ResponseStream | None = None

    @property
    def calls_first(self) -> bool:
        """True if tools are called before the model is asked."""
        return self._rounds.has_first_calls

    async def aclose(self) -> None:
        """Close the tools of a response that is not answered."""
        await self._rounds.aclose()

    async def complete(self, request: ChatRequest) -> Pieces:
        """Return the whole response; raises ProviderFailed, NoRoom, what `keep` raises, and what another round does."""
        try:
            async with self._endings.room.turn(self._size):
                return await self._completed(request)
        finally:
            await self._rounds.aclose()

    async def _completed(self, request: ChatRequest) -> Pieces:
        rounds, size = self._rounds, 0
        state, model = self._passed(self._state, await rounds.listed()), self._model
        if rounds.has_first_calls and not rounds.is_over:
            state = await self._called(state, rounds.first())
            if not rounds.is_over:
                model, request = await rounds.next(state)
        while not rounds.is_over:
            pieces = await model.complete(request)
            size += sum(map(len, pieces))
            state = self._passed(state, await read_beside(read_whole, b"".join(pieces)))
            if not rounds.go_on(state):
                break
            state = await self._called(state, rounds.calls(state))
            if rounds.is_over or state.is_full:
                break
            model, request = await rounds.next(state)
        state, events = self._step(self._named_in(state), Ended(int(time.time())))

        async def kept() -> bytes:
            await self._keep(state, events)
            return b""

        await self._endings.reach(END, kept())
        shown = state.response()
        return [await in_thread(encoded, shown) if size > QUICK else encoded(shown)]

    async def _called(self, state: State, calls: AsyncIterator[Sequence[Happening]]) -> State:
        """Return the state after calls of tools."""
        async for happenings in calls:
            state = self._passed(state, happenings)
            if self._passing is not None and any(isinstance(each, ToolBegun) for each in happenings):
                await self._passing(state)
        if self._passing is not None:
            await self._passing(state)
        return state

    async def stream(self, request: ChatRequest) -> ChatStream:
        """Return the events of the response; raises ProviderFailed if the model does not accept the request, and
        NoRoom.
        """
        try:
            turn = await self._endings.room.take(self._size)
            try:
                # Calls that come before the model is asked may take long, so they are told of as they are made.
                chunks = None if self._rounds.has_first_calls else await self._model.stream(request)
            except BaseException:
                turn.end()
                raise
        except BaseException:
            await self._rounds.aclose()
            raise
        self._events = ResponseStream(
            chunks,
            self._named_in(self._state),
            self._keep,
            turn,
            self._endings,
            self._request_id,
            self._rounds,
            self._read,
            self._step,
            keeps_left=self._keeps_left,
        )
        return self._events

    async def told(self, error: ApiError) -> bytes:
        """Return the last events of a stream that something else than its provider has ended."""
        if self._events is None:
            raise RuntimeError("the stream has not begun")
        return await self._events.told(error)

    def _passed(self, state: State, happenings: Iterable[Happening]) -> State:
        return passed(state, happenings, self._step)[0]

    def _named_in(self, state: State) -> State:
        """Return the state with the name of the model that answers."""
        return state._replace(head={**state.head, "model": self._named()})
