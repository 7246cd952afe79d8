"""Stamps: pseudonyms of what a caller names at a provider, such as its end user or a cache.

All callers share the account at a provider. A stamp keeps one caller's names apart from another's, and tells the
provider nothing about either.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
from collections.abc import Callable
from functools import partial
from typing import Final

from server.authn.pseudonyms import PseudonymKeyUnusable
from server.fairness.caller import Caller

_DIGITS: Final = 32

_log: Final = logging.getLogger("ostiary.authn")


class Stamps:
    """Makes stamps with the key that `read_key` returns; it is called once, when the first stamp is made.

    Without a key that can be read, this process uses one of its own, and its stamps end with it.
    """

    def __init__(self, read_key: Callable[[], bytes]) -> None:
        self._read_key = read_key
        self._key: bytes | None = None

    def by(self, caller: Caller) -> Callable[[str, str], str]:
        """Return the stamp of this caller, a function of a member's name and its value."""
        return partial(self._stamp, caller)

    def _stamp(self, caller: Caller, name: str, value: str) -> str:
        """Return `name-` and 32 hexadecimal digits, determined by the key and all that is given."""
        # Lengths in front: two ways to cut the same text are two texts.
        parts = [part.encode("utf-8", "surrogatepass") for part in (*caller, name, value)]
        text = b"".join(b"%d:%b" % (len(part), part) for part in parts)
        return f"name-{hmac.new(self._own_key(), text, hashlib.sha256).hexdigest()[:_DIGITS]}"

    def _own_key(self) -> bytes:
        if self._key is None:
            try:
                self._key = self._read_key()
            except PseudonymKeyUnusable as fault:
                _log.warning("%s; names that callers give providers are hidden by a key of this process", fault)
                self._key = secrets.token_bytes(32)
        return self._key
