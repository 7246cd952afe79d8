"""A shield in use: its time, its share for each caller, and what becomes of its failures."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from server.config.shield_params import Common
from server.fairness.shares import FairShares, Share
from server.inference.provider import Fault, ProviderFailed
from server.safety.shield import SAFE, Direction, Judges, Said, Shield, ShieldFailed, TooMuchText, Verdict

CHECKS: Final = Share("checks by this shield", 256, 32, waiting=1024, waiting_each=128, seconds=5.0)
"""Checks that one shield makes at the same time."""

MOST_CHARACTERS: Final = 500_000
"""Characters of the texts of one check."""

_log: Final = logging.getLogger("ostiary.safety")


class ShieldUnavailable(Exception):
    """Raised if a shield has no verdict, so that the text must not pass; the message is a sentence for the caller."""


class NoVerdict(ShieldUnavailable):
    """Raised if a shield has failed, so that it has no verdict, for a reason that no text brings about."""


class TextTooLong(Exception):
    """Raised for texts that are larger than the shield checks; the message is a sentence for the caller."""


Note = Callable[[str, Direction, str], None]
"""Counts an outcome: the shield, the direction, and `passed`, `flagged`, `masked`, `failed` or `unchecked`."""


class RunningShield:
    """The shield `identity` with its params; `note` counts what comes of each check."""

    def __init__(
        self,
        identity: str,
        shield: Shield,
        common: Common,
        shares: FairShares | None = None,
        note: Note = lambda _shield, _direction, _outcome: None,
    ) -> None:
        self.identity = identity
        self.message = common.message
        self._shield = shield
        self.lets_pass = common.lets_pass
        self.reads_images = shield.reads_images
        self._timeout = common.timeout
        self._shares = FairShares(CHECKS) if shares is None else shares
        self._note = note

    async def check(self, said: Sequence[Said], direction: Direction, judges: Judges) -> Verdict:
        """Return the verdict on a conversation; raise ShieldUnavailable, TextTooLong and NoRoom."""
        if not any(each.text.strip() or each.image is not None for each in said):
            return SAFE
        try:
            verdict = await self._verdict(said, direction, judges)
        except TooMuchText as much:
            self._note(self.identity, direction, "failed")
            raise TextTooLong(f"the shield `{self.identity}` can't check this: {much}; send less") from None
        except (ShieldFailed, ProviderFailed, TimeoutError) as failure:
            raise self._unavailable(direction, failure) from None
        outcome = "flagged" if verdict.flagged else "masked" if verdict.masked is not None else "passed"
        self._note(self.identity, direction, outcome)
        return verdict

    async def _verdict(self, said: Sequence[Said], direction: Direction, judges: Judges) -> Verdict:
        if sum(len(each.text) for each in said) > MOST_CHARACTERS:
            raise TooMuchText(f"the texts have more than {MOST_CHARACTERS} characters")
        async with self._shares.turn(), asyncio.timeout(self._timeout):
            return await self._shield.check(said, direction, judges)

    def _unavailable(self, direction: Direction, failure: Exception) -> ShieldUnavailable:
        """Log and count a failure, and return the exception for it."""
        reason = "it did not answer in time" if isinstance(failure, TimeoutError) else str(failure)
        _log.warning("the shield `%s` has failed, and there is no verdict: %s", self.identity, reason)
        self._note(self.identity, direction, "failed")
        sentence = f"the shield `{self.identity}` gave no verdict, so nothing passes it; try again later"
        # The text may be why a model refuses a request, such as one that is too long for it: a caller's choice.
        is_refused = isinstance(failure, ProviderFailed) and failure.fault is Fault.REQUEST
        return ShieldUnavailable(sentence) if is_refused else NoVerdict(sentence)

    def passed_by(self, direction: Direction) -> None:
        """Log and count that texts pass although there is no verdict, as the params of the shield say."""
        _log.error("the shield `%s` lets texts pass unchecked, as its `on_error` says", self.identity)
        self._note(self.identity, direction, "unchecked")


@dataclass(frozen=True, slots=True)
class UsableShield:
    """A shield with the models that judge for it.

    On the sides of `only_tells` it stops and masks nothing. If it `tells`, the caller gets its results. If a rule
    requires it, it is `required`, and nothing passes it when it fails.
    """

    running: RunningShield
    judges: Judges
    only_tells: frozenset[Direction] = frozenset()
    tells: bool = False
    required: bool = False
