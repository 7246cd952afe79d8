"""Chat models whose answers are responses: whole ones, and streams of events with one end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Final, TypeAlias

from server.api.responses.chunks import read_beside, read_events, read_whole
from server.api.responses.happenings import Begun, Ended, Failed, Happening, Left, ToolBegun
from server.api.responses.loop import Step, step
from server.api.responses.server_tools.keep_alive import KEEP_ALIVE, with_keep_alives
from server.api.responses.server_tools.rounds import CallTurns, Counted, Rounds, uncounted
from server.api.responses.state import MOST_OUTPUT, State
from server.background.lasting import LastingWork
from server.fairness.shares import FairShares, NoRoom, Share, Turn
from server.fairness.threads import in_thread
from server.http.error_table import error_of
from server.http.errors import ApiError, provider_error
from server.inference.answers.model_name import QUICK
from server.inference.answers.plain import encoded
from server.inference.provider import (
    DONE,
    ChatModel,
    ChatRequest,
    ChatStream,
    Pieces,
    ProviderFailed,
)
from server.json_input.strict import Json

UNDER_WAY: Final = Share(
    "bytes of responses under way", 1024 * 1024 * 1024, 64 * 1024 * 1024, waiting=1024, waiting_each=128, seconds=5.0
)
"""Bytes that are held for responses until they are over: the items that are stored with them, and their output."""

LEAST_HELD: Final = 128 * 1024
"""Bytes that each response counts for at least, so that one caller has at most 512 under way."""

_END: Final = "end of a response"
_CODES: Final = {400: "invalid_prompt", 413: "invalid_prompt", 429: "rate_limit_exceeded"}

Keep: TypeAlias = Callable[[State, Sequence[Json]], Awaitable[None]]
"""Stores a response that is over, and what goes with it; it is given the events of the end, too, which are not told
yet. Raises the exception for the caller if it can't.
"""

Passing: TypeAlias = Callable[[State], Awaitable[None]]
"""Takes note of a response whose tools are called, when they begin and when they have ended."""

Read: TypeAlias = Callable[[bytes], list[Happening]]
"""Returns what happens in a piece of a chat's stream; raises NotAnAnswer."""


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
        self._events: _ResponseStream | None = None

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
        if rounds.has_first_calls:
            state = await self._called(state, rounds.first())
            model, request = await rounds.next(state)
        while True:
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

        await self._endings.reach(_END, kept())
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
        self._events = _ResponseStream(
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
        return _passed(state, happenings, self._step)[0]

    def _named_in(self, state: State) -> State:
        """Return the state with the name of the model that answers."""
        return state._replace(head={**state.head, "model": self._named()})


class _ResponseStream:
    """The events of one response, which come with the chunks of a chat; the last piece ends with `DONE`."""

    def __init__(
        self,
        chunks: ChatStream | None,
        state: State,
        keep: Keep,
        turn: Turn,
        endings: Endings,
        request_id: str,
        rounds: Rounds,
        read: Read,
        step: Step,
        *,
        keeps_left: bool,
    ) -> None:
        self._one_step = step
        self._keeps_left = keeps_left
        self._chunks = chunks
        self._read = read
        self._state = state
        self._keep = keep
        self._endings = endings
        self._request_id = request_id
        self._turn = turn
        self._rounds = rounds
        self._ending: asyncio.Future[bytes] | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._step([Begun(), *await self._rounds.listed()])
        end: Happening | None = None
        try:
            async for told in self._told():
                if told:
                    yield told
        except ProviderFailed as failure:
            end = failed(provider_error(failure))
        except Exception as fault:  # noqa: BLE001 - a status is too late, so any fault is told in the stream
            end = failed(fault if isinstance(fault, ApiError) else error_of(fault, self._request_id))
        yield await self._end(Ended(int(time.time())) if end is None else end)

    async def _told(self) -> AsyncIterator[bytes]:
        """Yield the events of every round; raises ProviderFailed, NoRoom, and what another round raises."""
        rounds = self._rounds
        if self._chunks is None:
            async for happenings in with_keep_alives(rounds.first()):
                yield KEEP_ALIVE if happenings is None else self._step(happenings)
            self._chunks = await self._next()
        while True:
            async for piece in self._chunks:
                if piece.startswith(b":"):
                    # Events may follow in the same piece.
                    yield piece[: piece.index(b"\n\n") + 2]
                yield self._step(await read_beside(self._read, piece))
                if self._state.is_full:
                    break
            if not rounds.go_on(self._state):
                return
            async for happenings in with_keep_alives(rounds.calls(self._state)):
                yield KEEP_ALIVE if happenings is None else self._step(happenings)
            if rounds.is_over or self._state.is_full:
                return
            await self._chunks.aclose()
            self._chunks = await self._next()

    async def _next(self) -> ChatStream:
        model, request = await self._rounds.next(self._state)
        return await model.stream(request)

    async def aclose(self) -> None:
        """End the provider's work and that of tools, and keep a response whose caller has left, where it is to be."""
        try:
            if self._chunks is not None:
                await self._chunks.aclose()
        finally:
            try:
                await self._rounds.aclose()
            finally:
                try:
                    await self._keep_left()
                finally:
                    self._turn.end()

    async def _keep_left(self) -> None:
        """Keep the response as far as it has come, unless its end is reached already."""
        has_begun = self._state.number > 0
        if self._keeps_left and has_begun:
            await self._end(Left())

    async def told(self, error: ApiError) -> bytes:
        """Return the last events of a stream that is ended from outside; those of an end that is near come."""
        return await self._end(failed(error))

    async def _end(self, happening: Happening) -> bytes:
        if self._ending is None:
            self._ending = asyncio.ensure_future(self._endings.reach(_END, self._kept(happening)))
        return await asyncio.shield(self._ending)

    async def _kept(self, happening: Happening) -> bytes:
        """Keep the response as it is after its last happening, and return the events of that."""
        state, events = self._one_step(self._state, happening)
        try:
            await self._keep(state, events)
        except Exception as fault:  # noqa: BLE001 - a status is too late, so any fault is told in the stream
            if state.status != "failed":
                state, events = self._one_step(self._state, failed(error_of(fault, self._request_id)))
        self._state = state
        return await _all_texts(events, is_heavy=MOST_OUTPUT - state.left > QUICK) + DONE

    def _step(self, happenings: Iterable[Happening]) -> bytes:
        self._state, events = _passed(self._state, happenings, self._one_step)
        return _texts(events)


def _passed(state: State, happenings: Iterable[Happening], step: Step) -> tuple[State, list[Json]]:
    events = list[Json]()
    for happening in happenings:
        state, more = step(state, happening)
        events += more
    return state, events


def event_text(event: Json) -> bytes:
    """Return an event as a server-sent event."""
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), encoded(event))


async def _all_texts(events: list[Json], *, is_heavy: bool) -> bytes:
    """Return the text of the last events, which hold the whole response several times."""
    try:
        return await in_thread(_texts, events) if is_heavy else _texts(events)
    except NoRoom:
        # The end of a stream is not left out, and it is bounded.
        return _texts(events)


def _texts(events: Iterable[Json]) -> bytes:
    return b"".join(map(event_text, events))


def failed(error: ApiError) -> Failed:
    """Return what happens to a response when its caller is told of this error."""
    return Failed(_CODES.get(error.status, "server_error"), error.message)
