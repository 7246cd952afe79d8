"""Embeddings of Bedrock, by as many requests of InvokeModel as a list of texts needs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final, Protocol

from server.fairness.shares import Turn
from server.fairness.threads import in_thread
from server.inference.answers.model_name import SMALL
from server.inference.answers.plain import NotAnAnswer
from server.inference.answers.vectors import BadVectors, OtherDimensions, Vector, written
from server.inference.provider import ChatRequest, ChatStream, Counted, Fault, Kind, Pieces, ProviderFailed, Wanted
from server.inference.providers.bedrock.embedding_models import (
    Batch,
    Embedded,
    EmbeddingModel,
    embeddings_in,
    model_of,
)
from server.inference.providers.bedrock.plan import embeddings_question, plan_embeddings
from server.inference.providers.refusals import broken
from server.inference.providers.vector_answers import VectorRoom
from server.inference.shared import SharedChat
from server.json_input.body_parser import BodyCheck
from server.json_input.strict import Json

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

    async def look(self, question: bytes, plan: BodyCheck) -> Json:
        """Return the plan of a request; raises ProviderFailed for one that can't be asked."""
        ...


class BedrockVectors:
    """Makes embeddings by `invoker`. Each request takes a turn of `shared`; large answers take room in `room`."""

    def __init__(self, invoker: Invoker, shared: SharedChat, room: VectorRoom) -> None:
        self._invoker = invoker
        self._shared = shared
        self._room = room

    async def complete(self, request: ChatRequest) -> Pieces:
        """Return the embeddings of all texts."""
        wanted = request.wanted or Wanted(1)
        question = embeddings_question(request.payload, wanted.dimensions)
        plan = await self._invoker.look(question, plan_embeddings)
        name, model, batches = plan["model"], model_of(plan["model"]), [*_batches(plan)]
        held = list[Turn]()
        try:
            numbers = wanted.count * (wanted.dimensions or max(model.sizes))
            size = numbers * (_KEPT + (_BASE64 if wanted.base64 else _DIGITS))
            if size > _FREE:
                largest = sorted((model.largest_answer(len(batch.payload)) for batch in batches), reverse=True)
                held.append(await self._room.room.take(size + sum(largest[:AT_ONCE])))
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
        waiting, turn = iter(enumerate(batches)), asyncio.Lock()

        async def work() -> None:
            for number, batch in waiting:
                async with self._shared.turn():
                    answers[number] = await self._one(name, model, batch, turn, base64=base64)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(AT_ONCE, self._shared.shares.share.each, len(batches))):
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
        self, name: str, model: EmbeddingModel, batch: Batch, turn: asyncio.Lock, *, base64: bool
    ) -> tuple[list[Embedded], int | None]:
        """Return the embeddings of a batch, and their tokens; of one list, one large answer is read at a time."""
        text, tokens = await self._invoker.invoke(name, batch.payload, model.largest_answer(len(batch.payload)))
        try:
            if len(text) <= SMALL:
                return embeddings_in(model, text, batch.count, base64=base64), tokens
            async with turn:
                return await in_thread(embeddings_in, model, text, batch.count, base64=base64), tokens
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


def _batches(plan: Json) -> Iterator[Batch]:
    start = 0
    for count, size in plan["sizes"]:
        yield Batch(plan["payloads"][start : start + size], count)
        start += size


def _entries(found: list[Embedded]) -> Iterator[tuple[int | None, Vector, bytes]]:
    for one in found:
        yield None, one.vector, one.text
