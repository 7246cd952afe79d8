"""The policy decision point: it asks OPA, and raises where an answer is not exactly what the contract says."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from server.authz.contract.answer import Answer, read_answer, read_answers, read_undecided
from server.authz.contract.errors import Failure, PolicyUnavailable
from server.authz.contract.question import (
    MALFORMED,
    NEITHER,
    ListQuestion,
    NextQuestion,
    Question,
    encode,
    encode_list,
    encode_many,
)
from server.authz.contract.record_filter import KnownFilters, RecordFilter, read_filter
from server.authz.observer import NullObserver, Observer, Outcome, QuestionKind, outcome_of
from server.authz.opa.exchanges import Exchanges
from server.authz.opa.room import LARGE_BYTES, SMALL_BYTES, SMALL_QUESTIONS, SMALL_TEXT
from server.authz.opa.transport import DEADLINE, Entrypoint, OpaTransport

MOST_TOGETHER: Final = 200
"""Questions that are asked together, and logged when all of them are answered."""


class PolicyDecisionPoint:
    """Asks OPA, and refuses every answer that isn't certainly the wanted policy's.

    `expected_revision` is the only one believed; None believes any. `questions` and `failures` count since the start,
    `live_revision` is the revision seen last, and `live_since` the `time.monotonic()` of its first answer. `observer`
    is told of everything but probes. `unfit` says why no decision is asked for, if this OPA may not decide.
    A question waits for its caller's turn; NoRoom is raised where that doesn't come.
    """

    def __init__(
        self, transport: OpaTransport, expected_revision: str | None, observer: Observer | None = None
    ) -> None:
        self.expected_revision = expected_revision
        self.unfit: str | None = None
        self.questions = 0
        self.failures = dict.fromkeys(Failure, 0)
        self.live_revision: str | None = None
        self.live_since: float | None = None
        self._observer = NullObserver() if observer is None else observer
        self._filters = KnownFilters()
        self._exchanges = Exchanges(transport, self._observer.answered)

    async def ask(self, question: Question, following: NextQuestion | None = None) -> Answer:
        """Return the decisions asked for; raises PolicyUnavailable, and there is no third outcome.

        The question `following` goes along where that is the same to both, and gets its reply. Whatever that is, it
        counts for nothing before `ask_next`.
        """
        return await self._answer(question, None, following)

    async def ask_next(self, following: NextQuestion) -> Answer:
        """Return the decision about a question from the reply that it got, once; ask as `ask` does if it got none, or
        long ago, or if another revision of the policy has answered since.
        """
        reply, following.reply = following.reply, None
        is_late = time.perf_counter() - following.at > DEADLINE
        if reply is not None and (is_late or following.revision != self.live_revision):
            reply, following.seconds = None, 0.0
        return await self._answer(following.question, reply)

    async def ask_many(self, questions: Sequence[Question]) -> list[Answer]:
        """Return the answers to up to `MOST_TOGETHER` questions, in their order; raises PolicyUnavailable for all of
        them.

        Many go in several exchanges, between which other callers have their turns.
        """
        self.questions += len(questions)
        try:
            answers = await self._answers(questions)
        except PolicyUnavailable as failure:
            self.no_decision(failure)
            for question in questions:
                self._undecided(question)
            raise
        for answer in answers:
            self._decided(answer)
        return answers

    async def filter(self, question: ListQuestion) -> RecordFilter:
        """Return the filter that decides about each record of a list; raises PolicyUnavailable."""
        self.questions += 1
        try:
            self._check_fitness()
            body = encode_list(question)
            if len(body) <= SMALL_BYTES:
                found = self._filters.read(body, await self._exchanges.small(body, Entrypoint.FILTER), question)
            else:
                del body
                reply = await self._large_reply(partial(encode_list, question), Entrypoint.FILTER)
                found = read_filter(reply, question)
            self._check_revision(found.revision)
        except PolicyUnavailable as failure:
            self.no_decision(failure)
            self._observer.decided(QuestionKind.LIST, Outcome.UNAVAILABLE)
            raise
        self._observer.decided(QuestionKind.LIST, Outcome.FILTER)
        return found

    async def probe(self, question: Question) -> Answer:
        """Ask past the breaker and uncounted, which is for readiness; a reply closes the breaker."""
        answer = read_answer(await self._exchanges.probe(encode(question)), question)
        self._check_revision(answer.revision)
        return answer

    async def probe_neither(self, question: Question) -> Answer:
        """Probe as `probe` does, with the question `NEITHER`; `question` asks for the same parts."""
        answer = read_answer(await self._exchanges.probe(NEITHER), question)
        self._check_revision(answer.revision)
        return answer

    async def probe_undecided(self) -> None:
        """Probe as `probe` does, with a question that must get no decision; raises PolicyUnavailable if it gets one."""
        self._check_revision(read_undecided(await self._exchanges.probe(MALFORMED)))

    def no_decision(self, failure: PolicyUnavailable) -> None:
        """Count a question without a usable decision, whether OPA or the decision log is to blame."""
        self.failures[failure.failure] += 1
        self._observer.unavailable(failure.failure)

    @property
    def breaker_open(self) -> bool:
        """True while OPA is not asked because it was silent for too long."""
        return self._exchanges.breaker.is_open

    @property
    def breaker_openings(self) -> int:
        """The number of times that the breaker has opened."""
        return self._exchanges.breaker.openings

    def _decided(self, answer: Answer) -> None:
        if answer.route is not None:
            self._observer.decided(QuestionKind.ROUTE, outcome_of(answer.route.verdict))
        if answer.resource is not None:
            self._observer.decided(QuestionKind.RESOURCE, outcome_of(answer.resource.verdict))

    def _undecided(self, question: Question) -> None:
        if question.route is not None:
            self._observer.decided(QuestionKind.ROUTE, Outcome.UNAVAILABLE)
        if question.resource is not None:
            self._observer.decided(QuestionKind.RESOURCE, Outcome.UNAVAILABLE)

    async def _answer(self, question: Question, reply: bytes | None, following: NextQuestion | None = None) -> Answer:
        """Return the answer to the question, in the reply if there is one; count it, or that there is none."""
        self.questions += 1
        try:
            self._check_fitness()
            answer = read_answer(await self._reply(question, following) if reply is None else reply, question)
            self._check_revision(answer.revision)
            if following is not None:
                following.revision = answer.revision
        except PolicyUnavailable as failure:
            self.no_decision(failure)
            self._undecided(question)
            raise
        self._decided(answer)
        return answer

    async def _reply(self, question: Question, following: NextQuestion | None) -> bytes:
        """Return the reply to the question; the one that follows gets its own where they go together."""
        body = encode(question)
        if not _is_small(body, question):
            del body  # made again when its turn comes, since many may wait for theirs
            return await self._large_reply(partial(encode, question), Entrypoint.DECISION)
        other = None if following is None else _small_body(following.question)
        if following is None or other is None:
            return await self._exchanges.small(body, Entrypoint.DECISION)
        began = time.perf_counter()
        reply, following.reply = await self._exchanges.pair(body, other)
        following.at = time.perf_counter()
        following.seconds = following.at - began
        return reply

    async def _large_reply(self, encoded: Callable[[], bytes], entrypoint: Entrypoint) -> bytes:
        """Return the reply to one question that is too long for a small exchange."""
        reply, _ = await self._exchanges.large(lambda: (encoded(), 1), entrypoint)
        return reply

    async def _answers(self, questions: Sequence[Question]) -> list[Answer]:
        """Return the answers to all questions, in one small exchange or in large ones."""
        self._check_fitness()
        if len(questions) <= SMALL_QUESTIONS and all(one.text_length <= SMALL_TEXT for one in questions):
            body, count = encode_many(questions, SMALL_BYTES)
            if count == len(questions) and len(body) <= SMALL_BYTES:
                return self._read(await self._exchanges.small(body, Entrypoint.DECISIONS, count), questions)
        answers: list[Answer] = []
        while len(answers) < len(questions):
            rest = questions[len(answers) : len(answers) + self._exchanges.pace.questions]
            reply, count = await self._exchanges.large(partial(encode_many, rest, LARGE_BYTES), Entrypoint.DECISIONS)
            answers += self._read(reply, rest[:count])
        return answers

    def _read(self, reply: bytes, questions: Sequence[Question]) -> list[Answer]:
        answers = read_answers(reply, questions)
        for answer in answers:
            self._check_revision(answer.revision)
        return answers

    def _check_fitness(self) -> None:
        if self.unfit is not None:
            raise PolicyUnavailable(Failure.VERSION, self.unfit)

    def _check_revision(self, revision: str) -> None:
        if revision != self.live_revision:
            self.live_revision = revision
            self.live_since = time.monotonic()
        if self.expected_revision is not None and revision != self.expected_revision:
            raise PolicyUnavailable(Failure.REVISION, "opa answers from another policy revision than the wanted one")


def _is_small(body: bytes, question: Question) -> bool:
    return len(body) <= SMALL_BYTES and question.text_length <= SMALL_TEXT


def _small_body(question: Question) -> bytes | None:
    """Return the question's body; None where it is not small or can't be asked, which is told when its turn comes."""
    try:
        body = encode(question)
    except PolicyUnavailable:
        return None
    return body if _is_small(body, question) else None
