"""The public keys of an issuer: a JWK Set (RFC 7517), parsed once, with only the keys that may verify a token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from jose import jwk
from jose.backends.base import Key

from server.authn.strict import decode_base64url, is_plain, read_object

MAX_KEYS: Final = 100
MIN_RSA_BITS: Final = 2048
MAX_KID_LENGTH: Final = 256

RSA_ALGORITHMS: Final = ("RS256", "RS384", "RS512")
CURVES: Final[Mapping[str, str]] = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
"""The one algorithm of each curve (RFC 7518 section 3.4)."""

ALGORITHMS: Final = frozenset((*RSA_ALGORITHMS, *CURVES.values()))
"""What a token may be signed with. python-jose has no PS256/384/512 and no EdDSA, so keys for those are unusable."""


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """One public key, ready for each algorithm that its JWK allows; `kid` is None where the issuer gives it no name."""

    kid: str | None
    verifiers: Mapping[str, Key]


@dataclass(frozen=True, slots=True)
class KeySet:
    """The usable keys of an issuer at one moment, in the issuer's order."""

    keys: tuple[VerificationKey, ...]


def parse_key_set(content: bytes) -> KeySet:
    """The usable keys of a JWK Set, perhaps none.

    A key is left out unless it is an RSA key of at least 2048 bits or a key on P-256, P-384 or P-521, meant for
    signatures (`use`, `key_ops`, `alg` where present), and public: a set that publishes a private key has lost it.
    Raises ValueError, with a sentence for the operator, where `content` is no JWK Set or has over 100 keys.
    """
    try:
        found = read_object(content).get("keys")
    except ValueError:
        found = None
    if not isinstance(found, list):
        raise ValueError("the content is not a JWK Set")  # noqa: TRY004 - wrong content
    if len(found) > MAX_KEYS:
        raise ValueError(f"the JWK Set has more than {MAX_KEYS} keys")
    return KeySet(tuple(key for entry in found if (key := _usable(entry)) is not None))


def _usable(entry: object) -> VerificationKey | None:
    if not isinstance(entry, dict) or "d" in entry or entry.get("use", "sig") != "sig":
        return None
    kid, operations = entry.get("kid"), entry.get("key_ops", ["verify"])
    if "kid" in entry and not is_plain(kid, MAX_KID_LENGTH):
        return None
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    try:
        members, algorithms = _public_part(entry)
        if "alg" in entry:
            algorithms = tuple(name for name in algorithms if name == entry["alg"])
        verifiers = {name: jwk.construct(members, name) for name in algorithms}
    except Exception:  # noqa: BLE001 - the parser below python-jose raises many kinds; a key it can't read isn't usable
        return None
    return VerificationKey(kid, verifiers) if verifiers else None


def _public_part(entry: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The members that make up the public key, and the algorithms that fit its kind."""
    if entry["kty"] == "RSA":
        long_enough = int.from_bytes(decode_base64url(entry["n"]), "big").bit_length() >= MIN_RSA_BITS
        return {name: entry[name] for name in ("kty", "n", "e")}, RSA_ALGORITHMS if long_enough else ()
    if entry["kty"] == "EC":
        return {name: entry[name] for name in ("kty", "crv", "x", "y")}, (CURVES[entry["crv"]],)
    return {}, ()
