"""JSON Web Key Sets (RFC 7517): parsed once, with only the keys that may verify a token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from jose import jwk
from jose.backends.base import Key

from server.authn.strict_json import decode_base64url, is_plain, read_forgiving

MAX_KEYS: Final = 100
MIN_RSA_BITS: Final = 2048
MAX_KID_LENGTH: Final = 256

RSA_ALGORITHMS: Final = ("RS256", "RS384", "RS512")
CURVES: Final[Mapping[str, str]] = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
"""The one algorithm of each curve (RFC 7518 section 3.4)."""

ALGORITHMS: Final = frozenset((*RSA_ALGORITHMS, *CURVES.values()))
"""The accepted signature algorithms. python-jose has no PS256/384/512 and no EdDSA, so keys for those are unusable."""


_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
"""Members of private and symmetric keys (RFC 7518 sections 6.2.2, 6.3.2, 6.4)."""


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """One public key, ready for each algorithm that its JWK allows; `kid` is None where the issuer gives it no name.

    `material` is equal for two entries of the same public key, as their RFC 7638 thumbprints are, however its numbers
    are spelled.
    """

    kid: str | None
    verifiers: Mapping[str, Key]
    material: tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class KeySet:
    """The usable keys of an issuer at one moment, in the issuer's order."""

    keys: tuple[VerificationKey, ...]

    def named(self, kid: str | None) -> tuple[VerificationKey, ...]:
        """Return the keys with that `kid`; all of them where `kid` is None."""
        return self.keys if kid is None else tuple(key for key in self.keys if key.kid == kid)

    def fitting(self, kid: str | None, algorithm: str) -> tuple[Key, ...]:
        """Return a verifier for each distinct key with that `kid` (None: any) that may verify `algorithm`.

        Several entries, of one key or of different kinds, may share a `kid` (RFC 7517 section 4.5).
        """
        distinct = {key.material: key.verifiers[algorithm] for key in self.named(kid) if algorithm in key.verifiers}
        return tuple(distinct.values())


def parse_key_set(content: bytes) -> KeySet:
    """Return the usable keys of a JWK Set, perhaps none.

    A key is left out unless it is an RSA key of at least 2048 bits or a key on P-256, P-384 or P-521, meant for
    signatures (`use`, `key_ops`, `alg` where present), and public: a published private key is compromised. A member
    that is null counts as absent, and so does a `kid` that is no name (a number, empty, too long). Raises ValueError,
    with a sentence for the operator, where `content` is no JWK Set or has over 100 keys.
    """
    try:
        found = read_forgiving(content).get("keys")
    except ValueError:
        found = None
    if not isinstance(found, list):
        raise ValueError("the content is not a JWK Set")  # noqa: TRY004 - wrong content
    if len(found) > MAX_KEYS:
        raise ValueError(f"the JWK Set has more than {MAX_KEYS} keys")
    # Some libraries write every member that a key can have, unused ones as null.
    entries = [{name: one[name] for name in one if one[name] is not None} for one in found if isinstance(one, dict)]
    lost = {_material(entry) for entry in entries if not _PRIVATE.isdisjoint(entry)}
    keys = (_usable(entry) for entry in entries)
    return KeySet(tuple(key for key in keys if key is not None and key.material not in lost))


def _material(entry: dict[str, Any]) -> tuple[str | int, ...]:
    try:
        return _public_part(entry)[2]
    except Exception:  # noqa: BLE001 - an entry that can't be read is no key
        return ()


def _usable(entry: dict[str, Any]) -> VerificationKey | None:
    if entry.get("use", "sig") != "sig":
        return None
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    try:
        members, algorithms, material = _public_part(entry)
        if "alg" in entry:
            algorithms = tuple(name for name in algorithms if name == entry["alg"])
        verifiers = {name: jwk.construct(members, name) for name in algorithms}
    except Exception:  # noqa: BLE001 - the parser below python-jose raises many kinds; a key it can't read isn't usable
        return None
    kid = entry.get("kid")
    named = kid if is_plain(kid, MAX_KID_LENGTH) else None
    return VerificationKey(named, verifiers, material) if verifiers else None


def _public_part(entry: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...], tuple[str | int, ...]]:
    """Return the members that make up the public key, the algorithms that fit its kind, and its `material`."""
    if entry["kty"] == "RSA":
        modulus, exponent = _number(entry["n"]), _number(entry["e"])
        algorithms = RSA_ALGORITHMS if modulus.bit_length() >= MIN_RSA_BITS else ()
        return {name: entry[name] for name in ("kty", "n", "e")}, algorithms, ("RSA", modulus, exponent)
    if entry["kty"] == "EC":
        material = (entry["crv"], _number(entry["x"]), _number(entry["y"]))
        return {name: entry[name] for name in ("kty", "crv", "x", "y")}, (CURVES[entry["crv"]],), material
    return {}, (), ()


def _number(text: str) -> int:
    return int.from_bytes(decode_base64url(text), "big")
