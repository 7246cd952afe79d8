"""Credentials of the requests to one provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from server.inference.providers.dialects import Dialect


class Credentials(Protocol):
    """Proves to one provider who asks."""

    async def headers(self, url: str, body: bytes) -> dict[str, str]:
        """Return the headers for a request with this body; raises ProviderFailed if there are none to be had."""
        ...


class KeyInHeader:
    """A key that each request carries in the header of a dialect; without a key, requests carry none."""

    def __init__(self, dialect: Dialect, key: str | None) -> None:
        self._headers: Mapping[str, str] = {dialect.key_header: f"{dialect.key_prefix}{key}"} if key else {}

    async def headers(self, url: str, body: bytes) -> dict[str, str]:
        """Return the header with the key."""
        return dict(self._headers)
