"""The caller for whom the lines of a batch are run, as it has shown itself last."""

from __future__ import annotations

import time
from typing import Final

from policy.vocabulary import Anonymous, Principal
from server.api.responses.background.callers import Callers
from server.http.acting import Acting
from server.storage.records.record import Record
from server.storage.records.waiting import asker_of

KNOWN_SECONDS: Final = 1.0
"""Seconds for which a process goes by what it has read of a caller in the database."""


class ActingCaller:
    """The caller of `work`, `known` as it was last; the server acts for it for `longest` seconds after that.

    `address` is that of a caller without a token.
    """

    def __init__(self, callers: Callers, work: Record, longest: int) -> None:
        self._callers = callers
        self._work = work
        self._longest = longest
        self._read_at: float | None = None
        self._at = 0.0
        self.known: Principal | None = None
        _, self.address = asker_of(work)

    def acting(self, *, is_paid: bool) -> Acting:
        """Return what makes a request one of the caller, as it is known."""
        return Acting(Anonymous() if self.known is None else self.known, self.address, is_paid=is_paid)

    async def newest(self) -> Principal | None:
        """Return the caller; None for one without a token. Raises DatabaseUnavailable and NoRoom."""
        now = time.monotonic()
        if self._read_at is None or now - self._read_at > KNOWN_SECONDS:
            self._at, self.known = await self._callers.newest_at(self._work)
            self._read_at = now
        elif (here := self._callers.here(self._work)) is not None and here[0] > self._at:
            self._at, self.known = here
        return self.known

    @property
    def may_act(self) -> bool:
        """False once the caller was not there for too long."""
        # Of a caller without a token nothing is known that could change.
        return self.known is None or self._at + self._longest > time.time()
