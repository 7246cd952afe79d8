"""The keys of an issuer over time: fetched once for all concurrent callers, rechecked, and dropped when too old."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from typing import Final

from server.authn.allowance import Allowance, SharedAllowance
from server.authn.authenticator import IdentityUnavailable
from server.authn.key_source import KeyEndpoint
from server.authn.keys import KeySet, parse_key_set
from server.authn.limits import AHEAD_SECONDS, MAX_REMEMBERED
from server.fairness.caller import Caller
from server.net.http_client import ServiceFailed

MAX_STALE_SECONDS: Final = 24 * 3600.0
"""Seconds for which the last valid keys serve while the endpoint fails, from their last confirmation."""

RETRY_SECONDS: Final = 5.0
"""Seconds after a failed reading until one that is due is retried."""

REREAD_RETRY_SECONDS: Final = 1.0
"""Seconds after a failed reading until one that a token asks for is retried."""

REREADINGS: Final = 5
"""Readings that tokens may ask for in a row; failed ones don't count."""

REREAD_SECONDS: Final = 10.0
"""Seconds after which they may ask for another one; a new key is noticed after this time at the latest."""

QUIET_SECONDS: Final = 60.0
"""Seconds after which the tokens of an address may ask for the readings that are kept for those that ask rarely."""

_log: Final = logging.getLogger(__name__)


class KeySource:
    """The current keys of one issuer. Belongs to one event loop; `clock` counts seconds and never runs backwards."""

    def __init__(
        self, endpoint: KeyEndpoint, recheck_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._endpoint = endpoint
        self._recheck_seconds = recheck_seconds
        self._clock = clock
        self._content = b""
        self._keys: KeySet | None = None
        self._confirmed_at = -math.inf
        self._failed_at = -math.inf
        self._has_failed = False
        self._allowance = SharedAllowance(
            REREADINGS, REREAD_SECONDS, clock, quiet=QUIET_SECONDS, remembered=MAX_REMEMBERED
        )
        self._reading: asyncio.Task[None] | None = None
        self.readings = 0
        """The number of readings that have begun."""
        self.read = 0
        """The number of the reading that the keys come from."""

    async def current(self) -> KeySet:
        """Return the keys, at most `recheck_seconds` old while the endpoint answers; unchanged keys are the same
        object.

        A recheck begins shortly before it is due, while callers get the last keys. Once it is due, they wait for it;
        when it has failed, they get the last valid keys while it is retried, for 24 hours. Raises `IdentityUnavailable`
        where there is no usable key.
        """
        now = self._clock()
        due_at = self._confirmed_at + self._recheck_seconds
        begins_at = due_at - min(AHEAD_SECONDS, self._recheck_seconds / 2)
        if self._keys is None or now >= begins_at:
            if now >= self._failed_at + RETRY_SECONDS:
                self._read_once()
            # After a failed recheck the last valid keys serve at once, so that callers don't wait for each retry.
            if self._keys is None or (now >= due_at and self._failed_at < begins_at):
                await self._finish_reading()
        return self.usable()

    async def reread(self, caller: Caller) -> None:
        """Finish the current reading of the keys, or one that begins now.

        Raises `IdentityUnavailable` where that fails, and where none may begin yet: tokens that name invented keys must
        not determine how often the endpoint is read. A `caller` that uses up what is allowed leaves others some.
        """
        if self._reading is None or self._reading.done():
            pause = self._failed_at + REREAD_RETRY_SECONDS - self._clock() if self._has_failed else 0.0
            allowance = self._allowance.of(caller)
            wait = max(allowance.wait(), pause)
            if wait > 0:
                sentence = "the issuer's keys can't be read again yet"
                raise IdentityUnavailable(sentence, math.ceil(wait), is_outage=pause > 0)
            self._read_once(allowance)
        await self._finish_reading()
        if self._has_failed:
            raise IdentityUnavailable("the issuer's keys can't be read now", math.ceil(REREAD_RETRY_SECONDS))

    def usable(self) -> KeySet:
        """Return the last valid keys; raise `IdentityUnavailable` where there are none, or where they are too old."""
        if self._keys is None or self._clock() >= self._confirmed_at + max(MAX_STALE_SECONDS, self._recheck_seconds):
            raise IdentityUnavailable("the keys that tokens are verified with are not available")
        return self._keys

    def _read_once(self, allowance: Allowance | None = None) -> None:
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read(allowance))

    async def _finish_reading(self) -> None:
        if self._reading is not None:
            # Shielded: a client that disconnects must not cancel the reading that others wait for.
            await asyncio.shield(self._reading)

    async def _read(self, allowance: Allowance | None) -> None:
        self.readings += 1
        reading = self.readings
        try:
            content = await self._endpoint.read()
            keys = self._keys if self._keys is not None and content == self._content else parse_key_set(content)
        except (ServiceFailed, ValueError) as failure:
            self._fail()
            _log.warning("the keys at `%s` could not be read: %s", self._endpoint.address, failure)
            return
        if not keys.keys:
            # The issuer has withdrawn every key: the last valid ones must not outlive that.
            self._keys = None
            self._fail()
            _log.warning("the keys at `%s` hold none that can verify a token", self._endpoint.address)
            return
        if allowance is not None:
            # Stored here, not where the reading began: the callers that asked for it may be cancelled.
            allowance.use()
        self._content, self._keys, self._confirmed_at = content, keys, self._clock()
        self.read, self._has_failed = reading, False

    def _fail(self) -> None:
        self._failed_at, self._has_failed = self._clock(), True
