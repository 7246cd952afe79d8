"""The provider `oauth2_token`: JWTs of one issuer, verified with its published keys."""

from __future__ import annotations

import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from starlette.types import Scope

from policy.claims import DEFAULT_CLAIMS
from policy.vocabulary import Principal
from server.authn.attributes import ClaimsMapping
from server.authn.caching import REFUSAL_SECONDS
from server.authn.jwks import KeySource
from server.authn.key_source import open_endpoint
from server.authn.keys import KeySet
from server.authn.token_rules import LEEWAY_SECONDS, TokenRules
from server.authn.verify import KeyNotFound, verify

MAX_CACHED_TOKENS: Final = 10_000
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
        self._verified: OrderedDict[bytes, tuple[Principal, float]] = OrderedDict()
        self._refused: OrderedDict[bytes, float] = OrderedDict()

    async def authenticate(self, token: str, _request: Scope, /) -> Principal:
        """Return the principal of `token`; raise only `AuthenticationFailed` or `IdentityUnavailable`."""
        begun = self._source.readings
        keys = await self._source.current()
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        while True:
            try:
                return self._admit(token, digest, keys)
            except KeyNotFound:
                if self._clock() < self._refused.get(digest, -math.inf):
                    raise
                # Only keys that were read after the token came prove that its key doesn't exist.
                if self._source.read > begun:
                    self._refuse(digest)
                    raise
            keys = await self._source.reread()

    async def close(self) -> None:
        """Do nothing: no connection stays open between two readings of the keys."""

    def _refuse(self, digest: bytes) -> None:
        """Cache a token whose key doesn't exist, so that repeating it doesn't use up the rereadings."""
        self._refused[digest] = self._clock() + REFUSAL_SECONDS
        self._refused.move_to_end(digest)
        if len(self._refused) > MAX_CACHED_TOKENS:
            self._refused.popitem(last=False)

    def _admit(self, token: str, digest: bytes, keys: KeySet) -> Principal:
        if keys is not self._keys:
            self._verified.clear()
            self._keys = keys
        now = self._now()
        principal, expires = self._verified.get(digest, (None, 0))
        if principal is not None and now < expires:
            self._verified.move_to_end(digest)
            return principal
        verified = verify(token, self._rules, keys, now)
        principal = Principal(
            id=verified.subject,
            issuer=verified.issuer or self._unnamed_issuer,
            attributes=self._mapping.attributes(verified.claims),
        )
        self._verified[digest] = principal, verified.expires
        if len(self._verified) > MAX_CACHED_TOKENS:
            self._verified.popitem(last=False)
        return principal
