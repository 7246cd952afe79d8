"""The provider `oauth2_token`: JWTs of one issuer, verified with its published keys."""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from starlette.types import Scope

from policy.claims import DEFAULT_CLAIMS
from policy.vocabulary import Principal
from server.authn.attributes import ClaimsMapping
from server.authn.jwks import KeySource
from server.authn.key_source import open_endpoint
from server.authn.keys import KeySet
from server.authn.limits import CHECKS, MAX_CACHED_TOKENS, MAX_REMEMBERED_BYTES, REFUSAL_SECONDS
from server.authn.token_rules import LEEWAY_SECONDS, TokenRules
from server.authn.unknown_caller import caller_in, known_caller
from server.authn.verify import KeyNotFound, verify
from server.fairness.remembered import Remembered, bytes_of
from server.fairness.shares import FairShares

DEFAULT_MAPPING: Final = ClaimsMapping(DEFAULT_CLAIMS, is_default=True)


@dataclass(frozen=True, slots=True)
class OAuth2Settings:
    """The settings of one issuer.

    `issuer` None: `iss` isn't checked, so that the signer names its own issuer (see `OAuth2Authenticator`). `audience`
    None: `aud` isn't checked, so tokens made for other services are accepted. `jwks_token` is the bearer token for the
    key endpoint, and `jwks_token_file` a file that holds it; `claims_mapping` replaces the default as a whole. The
    hosts in `allow_http` may be reached without encryption; times may be `leeway` seconds off.
    """

    jwks_uri: str
    issuer: str | None = None
    audience: str | None = None
    jwks_token: str | None = field(default=None, repr=False)
    jwks_token_file: Path | None = None
    key_recheck_seconds: float = 3600.0
    tls_cafile: Path | None = None
    verify_tls: bool = True
    claims_mapping: ClaimsMapping = DEFAULT_MAPPING
    allow_http: tuple[str, ...] = ()
    leeway: int = LEEWAY_SECONDS


class OAuth2Authenticator:
    """Turns a JWT into its principal: `sub`, the issuer, and the attributes of the claims mapping.

    The principal's issuer is the token's `iss`; where a token has none, which is only accepted without a configured
    issuer, it is the address of the keys without its query. An unchecked `iss` therefore still separates the subjects
    of several issuers that share a key set. `now` gives seconds since 1970.
    """

    def __init__(
        self,
        settings: OAuth2Settings,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Fetch nothing yet; raise ValueError, with a sentence, for settings that can't work."""
        endpoint = open_endpoint(
            settings.jwks_uri,
            token=settings.jwks_token,
            tls_cafile=settings.tls_cafile,
            verify_tls=settings.verify_tls,
            token_file=settings.jwks_token_file,
            allow_http=settings.allow_http,
        )
        self._rules = TokenRules(settings.issuer, settings.audience, settings.leeway)
        self._mapping = settings.claims_mapping
        self._unnamed_issuer = endpoint.address
        self._source = KeySource(endpoint, settings.key_recheck_seconds, clock)
        self._now = now
        self._clock = clock
        self._keys: KeySet | None = None
        self._verified: Remembered[tuple[Principal, float]] = Remembered(MAX_CACHED_TOKENS, MAX_REMEMBERED_BYTES)
        self._refused: Remembered[float] = Remembered(MAX_CACHED_TOKENS)
        self._checks = FairShares(CHECKS)

    async def authenticate(self, token: str, request: Scope, /) -> Principal:
        """Return the principal of `token`; raise only `AuthenticationFailed`, `IdentityUnavailable` or `NoRoom`."""
        begun = self._source.readings
        keys = await self._source.current()
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._known(digest, keys)
        if known is not None:
            return known
        caller = caller_in(request)
        while True:
            # Few checks are made in one turn of the event loop, and each address has its turn.
            turn = await self._checks.take(caller=caller)
            read = self._source.read
            try:
                return self._check(token, digest, self._source.usable())
            except KeyNotFound:
                if self._clock() < (self._refused.get(digest) or -math.inf):
                    raise
                # Only keys that were read after the token came prove that its key doesn't exist.
                if read > begun:
                    # Cached, so that repeating the token doesn't use up the rereadings.
                    self._refused.put(digest, self._clock() + REFUSAL_SECONDS, caller)
                    raise
            finally:
                # Not now: what else is due comes before the next check.
                asyncio.get_running_loop().call_soon(turn.end)
            await self._source.reread(caller)

    async def close(self) -> None:
        """Do nothing: no connection stays open between two readings of the keys."""

    def _known(self, digest: bytes, keys: KeySet) -> Principal | None:
        """Return the principal of a token that these keys verified before, unless it is over."""
        if keys is not self._keys:
            self._verified.clear()
            self._keys = keys
        principal, expires = self._verified.get(digest) or (None, 0.0)
        if principal is None or self._now() >= expires:
            return None
        self._verified.use(digest)
        return principal

    def _check(self, token: str, digest: bytes, keys: KeySet) -> Principal:
        """Verify a token, unless another request with it did while this one waited for its turn."""
        known = self._known(digest, keys)
        if known is not None:
            return known
        verified = verify(token, self._rules, keys, self._now())
        principal = Principal(
            id=verified.subject,
            issuer=verified.issuer or self._unnamed_issuer,
            attributes=self._mapping.attributes(verified.claims),
        )
        self._verified.put(digest, (principal, verified.expires), known_caller(principal), bytes_of(principal))
        return principal
