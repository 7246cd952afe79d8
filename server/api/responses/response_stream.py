"""The stream of one response: its events as they come of a chat's chunks, and its one end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Final, TypeAlias

from server.api.responses.chunks import read_beside
from server.api.responses.happenings import Begun, Ended, Failed, Happening, Left
from server.api.responses.loop import Step
from server.api.responses.server_tools.keep_alive import KEEP_ALIVE, with_keep_alives
from server.api.responses.server_tools.rounds import Rounds
from server.api.responses.state import MOST_OUTPUT, State
from server.background.lasting import LastingWork
from server.fairness.shares import NoRoom, Turn
from server.fairness.threads import in_thread
from server.http.error_table import error_of
from server.http.errors import ApiError, provider_error
from server.inference.answers.model_name import QUICK
from server.inference.answers.plain import encoded
from server.inference.provider import DONE, ChatStream, ProviderFailed
from server.json_input.strict import Json

END: Final = "end of a response"
_CODES: Final = {400: "invalid_prompt", 413: "invalid_prompt", 429: "rate_limit_exceeded"}

Keep: TypeAlias = Callable[[State, Sequence[Json]], Awaitable[None]]
"""Stores a response that is over, and what goes with it; it is given the events of the end, too, which are not told
yet. Raises the exception for the caller if it can't.
"""

Read: TypeAlias = Callable[[bytes], list[Happening]]
"""Returns what happens in a piece of a chat's stream; raises NotAnAnswer."""


class ResponseStream:
    """The events of one response, which come with the chunks of a chat; the last piece ends with `DONE`.

    `chunks` are those of the first answer; None where tools are called before the model is asked. `turn` is ended with
    the stream, and `endings` reach its end where the caller has left.
    """

    def __init__(
        self,
        chunks: ChatStream | None,
        state: State,
        keep: Keep,
        turn: Turn,
        endings: LastingWork,
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
        yield self._step([Begun()])
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
        yield self._step(await rounds.listed())
        if self._chunks is None and not rounds.is_over:
            async for happenings in with_keep_alives(rounds.first()):
                yield KEEP_ALIVE if happenings is None else self._step(happenings)
            if not rounds.is_over:
                self._chunks = await self._next()
        if self._chunks is None or rounds.is_over:
            return
        async for told in self._answered(self._chunks):
            yield told

    async def _answered(self, chunks: ChatStream) -> AsyncIterator[bytes]:
        """Yield the events of the model's answers, and of the calls between them; raises what `_told` does."""
        rounds = self._rounds
        while True:
            async for piece in chunks:
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
            await chunks.aclose()
            self._chunks = chunks = await self._next()

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
            self._ending = asyncio.ensure_future(self._endings.reach(END, self._kept(happening)))
        return await asyncio.shield(self._ending)

    async def _kept(self, happening: Happening) -> bytes:
        """Keep the response as it is after its last happening, and return the events of that."""
        state, events = self._one_step(self._state, happening)
        try:
            try:
                await self._keep(state, events)
            except ApiError as fault:
                if state.status != "completed":
                    raise
                # Its conversation does not take it; a response that has failed fills none.
                state, events = self._one_step(self._state, failed(fault))
                await self._keep(state, events)
        except Exception as fault:  # noqa: BLE001 - a status is too late, so any fault is told in the stream
            if state.status != "failed":
                state, events = self._one_step(self._state, failed(error_of(fault, self._request_id)))
        self._state = state
        return await _all_texts(events, is_heavy=MOST_OUTPUT - state.left > QUICK) + DONE

    def _step(self, happenings: Iterable[Happening]) -> bytes:
        self._state, events = passed(self._state, happenings, self._one_step)
        return _texts(events)


def passed(state: State, happenings: Iterable[Happening], step: Step) -> tuple[State, list[Json]]:
    """Return the state after these happenings, and the events that tell of them."""
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
