"""The policy decision point and the chat models, with a span around each call; used only with a collector."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

from opentelemetry.trace import Span

from policy.vocabulary import Decision
from server.authz.contract.answer import Answer
from server.authz.contract.question import ListQuestion, NextQuestion, Question
from server.authz.contract.record_filter import RecordFilter
from server.authz.observer import Observer, Outcome, outcome_of
from server.authz.opa.transport import OpaTransport
from server.authz.pdp import PolicyDecisionPoint
from server.inference.provider import ChatModel, ChatRequest, ChatStream, Pieces
from server.telemetry.spans import Tracing, fail

_QUESTION: Final = "ostiary.question"
_EFFECT: Final = "ostiary.effect"
_REVISION: Final = "ostiary.policy.revision"


class TracedDecisionPoint(PolicyDecisionPoint):
    """Each question a span, under which OPA sees the trace."""

    def __init__(
        self, transport: OpaTransport, expected_revision: str | None, observer: Observer | None, tracing: Tracing
    ) -> None:
        super().__init__(transport, expected_revision, observer)
        self._tracing = tracing

    async def ask(self, question: Question, following: NextQuestion | None = None) -> Answer:
        """Ask as without a span, and alone."""
        parts = ("route", question.route), ("resource", question.resource)
        asked = " ".join(name for name, part in parts if part is not None)
        with self._tracing.step("policy decision", {_QUESTION: asked}) as span:
            answer = await super().ask(question)
            span.set_attribute(_EFFECT, _effect(answer.route, answer.resource))
            span.set_attribute(_REVISION, answer.revision)
        return answer

    async def ask_next(self, following: NextQuestion) -> Answer:
        """Ask as without a span."""
        return await self.ask(following.question)

    async def ask_many(self, questions: Sequence[Question]) -> list[Answer]:
        """Ask as without a span."""
        asked = "resources" if questions[0].route is None else "route resources"
        with self._tracing.step("policy decisions", {_QUESTION: asked}) as span:
            answers = await super().ask_many(questions)
            span.set_attribute("ostiary.questions", len(questions))
        return answers

    async def filter(self, question: ListQuestion) -> RecordFilter:
        """Ask as without a span."""
        with self._tracing.step("policy filter", {_QUESTION: "list"}) as span:
            found = await super().filter(question)
            span.set_attribute(_EFFECT, Outcome.FILTER)
            span.set_attribute(_REVISION, found.revision)
        return found


def _effect(*decisions: Decision | None) -> Outcome:
    """Return `permit` if every part that was asked about is permitted."""
    effects = {outcome_of(decision.verdict) for decision in decisions if decision is not None}
    return Outcome.DENY if Outcome.DENY in effects else Outcome.PERMIT


class TracedChat:
    """Makes each call a span, named and marked after OpenTelemetry's conventions for generative AI."""

    def __init__(self, provider_id: str, model: ChatModel, tracing: Tracing) -> None:
        self._provider_id = provider_id
        self._model = model
        self._tracing = tracing

    async def complete(self, request: ChatRequest) -> Pieces:
        """Return the whole answer."""
        with self._tracing.step(f"{request.task} {request.model_id}", self._attributes(request)):
            return await self._model.complete(request)

    async def stream(self, request: ChatRequest) -> ChatStream:
        """Return the answer as a stream: one span until the provider accepts, and one until the last piece."""
        attributes = self._attributes(request)
        with self._tracing.step(f"{request.task} {request.model_id}", attributes):
            events = await self._model.stream(request)
        return _TracedStream(events, self._tracing.begin(f"stream {request.model_id}", attributes))

    def _attributes(self, request: ChatRequest) -> dict[str, str]:
        return {
            "gen_ai.operation.name": request.task.value,
            "gen_ai.provider.name": self._provider_id,
            "gen_ai.request.model": request.model_id,
        }


class _TracedStream:
    def __init__(self, events: ChatStream, span: Span) -> None:
        self._events = events
        self._span = span

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._events:
                yield piece
        except Exception as fault:
            fail(self._span, fault)
            raise

    async def aclose(self) -> None:
        """End the provider's work and the span."""
        try:
            await self._events.aclose()
        finally:
            self._span.end()
