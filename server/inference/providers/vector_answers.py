"""Reading of a provider's embeddings: large answers have a room of their own, and are converted one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from server.fairness.outgoing import keep_until_sent
from server.fairness.shares import FairShares, NoRoom, Share, Turn
from server.fairness.threads import in_thread, shares
from server.inference.answers.model_name import SMALL
from server.inference.answers.plain import NotAnAnswer, ToldError
from server.inference.answers.vectors import BadVectors, OtherDimensions, vectors_answer
from server.inference.provider import ChatRequest, Counted, Fault, ProviderFailed, Wanted
from server.inference.providers.refusals import broken, refusal_in_answer

MOST_ANSWER: Final = 160 * 1024 * 1024
"""Bytes of an answer with embeddings: 2,048 of 3,072 numbers each, with every digit, are less."""

FREE: Final = 1024 * 1024
"""Bytes of an answer that takes no room."""

FEW: Final = 64
"""Embeddings of a small answer that are converted without a thread, in a millisecond or two."""

_ONE: Final = Wanted(1)

ROOM: Final = Share(
    "bytes of large embeddings",
    capacity=320 * 1024 * 1024,
    each=MOST_ANSWER,
    waiting=512,
    waiting_each=32,
    seconds=60.0,
)
"""Bytes of large answers with embeddings that are read, or on their way to their callers."""

QUICK: Final = 16 * 1024
"""Numbers of embeddings that are made here, and written without a thread."""

_BASE64: Final = 6
"""Bytes of a number in base64, with some to spare."""

_DIGITS: Final = 23
"""Bytes of a number in digits."""

More = Callable[[], Awaitable[bytes]]
"""Returns the next piece of a body, and nothing at its end."""


class VectorRoom:
    """The room for embeddings of one event loop, whichever provider they come from."""

    def __init__(self) -> None:
        self.room = FairShares(ROOM)

    @property
    def turns(self) -> FairShares:
        """The turns of threads that convert embeddings."""
        return shares()

    async def answer(self, provider_id: str, request: ChatRequest, more: More, length: int | None) -> Counted:
        """Return the embeddings in a body of `length` bytes, as far as its head says; raises ProviderFailed, NoRoom."""
        held = list[Turn]()
        try:
            parts = await self._read(provider_id, more, length, held)
            if len(parts) == 1 and (request.wanted or _ONE).count <= FEW:
                return _converted(provider_id, request, parts)
            if not held:
                return await in_thread(_converted, provider_id, request, parts)
            held.append(await self.turns.take())
            work, turns, held = asyncio.ensure_future(_beside(provider_id, request, parts)), held, []
            return await self.kept(work, turns)
        except NoRoom as full:
            full.spent = True
            raise
        finally:
            for turn in held:
                turn.end()

    async def made(self, wanted: Wanted, size: int, make: Callable[[], Counted]) -> Counted:
        """Return what `make` makes of the wanted embeddings of `size` numbers: many in a thread; raises NoRoom."""
        if wanted.count * size <= QUICK:
            return make()
        turns = [await self.room.take(wanted.count * size * (_BASE64 if wanted.base64 else _DIGITS))]
        try:
            turns.append(await self.turns.take())
        except BaseException:
            turns[0].end()
            raise
        return await self.kept(asyncio.ensure_future(asyncio.to_thread(make)), turns)

    async def kept(self, work: asyncio.Future[Counted], turns: list[Turn]) -> Counted:
        """Return what a thread makes; the first turn, that of the room, ends when the answer is sent, others now.

        A thread goes on when its caller has left, and holds its turns until then.
        """
        try:
            made = await asyncio.shield(work)
        except BaseException:
            work.add_done_callback(partial(_end, turns))
            raise
        for turn in turns[1:]:
            turn.end()
        for turn in turns[:1]:
            keep_until_sent(turn)
        return made

    async def _read(self, provider_id: str, more: More, length: int | None, held: list[Turn]) -> list[bytes]:
        """Return the body in parts, of which only the last may be small; a large one takes room, added to `held`."""
        parts, last, size = list[bytes](), bytearray(), 0
        if length is not None and length > MOST_ANSWER:
            raise _too_large(provider_id)
        while data := await more():
            last += data
            size += len(data)
            if len(last) > SMALL:
                parts.append(bytes(last))
                last.clear()
            if size > FREE and not held:
                known = length is not None and size <= length
                held.append(await self.room.take(length if known and length is not None else MOST_ANSWER))
            if size > MOST_ANSWER:
                raise _too_large(provider_id)
        return [*parts, bytes(last)]


def _too_large(provider_id: str) -> ProviderFailed:
    return broken(provider_id, f"answered with more than {MOST_ANSWER} bytes")


async def _beside(provider_id: str, request: ChatRequest, parts: list[bytes]) -> Counted:
    return await asyncio.to_thread(_converted, provider_id, request, parts)


def _converted(provider_id: str, request: ChatRequest, parts: list[bytes]) -> Counted:
    wanted = request.wanted or _ONE
    # The interpreter is free for others while large parts are joined.
    text = b"".join(parts)
    parts.clear()
    try:
        return vectors_answer(text, request.model_id, wanted)
    except ToldError as told:
        raise refusal_in_answer(provider_id, told.document, begun=False) from None
    except OtherDimensions as other:
        sentence = (
            f"the provider `{provider_id}` made embeddings of {other.length} numbers, not of {wanted.dimensions}; "
            "leave `dimensions` out"
        )
        raise ProviderFailed(
            Fault.REQUEST, sentence, code="unsupported_value", param="dimensions", spent=True
        ) from None
    except BadVectors as wrong:
        raise broken(provider_id, str(wrong)) from None
    except NotAnAnswer:
        raise broken(provider_id, "answered with something other than embeddings") from None


def _end(turns: list[Turn], work: asyncio.Future[Counted]) -> None:
    for turn in turns:
        turn.end()
    if not work.cancelled():
        work.exception()  # it is told to a caller who may have left
