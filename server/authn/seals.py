"""Seals: texts that clients keep for the server, and can neither read nor change nor pass on.

A seal is authenticated encryption (AES-GCM). It opens for the caller that it was made for, until its end.
"""

from __future__ import annotations

import hashlib
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from server.fairness.caller import Caller

_PREFIX: Final = "seal1."
_NAME_BYTES: Final = 8
_NONCE_BYTES: Final = 12
_TIME_BYTES: Final = 8


class Unopened(Exception):
    """Raised for a text that is no seal for this caller; `expired` if it was one, and its time is over."""

    def __init__(self, *, expired: bool = False) -> None:
        super().__init__("the seal does not open")
        self.expired = expired


class Seals:
    """Makes and opens seals with the keys that `read_keys` returns, of any length; it is called once, when needed.

    The first key makes seals, and each of them opens those that it made.
    """

    def __init__(self, read_keys: Callable[[], Sequence[bytes]]) -> None:
        self._read_keys = read_keys
        self._keys: dict[bytes, AESGCM] = {}

    def sealed(self, caller: Caller, text: str, until: int, use: Sequence[str] = ()) -> str:
        """Return the seal of a text for this caller, which opens until then, in seconds since 1970.

        It opens for the same `use` alone: the kind of the text, and what else it belongs to.
        """
        name, key = next(iter(self._all().items()))
        nonce = secrets.token_bytes(_NONCE_BYTES)
        plain = until.to_bytes(_TIME_BYTES) + text.encode("utf-8", "surrogatepass")
        found = key.encrypt(nonce, plain, _bound(caller, name, use))
        return _written(name + nonce + found)

    def opened(self, caller: Caller, seal: str, now: int, use: Sequence[str] = ()) -> str:
        """Return the text of a seal for that use; raises Unopened."""
        try:
            found = urlsafe_b64decode(seal.removeprefix(_PREFIX).encode("ascii"))
        except ValueError:
            raise Unopened from None
        # The decoder passes over much that no seal has.
        if _written(found) != seal:
            raise Unopened
        name, rest = found[:_NAME_BYTES], found[_NAME_BYTES:]
        key = self._all().get(name)
        if key is None:
            raise Unopened
        try:
            plain = key.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], _bound(caller, name, use))
        except (InvalidTag, ValueError):
            raise Unopened from None
        if int.from_bytes(plain[:_TIME_BYTES]) < now:
            raise Unopened(expired=True)
        return plain[_TIME_BYTES:].decode("utf-8", "surrogatepass")

    def _all(self) -> dict[bytes, AESGCM]:
        if not self._keys:
            digests = [hashlib.sha256(b"ostiary seals\0" + key).digest() for key in self._read_keys()]
            self._keys = {hashlib.sha256(b"name\0" + each).digest()[:_NAME_BYTES]: AESGCM(each) for each in digests}
        return self._keys


def _written(seal: bytes) -> str:
    return _PREFIX + urlsafe_b64encode(seal).decode()


def _bound(caller: Caller, name: bytes, use: Sequence[str]) -> bytes:
    """Return what a seal is bound to. Lengths in front: two ways to cut the same text are two texts."""
    who = _measured(name, *(part.encode("utf-8", "surrogatepass") for part in caller))
    return who + b"use:" + _measured(*(part.encode("utf-8", "surrogatepass") for part in use)) if use else who


def _measured(*parts: bytes) -> bytes:
    return b"".join(b"%d:%b" % (len(part), part) for part in parts)
