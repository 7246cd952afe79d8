"""Tokens for a run: an issuer, its users' tokens, and forged ones."""

from __future__ import annotations

import time
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from json import dumps
from os import urandom
from typing import Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jose import jwk, jws
from jose.backends.base import Key

ISSUER: Final = "bench"
AUDIENCE: Final = "ostiary"
ALGORITHM: Final = "RS256"

_KID: Final = "bench-key"
_LIFETIME: Final = 3600


@dataclass(frozen=True, slots=True)
class Tokens:
    """`good` ones belong to developers; each of `forged` has the same claims, with a signature that fits no key."""

    jwks: bytes
    good: Sequence[str]
    forged: Sequence[str]


@dataclass(frozen=True, slots=True)
class Issuer:
    """A key that signs tokens; `jwks` is its public half."""

    pem: str
    jwks: bytes

    def token(self, subject: str, teams: Sequence[str] = ("ml", "search"), kid: str = _KID) -> str:
        """Return a developer's token for an hour."""
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "iat": now, "exp": now + _LIFETIME}
        claims |= {"roles": ["developer"], "teams": [*teams]}
        return jws.sign(claims, _key(self.pem), headers={"kid": kid}, algorithm=ALGORITHM)


@cache
def _key(pem: str) -> Key:
    """Return the key, which takes far longer to be loaded than to sign."""
    return jwk.construct(pem, ALGORITHM)


def issuer() -> Issuer:
    """Return an issuer with a new key."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    public = jwk.construct(pem, ALGORITHM).public_key().to_dict()
    return Issuer(pem, dumps({"keys": [{**public, "use": "sig", "kid": _KID}]}).encode())


def make(users: int = 16, forgeries: int = 512) -> Tokens:
    """Return a new key, and tokens for an hour."""
    new = issuer()
    good = [new.token(f"user-{index}") for index in range(users)]
    return Tokens(new.jwks, good, [forged(good[index % users]) for index in range(forgeries)])


def forged(token: str) -> str:
    """Return the token with a random signature."""
    signed, _, signature = token.rpartition(".")
    # As long as a real one, so that it isn't refused for its length.
    made_up = urlsafe_b64encode(b"\0" + urandom(len(signature) * 3 // 4 - 1)).rstrip(b"=").decode()
    return f"{signed}.{made_up}"
