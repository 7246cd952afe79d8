"""Embeddings of Bedrock, by as many requests of InvokeModel as a list of texts needs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from json import loads
from typing import Final, Protocol

from server.fairness.shares import FairShares, Turn
from server.inference.answers.model_name import QUICK
from server.inference.answers.plain import NotAnAnswer
from server.inference.answers.vectors import BadVectors, OtherDimensions, Vector, written
from server.inference.provider import ChatRequest, ChatStream, Counted, Fault, Kind, Pieces, ProviderFailed, Wanted
from server.inference.providers.bedrock.embedding_models import (
    Batch,
    Embedded,
    EmbeddingModel,
    batches_of,
    embeddings_in,
    model_of,
)
from server.inference.providers.bedrock.parts import NotConverse
from server.inference.providers.refusals import broken
from server.inference.providers.vector_answers import VectorRoom

AT_ONCE: Final = 8
"""Requests that one list of texts has under way at the same time."""

_FREE: Final = 256 * 1024
_BASE64: Final = 6
_DIGITS: Final = 24
_KEPT: Final = 8
"""Bytes of a number: in base64, in digits, and beside its text until all are there."""


class Invoker(Protocol):
    """Asks models of Bedrock by InvokeModel."""

    provider_id: str
    total_seconds: float

    async def invoke(self, model: str, payload: bytes, limit: int) -> tuple[bytes, int | None]:
        """Return an answer of up to `limit` bytes, and the tokens that its head tells; raises ProviderFailed."""
        ...

    def refused(self, fault: NotConverse) -> ProviderFailed:
        """Return the failure for a request that can't be asked."""
        ...


class BedrockVectors:
    """Makes embeddings by `invoker`. Each request takes a turn of `turns`; large answers take room in `room`."""

    def __init__(self, invoker: Invoker, turns: FairShares, room: VectorRoom) -> None:
        self._invoker = invoker
        self._turns = turns
        self._room = room

    async def complete(self, request: ChatRequest) -> Pieces:
        """Return the embeddings of all texts."""
        wanted = request.wanted or Wanted(1)
        try:
            if len(request.payload) <= QUICK:
                name, model, batches = _planned(request.payload, wanted)
            else:
                name, model, batches = await asyncio.to_thread(_planned, request.payload, wanted)
        except NotConverse as fault:
            raise self._invoker.refused(fault) from None
        held = list[Turn]()
        try:
            size = (
                wanted.count
                * (wanted.dimensions or max(model.sizes))
                * (_KEPT + (_BASE64 if wanted.base64 else _DIGITS))
            )
            if size > _FREE:
                read = min(AT_ONCE, len(batches)) * model.largest_answer
                held.append(await self._room.room.take(size + read))
            async with asyncio.timeout(self._invoker.total_seconds):
                found, tokens = await self._asked(name, model, batches, base64=wanted.base64)
            usage = None if tokens is None else {"prompt_tokens": tokens, "total_tokens": tokens}
            if not held:
                return self._written(request, found, usage)
            held.append(await self._room.turns.take())
            work = asyncio.ensure_future(asyncio.to_thread(self._written, request, found, usage))
            turns, held = held, []
            return await self._room.kept(work, turns)
        except TimeoutError:
            raise broken(self._invoker.provider_id, "did not end its answer in time", kind=Kind.SILENT) from None
        finally:
            for turn in held:
                turn.end()

    async def stream(self, request: ChatRequest) -> ChatStream:
        """Raise, since embeddings are not streamed."""
        raise ProviderFailed(Fault.REQUEST, "embeddings are not streamed")

    async def _asked(
        self, name: str, model: EmbeddingModel, batches: list[Batch], *, base64: bool
    ) -> tuple[list[Embedded], int | None]:
        """Return the embeddings of all batches in their order, and the sum of their tokens where all tell them."""
        answers = dict[int, tuple[list[Embedded], int | None]]()
        waiting = iter(enumerate(batches))

        async def work() -> None:
            for number, batch in waiting:
                async with self._turns.turn():
                    answers[number] = await self._one(name, model, batch, base64=base64)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(AT_ONCE, len(batches))):
                    group.create_task(work())
        except BaseExceptionGroup as failures:
            first = failures.exceptions[0]
            if isinstance(first, ProviderFailed):
                first.spent = first.spent or bool(answers)
            raise first from None
        ordered = [answers[number] for number in range(len(batches))]
        told = [tokens for _, tokens in ordered if tokens is not None]
        return [one for found, _ in ordered for one in found], sum(told) if len(told) == len(ordered) else None

    async def _one(
        self, name: str, model: EmbeddingModel, batch: Batch, *, base64: bool
    ) -> tuple[list[Embedded], int | None]:
        text, tokens = await self._invoker.invoke(name, batch.payload, model.largest_answer)
        try:
            if len(text) <= QUICK:
                return embeddings_in(model, text, batch.count, base64=base64), tokens
            return await asyncio.to_thread(embeddings_in, model, text, batch.count, base64=base64), tokens
        except NotAnAnswer as wrong:
            raise self._odd(wrong) from None

    def _written(self, request: ChatRequest, found: list[Embedded], usage: dict[str, int] | None) -> Counted:
        wanted = request.wanted or Wanted(1)
        try:
            return written(_entries(found), request.model_id, wanted, usage)
        except OtherDimensions as other:
            did = f"made embeddings of {other.length} numbers in place of {wanted.dimensions}"
            raise broken(self._invoker.provider_id, did) from None
        except NotAnAnswer as wrong:
            raise self._odd(wrong) from None

    def _odd(self, wrong: NotAnAnswer) -> ProviderFailed:
        did = str(wrong) if isinstance(wrong, BadVectors) else "answered with something other than embeddings"
        return broken(self._invoker.provider_id, did)


def _planned(payload: bytes, wanted: Wanted) -> tuple[str, EmbeddingModel, list[Batch]]:
    """Return the model's name, the model and the requests; raises NotConverse."""
    body = loads(payload)
    model = model_of(body["model"])
    return body["model"], model, batches_of(model, body, wanted)


def _entries(found: list[Embedded]) -> Iterator[tuple[int | None, Vector, bytes]]:
    for one in found:
        yield None, one.vector, one.text
