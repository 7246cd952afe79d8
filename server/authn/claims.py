"""What a token claims → the attributes that policies ask about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from server.authn.authenticator import AuthenticationFailed
from server.authn.strict import is_plain

MAX_VALUES: Final = 1000
MAX_VALUE_LENGTH: Final = 256


def map_claims(claims: Mapping[str, Any], mapping: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The attributes that `mapping` (claim → attribute) makes of `claims`.

    A claim name with dots is the top-level claim of exactly that name if there is one, else a path into objects
    (`realm_access.roles`). A list of texts gives its values, a text is one value; only the claim `scope` is split at
    spaces (RFC 8693). Claims that share an attribute are united, in the mapping's order, without repetitions. An absent
    claim, null, an empty list and an empty text give nothing, and an attribute without values is left out.

    Raises `AuthenticationFailed` for a claim of any other type, for a value over 256 characters or with control
    characters, and for more than 1,000 values in all: a principal with half of its groups could slip past a `forbid`.
    """
    united: dict[str, dict[str, None]] = {}
    for name, attribute in mapping.items():
        for value in _values(name, _find(claims, name)):
            united.setdefault(attribute, {})[value] = None
    if sum(map(len, united.values())) > MAX_VALUES:
        raise AuthenticationFailed(f"the token has more than {MAX_VALUES} attribute values")
    return {attribute: tuple(values) for attribute, values in united.items()}


def _find(claims: Mapping[str, Any], name: str) -> object:
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        if not isinstance(found, Mapping):
            raise AuthenticationFailed(f"the token has no place for the claim `{name}`: its parent is not an object")
        found = found.get(part)
        if found is None:
            return None
    return found


def _values(name: str, claim: object) -> list[str]:
    if claim is None:
        return []
    if isinstance(claim, str):
        claim = claim.split(" ") if name == "scope" else [claim]
    if not isinstance(claim, list):
        raise AuthenticationFailed(f"the token's claim `{name}` is neither a text nor a list of texts")
    values = [value for value in claim if value != ""]
    if not all(is_plain(value, MAX_VALUE_LENGTH) for value in values):
        raise AuthenticationFailed(
            f"the token's claim `{name}` has a value that is not a text of at most {MAX_VALUE_LENGTH} plain characters"
        )
    return values
