"""Credentials of the requests to one provider."""

from __future__ import annotations

from typing import Protocol

from server.inference.providers.dialects import Dialect
from server.inference.providers.keys import Key


class Credentials(Protocol):
    """Proves to one provider who asks."""

    async def headers(self, url: str, body: bytes) -> dict[str, str]:
        """Return the headers for a request with this body; raises ProviderFailed if there are none to be had."""
        ...


class KeyInHeader:
    """A key that each request carries in the header of a dialect; without a key, requests carry none."""

    def __init__(self, dialect: Dialect, key: Key | None) -> None:
        self._name, self._prefix, self._key = dialect.key_header, dialect.key_prefix, key

    async def headers(self, url: str, body: bytes) -> dict[str, str]:
        """Return the header with the key."""
        return {} if self._key is None else {self._name: f"{self._prefix}{await self._key.text()}"}
