"""Credentials of the requests to one provider."""

from __future__ import annotations

from typing import Protocol

from server.inference.providers.dialects import Dialect
from server.inference.providers.keys import Key


class Credentials(Protocol):
    """Proves to one provider who asks."""

    @property
    def signs(self) -> bool:
        """True if the headers depend on the body."""
        ...

    async def headers(self, url: str, body: bytes, digest: str = "") -> dict[str, str]:
        """Return the headers for a request with this body; raises ProviderFailed if there are none to be had.

        Of a body that isn't in memory the SHA-256 is given in its place, in hexadecimal.
        """
        ...


class KeyInHeader:
    """A key that each request carries in the header of a dialect; without a key, requests carry none."""

    signs = False

    def __init__(self, dialect: Dialect, key: Key | None) -> None:
        self._name, self._prefix, self._key = dialect.key_header, dialect.key_prefix, key

    async def headers(self, url: str, body: bytes, digest: str = "") -> dict[str, str]:
        """Return the header with the key."""
        return {} if self._key is None else {self._name: f"{self._prefix}{await self._key.text()}"}
