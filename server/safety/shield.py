"""The protocol of shields, and the verdicts that they return."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from server.inference.provider import Task
from server.safety.images import Image


class Direction(StrEnum):
    """The side of a model that texts are on: what it is given, or what it has made."""

    INPUT = "input"
    OUTPUT = "output"


@dataclass(frozen=True, slots=True)
class Said:
    """A text of a conversation; `by_model` if a model has made it. Texts of tools and of the system are not.

    Those are a `source`: an answer may be asked to say nothing else than they do. An `image` of the user has no text.
    """

    text: str
    by_model: bool = False
    is_source: bool = False
    image: Image | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One category that a shield has found.

    `code` is the shield's own name for it. `openai` are OpenAI's names of categories that it falls under, and `own` is
    our name for one that OpenAI has no name for. `score` is from 0 to 1.
    """

    code: str
    openai: tuple[str, ...] = ()
    own: str | None = None
    score: float = 1.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict of a shield on the texts that it was given.

    `masked` has the texts in their order as they may go on, where the shield has changed some and flags none; else it
    is None. `score` is the probability that the texts are harmful, where the shield knows one.
    """

    flagged: bool
    findings: tuple[Finding, ...] = ()
    masked: tuple[str, ...] | None = None
    score: float | None = None


SAFE = Verdict(flagged=False)

UNCHECKED = Verdict(flagged=False)
"""Stands for the verdict of a shield that has failed and lets texts pass then."""


class ShieldFailed(Exception):
    """Raised for a check without a verdict; the message is a sentence without any of the text."""


class TooMuchText(ShieldFailed):
    """Raised for texts that are larger than a shield checks."""


class Judges(Protocol):
    """The models that judge for shields, asked on behalf of one caller."""

    async def ask(self, model: str, task: Task, members: dict[str, Any]) -> Any:
        """Return the answer of a model to a body with these members, as JSON; raises ShieldFailed and NoRoom."""
        ...


class Shield(Protocol):
    """Checks texts; images too where it `reads_images`. No other one is given any."""

    @property
    def reads_images(self) -> bool:
        """True if it judges images."""
        ...

    async def check(self, said: Sequence[Said], direction: Direction, judges: Judges) -> Verdict:
        """Return the verdict on a conversation.

        On the input, all of it is judged. On the output, the texts that a model has made at its end are; those before
        say what these answer. Raises ShieldFailed and NoRoom.
        """
        ...


def answer_in(said: Sequence[Said]) -> Sequence[Said]:
    """Return the texts at the end of a conversation that a model has made."""
    start = len(said)
    while start and said[start - 1].by_model:
        start -= 1
    return said[start:]
