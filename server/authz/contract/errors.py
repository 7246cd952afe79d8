"""The failures that leave a question without a decision."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Failure(StrEnum):
    """Why there is no decision; a closed set, so that it can label a counter."""

    QUESTION = "question"
    UNREACHABLE = "unreachable"
    DEADLINE = "deadline"
    CLOSED = "closed"
    STATUS = "status"
    TOO_LARGE = "too_large"
    MALFORMED = "malformed"
    REVISION = "revision"
    VERSION = "version"
    BREAKER = "breaker"
    DECISION_LOG = "decision_log"


SILENCE: Final = frozenset({Failure.UNREACHABLE, Failure.DEADLINE, Failure.CLOSED})
"""Failures that say nothing about the question: OPA isn't there, or not fast enough."""


class PolicyUnavailable(Exception):
    """No decision could be had: 503 for everyone, never a permit and never a refusal.

    `reason` is one short sentence without user data; `failure` is its kind.
    """

    def __init__(self, failure: Failure, reason: str) -> None:
        super().__init__(reason)
        self.failure = failure
        self.reason = reason
