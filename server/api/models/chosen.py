"""Answers by the first of several models that can give one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from server.api.models.candidates import Candidates
from server.api.models.catalogue import ProviderGone
from server.api.models.model import Model
from server.fairness.shares import NoRoom
from server.http.errors import ApiError
from server.inference.provider import ChatModel, ChatRequest, ChatStream, Fault, Pieces, ProviderFailed
from server.storage.usage.once import OnceCounted

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Attempt:
    """A model that may be asked: `chat` answers for it, and takes `request`."""

    model: Model
    chat: ChatModel
    request: ChatRequest


class ChosenChat:
    """Asks the candidates one after another, until one accepts the request; then the choice is made.

    The next one is asked where a provider is at fault, is busy or paused, or has no room for any caller. What the first
    one refuses as the request's fault is refused. Where none answers, the failure of the first one is raised.
    `build` returns the attempt for a model; it raises ApiError for what may not be asked of it, and ProviderGone.
    `once` counts all attempts as one request.
    """

    def __init__(self, candidates: Candidates, build: Callable[[Model], Attempt], once: OnceCounted) -> None:
        self._once = once
        self._candidates: Candidates | None = candidates
        self._build: Callable[[Model], Attempt] | None = build
        self._first: Attempt | None = None
        self.answering: Model | None = None

    async def prepare(self) -> ChatRequest:
        """Return the request to the first candidate.

        Raises the ApiError for what may not be asked of it, and ProviderGone if no provider runs any of them.
        """
        self._first = await self._next(is_first=True)
        if self._first is None:
            raise ProviderGone
        return self._first.request

    @property
    def first(self) -> Model:
        """The first candidate, once the request is prepared and not yet sent."""
        if self._first is None:
            raise RuntimeError("the request is not prepared, or it is sent")
        return self._first.model

    async def complete(self, request: ChatRequest) -> Pieces:
        """Return the whole answer of the model that answers."""
        return await self._asked(lambda attempt: attempt.chat.complete(attempt.request), request)

    async def stream(self, request: ChatRequest) -> ChatStream:
        """Return the stream of the model that answers."""
        return await self._asked(lambda attempt: attempt.chat.stream(attempt.request), request)

    async def _asked(self, ask: Callable[[Attempt], Awaitable[Answer]], request: ChatRequest) -> Answer:
        attempt, self._first = self._first, None
        failure: ProviderFailed | NoRoom | None = None
        try:
            while attempt is not None:
                try:
                    answer = await ask(replace(attempt, request=replace(attempt.request, answer_id=request.answer_id)))
                except ProviderFailed as fault:
                    if fault.fault is Fault.REQUEST and failure is None:
                        raise
                    failure = failure or fault
                except NoRoom as full:
                    if full.of_caller:
                        raise
                    failure = failure or full
                else:
                    self.answering = attempt.model
                    return answer
                attempt = await self._next(is_first=False)
        finally:
            self._once.end(answered=self.answering is not None)
            # A stream lasts long, and the body may be large.
            self._candidates = self._build = None
        raise failure or RuntimeError("a request is sent once")

    async def _next(self, *, is_first: bool) -> Attempt | None:
        candidates, build = self._candidates, self._build
        while candidates is not None and build is not None and (model := await candidates.next()) is not None:
            try:
                return build(model)
            except ProviderGone:
                continue
            except ApiError:
                if is_first:
                    raise
        return None


def answering_name(asked: str, chosen: ChosenChat | None) -> str:
    """Return the canonical name of the model that answers where the one of the name `asked` was asked."""
    return asked if chosen is None or chosen.answering is None else chosen.answering.name
