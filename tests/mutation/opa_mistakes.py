"""Deliberate mistakes about questions to OPA in turns, each of which the suite must notice."""

from __future__ import annotations

from tests.mutation.mistake import Mistake

EXCHANGES = "server/authz/opa/exchanges.py"
ROOM = "server/authz/opa/room.py"
POINT = "server/authz/pdp.py"

OPA_MISTAKES = (
    Mistake(
        "many small questions take one place",
        EXCHANGES,
        "self.small_room.take_now(questions) or await self.small_room.take(questions)",
        "self.small_room.take_now() or await self.small_room.take()",
    ),
    Mistake(
        "a place of a small question is never free again",
        EXCHANGES,
        "            return reply\n        finally:\n            turn.end()\n",
        "            return reply\n        finally:\n            pass\n",
    ),
    Mistake(
        "large questions pass an open breaker",
        EXCHANGES,
        "if self.breaker.is_open:",
        "if self.breaker.is_open and self.breaker.openings > 99:",
    ),
    Mistake(
        "an odd answer is the death of opa",
        EXCHANGES,
        "        if failure.failure in SILENCE:\n            self.breaker.failed(trial)",
        "        if failure.failure:\n            self.breaker.failed(trial)",
    ),
    Mistake(
        "a place is free while opa may be at work for it",
        EXCHANGES,
        "linger, began = room.LINGER_SECONDS, time.perf_counter()",
        "began = time.perf_counter()",
    ),
    Mistake(
        "exchanges are as large where opa is slow",
        ROOM,
        "wanted = int(questions * GOAL_SECONDS / max(seconds, 1e-6))",
        "wanted = LARGE_QUESTIONS",
    ),
    Mistake(
        "exchanges grow without end",
        ROOM,
        "min(wanted, 2 * self.questions, LARGE_QUESTIONS)",
        "min(wanted, 2 * self.questions)",
    ),
    Mistake("one caller asks all small questions", ROOM, "capacity=64, each=32", "capacity=64, each=64"),
    Mistake(
        "a question with long names is small",
        POINT,
        "return len(body) <= SMALL_BYTES and question.text_length <= SMALL_TEXT",
        "return len(body) <= SMALL_BYTES",
    ),
    Mistake(
        "many questions are a small exchange",
        POINT,
        "if len(questions) <= SMALL_QUESTIONS and all(",
        "if all(",
    ),
    Mistake(
        "a reply that came along is used however old it is",
        POINT,
        "is_late = time.perf_counter() - following.at > DEADLINE",
        "is_late = following.at < 0.0",
    ),
    Mistake(
        "a reply of a policy that answers no more is used",
        POINT,
        "if reply is not None and (is_late or following.revision != self.live_revision):",
        "if reply is not None and is_late:",
    ),
    Mistake(
        "two questions share the deadline of a slow opa",
        "server/authz/opa/batching.py",
        "if self._slowest > PAIR_SECONDS:",
        "if self._slowest > 99.0:",
    ),
    Mistake(
        "a reply that came along decides about another resource",
        "server/authz/contract/question.py",
        "return self.question.action is action and self.question.resource == resource",
        "return True",
    ),
    Mistake(
        "a reply about another caller is used",
        "server/authz/request_authorization.py",
        "        self._is_asked = False\n        self._following = None\n\n    def expect(",
        "        self._is_asked = False\n\n    def expect(",
    ),
)
