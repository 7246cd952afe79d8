"""The provider `api_key`: keys that `ostiary key create` made."""

from __future__ import annotations

import asyncio
import hmac
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from starlette.types import Scope

from policy.issuers import API_KEYS
from policy.vocabulary import Principal
from server.authn.authenticator import AuthenticationFailed
from server.authn.caching import Validated
from server.authn.key_store import KeyStore, KeyStoreUnusable, hash_of
from server.authn.limits import KNOWN_KEYS, UNKNOWN_KEYS
from server.net.http_client import ServiceFailed

ISSUER: Final = API_KEYS
"""The issuer of the principals of API keys."""

_FORM: Final = re.compile(r"ost_([a-z0-9]{12})_([A-Za-z0-9_-]{43})")
_NO_HASH: Final = bytes(32)


class ApiKeyValidator:
    """Looks a key up by its id and compares its secret's hash, in the same time whether or not the id exists."""

    service: Final = "the store of keys"

    def __init__(self, store: KeyStore, now: Callable[[], float] = time.time) -> None:
        self._store = store
        self._now = now
        # Threads of its own: lookups of made-up keys must not occupy those that the whole server shares.
        self._threads = ThreadPoolExecutor(KNOWN_KEYS.capacity + UNKNOWN_KEYS.capacity, "api-keys")

    async def validate(self, token: str, request: Scope) -> Validated:
        """Return the caller of the key; raise only `AuthenticationFailed` or `ServiceFailed`."""
        form = _FORM.fullmatch(token)
        if form is None:
            raise AuthenticationFailed("the token is not an API key")
        try:
            key = await asyncio.get_running_loop().run_in_executor(self._threads, self._store.find, form[1])
        except KeyStoreUnusable as failure:
            raise ServiceFailed(str(failure)) from None
        fits = hmac.compare_digest(hash_of(form[2]), _NO_HASH if key is None else key.secret_hash)
        if key is None or not fits or not key.is_good(self._now()):
            raise AuthenticationFailed("the API key is not valid")
        return Validated(Principal(key.principal, ISSUER, key.attributes), key.expires_at)

    async def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False)
