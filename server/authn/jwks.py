"""The keys of an issuer over time: fetched once for everyone who waits, rechecked, never trusted for too long."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from typing import Final

from server.authn.authenticator import IdentityUnavailable
from server.authn.endpoint import Endpoint
from server.authn.exchange import ExchangeFailed
from server.authn.keys import KeySet, parse_key_set

MAX_STALE_SECONDS: Final = 24 * 3600.0
"""How long the last good keys serve while the endpoint fails, from the moment when they were last confirmed."""

RETRY_SECONDS: Final = 5.0
"""Pause after a failed reading."""

REFETCH_WINDOW_SECONDS: Final = 60.0
"""However many tokens name unknown keys, they cause one reading in this time."""

_log: Final = logging.getLogger(__name__)


class KeySource:
    """The current keys of one issuer. Belongs to one event loop; `clock` counts seconds and never runs backwards."""

    def __init__(self, endpoint: Endpoint, recheck_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._endpoint = endpoint
        self._recheck_seconds = recheck_seconds
        self._clock = clock
        self._content = b""
        self._keys: KeySet | None = None
        self._confirmed_at = -math.inf
        self._failed_at = -math.inf
        self._refetched_at = -math.inf
        self._reading: asyncio.Task[None] | None = None

    async def current(self) -> KeySet:
        """The keys, at most `recheck_seconds` old while the endpoint answers; unchanged keys are the same object.

        Once a recheck is due, callers wait for it; when it has failed, they get the last good keys while it is retried,
        for 24 hours. Raises `IdentityUnavailable` where no usable key is at hand.
        """
        now = self._clock()
        due_at = self._confirmed_at + self._recheck_seconds
        if self._keys is None or now >= due_at:
            if now >= self._failed_at + RETRY_SECONDS:
                self._read_once()
            # Waiting is for those who have nothing better: after a failure the last good keys serve at once.
            if self._keys is None or self._failed_at < due_at:
                await self._finish_reading()
        return self._usable()

    async def refetch(self) -> KeySet:
        """The keys, read anew because a token names one that they lack; once in 60 seconds, in between as they are."""
        now = self._clock()
        if now >= self._refetched_at + REFETCH_WINDOW_SECONDS:
            self._refetched_at = now
            self._read_once()
        await self._finish_reading()
        return self._usable()

    def _usable(self) -> KeySet:
        if self._keys is None or self._clock() >= self._confirmed_at + max(MAX_STALE_SECONDS, self._recheck_seconds):
            raise IdentityUnavailable("the keys that tokens are verified with are not available")
        return self._keys

    def _read_once(self) -> None:
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())

    async def _finish_reading(self) -> None:
        if self._reading is not None:
            # Shielded: one caller who hangs up must not end the reading that the others wait for.
            await asyncio.shield(self._reading)

    async def _read(self) -> None:
        try:
            content = await self._endpoint.read()
            keys = self._keys if self._keys is not None and content == self._content else parse_key_set(content)
        except (ExchangeFailed, ValueError) as failure:
            self._failed_at = self._clock()
            _log.warning("the keys at `%s` could not be read: %s", self._endpoint.address, failure)
            return
        if not keys.keys:
            # The issuer has withdrawn every key: the last good ones must not outlive that.
            self._keys, self._failed_at = None, self._clock()
            _log.warning("the keys at `%s` hold none that can verify a token", self._endpoint.address)
            return
        self._content, self._keys, self._confirmed_at = content, keys, self._clock()
