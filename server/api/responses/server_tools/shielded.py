"""Outcomes of tools that shields let pass: nothing else of them is shown, stored or told to a model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol, TypeVar

from server.api.responses.happenings import Happening, Moderated, Refused, Stopped
from server.api.responses.server_tools.outcome_texts import texts_in, with_texts
from server.api.responses.server_tools.tool import Outcome, ServerTool
from server.fairness.threads import in_thread
from server.safety.checks import USUAL_MESSAGE
from server.safety.returned import ReturnedTexts, Withheld
from server.safety.running import TextTooLong


class _Call(Protocol):
    @property
    def tool(self) -> ServerTool: ...

    @property
    def arguments(self) -> str: ...


C = TypeVar("C", bound=_Call)


class ShieldedOutcomes:
    """Checks the outcomes of one response by the shields of `texts`, and remembers what they have stopped."""

    def __init__(self, texts: ReturnedTexts) -> None:
        self._texts = texts
        self._withheld: Withheld | None = None

    @property
    def has_stopped(self) -> bool:
        """True if a shield has stopped something; then the response ends."""
        return self._withheld is not None

    def refusal(self) -> Iterator[Happening]:
        """Yield what ends a response of which something was stopped, as it does where the caller's text is."""
        withheld = self._withheld
        if withheld is not None:
            if withheld.moderation is not None:
                yield Moderated(withheld.moderation)
            yield Refused(withheld.message)
            yield Stopped("content_filter")

    async def all_passed(self, ended: Sequence[tuple[C, Outcome]]) -> Sequence[tuple[C, Outcome]]:
        """Return calls with what `passed` returns of their outcomes, which are checked beside each other."""
        if not self._texts.are_checked:
            return ended
        try:
            async with asyncio.TaskGroup() as group:
                checks = [
                    group.create_task(self.passed(outcome, partial(call.tool.failed, call.arguments)))
                    for call, outcome in ended
                ]
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return [(call, check.result()) for (call, _), check in zip(ended, checks, strict=True)]

    async def passed(self, outcome: Outcome, instead: Callable[[str], Outcome] | None = None) -> Outcome:
        """Return an outcome as the caller and the model may have it; else what stands in its place.

        `instead` returns that for a reason, where the outcome has nothing of its own. Raises ShieldUnavailable and
        NoRoom.
        """
        if outcome.is_ours or not self._texts.are_checked:
            return outcome
        instead = outcome.instead or instead or _nothing
        texts = await in_thread(texts_in, outcome)
        try:
            passed = await self._texts.passed(texts)
        except TextTooLong as fault:
            return instead(str(fault))
        if passed is texts:
            return outcome
        if not isinstance(passed, Withheld):
            masked = with_texts(outcome, dict(zip(texts, passed, strict=True)))
            if masked is not None:
                return masked
            passed = Withheld(USUAL_MESSAGE, None)
        self._withheld = self._withheld or passed
        return instead(passed.message)


def _nothing(reason: str) -> Outcome:
    return Outcome(reason, "failed", is_ours=True)
