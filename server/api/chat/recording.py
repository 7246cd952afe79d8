"""Chat models whose answers are stored on their way to the caller."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from json import dumps
from typing import Final

from server.api.chat.members import ANSWER
from server.fairness.threads import in_thread
from server.inference.answers.accumulator import ChatAccumulator
from server.inference.answers.model_name import QUICK
from server.inference.answers.plain import storable, whole_members
from server.inference.provider import DONE, ChatModel, ChatRequest, ChatStream, Pieces
from server.json_input.strict import Json
from server.storage.write_queue import QueuePlace, WriteQueue, until_written

MOST_ANSWERED: Final = 256 * 1024
"""Bytes of an answer that is stored; a larger one goes to its caller alone."""

_log: Final = logging.getLogger("ostiary.inference")


class RecordingChat:
    """Answers one chat by `model`, and gives the answer to `write` through `queue`.

    The model is asked once the caller has a place in the queue; if there is none, NoRoom or DatabaseUnavailable is
    raised and nothing is spent. `size` is the number of bytes that are kept of the request. The end of the answer waits
    for it to be written, but no longer than `until_written` does. An answer that breaks off is not stored.
    """

    def __init__(
        self, model: ChatModel, queue: WriteQueue, write: Callable[[Json], Awaitable[None]], size: int = 0
    ) -> None:
        self._model = model
        self._queue = queue
        self._write = write
        self._size = size

    async def complete(self, request: ChatRequest) -> Pieces:
        """Return the whole answer, stored."""
        place = await self._queue.reserve(self._size)
        try:
            pieces = await self._model.complete(request)
            is_heavy = sum(map(len, pieces)) > QUICK
            await self._keep(place, request, await in_thread(_read, pieces) if is_heavy else _read(pieces))
        finally:
            place.leave()
        return pieces

    async def stream(self, request: ChatRequest) -> ChatStream:
        """Return the answer as a stream, which is stored before its last event comes."""
        place = await self._queue.reserve(self._size)
        try:
            events = await self._model.stream(request)
        except BaseException:
            place.leave()
            raise
        return _KeptStream(events, place, partial(self._keep, place, request))

    async def _keep(self, place: QueuePlace, request: ChatRequest, answer: Json | None) -> None:
        size = 0 if answer is None else len(dumps(answer))
        if answer is None or size > MOST_ANSWERED:
            reason = f"it is no chat completion, or larger than {MOST_ANSWERED} bytes"
            _log.warning("the answer %s of %s is not stored: %s", request.answer_id, request.model_id, reason)
            return
        await until_written(place.fill(partial(self._write, answer), size + self._size))


class _KeptStream:
    def __init__(self, events: ChatStream, place: QueuePlace, keep: Callable[[Json | None], Awaitable[None]]) -> None:
        self._events = events
        self._place = place
        self._keep = keep

    async def __aiter__(self) -> AsyncIterator[bytes]:
        assembly = ChatAccumulator(MOST_ANSWERED)
        async for piece in self._events:
            if piece.endswith(DONE):
                assembly.feed(piece)
                if len(piece) > len(DONE):
                    yield piece[: -len(DONE)]
                is_heavy = assembly.is_heavy
                answer = await in_thread(assembly.finish) if is_heavy else assembly.finish()
                if answer is not None:
                    ANSWER.fit(answer)
                await self._keep(answer)
                yield DONE
            else:
                # The caller has the piece before it is read here.
                yield piece
                assembly.feed(piece)
                if assembly.is_due:
                    await in_thread(assembly.read)

    async def aclose(self) -> None:
        """End the provider's work; an answer that has no end yet is not stored."""
        try:
            await self._events.aclose()
        finally:
            self._place.leave()


def _read(pieces: Pieces) -> Json | None:
    """Return the answer as a value; None if it is too large to be stored, or JSON that can be read in two ways."""
    if sum(map(len, pieces)) > MOST_ANSWERED:
        return None
    answer = storable(b"".join(pieces))
    return None if answer is None else whole_members(answer)
