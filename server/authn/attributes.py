"""Claims mapping: the claims of a token become the attributes that policies ask about."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from server.authn.authenticator import AuthenticationFailed
from server.authn.elsewhere import refuse_elsewhere, refuse_reference
from server.authn.strict_json import is_plain
from server.authn.tally import Tally

MAX_VALUES: Final = 1000
MAX_VALUE_LENGTH: Final = 256

_SPLIT: Final = frozenset({"scope", "scp"})
"""Claims whose text is a list with blanks between its values (RFC 8693 section 4.2; `scp` in Entra)."""


@dataclass(frozen=True, slots=True)
class ClaimsMapping:
    """The mapping claim → attribute, in order; `is_default` where the configuration has none of its own.

    `tally` counts which of the claims valid tokens have. `splits`: a claim that is one text is a list with blanks
    between its values.
    """

    pairs: Mapping[str, str]
    is_default: bool = False
    tally: Tally | None = None
    splits: bool = False

    def attributes(self, claims: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        """Return the attributes that `claims` become, each with its values.

        A dot in a name is part of a member's name or leads into an object. Claims that share an attribute are united,
        in the mapping's order, without repetitions; an attribute without values is left out.

        Raises `AuthenticationFailed` for a claim that can be read in two ways, that the token only refers to or that
        has a value of another kind than `_values` takes, and for more than 1,000 values in all: a principal with half
        of its groups could escape a `forbid`.
        """
        united: dict[str, dict[str, None]] = {}
        found = {name: self._values(name, claims) for name in self.pairs}
        for name, attribute in self.pairs.items():
            for value in found[name]:
                united.setdefault(attribute, {})[value] = None
        if sum(map(len, united.values())) > MAX_VALUES:
            raise AuthenticationFailed(f"the token has more than {MAX_VALUES} attribute values")
        if self.tally is not None:
            self.tally.count([name for name, values in found.items() if values], claims)
        return {attribute: tuple(values) for attribute, values in united.items()}

    def _values(self, name: str, claims: Mapping[str, Any]) -> list[str]:
        """Return the values of a claim: each of a list, else the single one; null and empty texts give none.

        A text in `scope` or `scp`, or in any claim if the mapping `splits`, is split at blanks. Numbers and booleans
        are spelled as in JSON. Objects are left out under the default mapping, which is for any issuer, and refused
        under one that names the claim.
        """
        key, claim = _find(claims, name)
        if isinstance(claim, str) and (self.splits or key in _SPLIT):
            claim = claim.split(" ")
        if not isinstance(claim, list):
            if isinstance(claim, Mapping) and not self.is_default:
                raise AuthenticationFailed(f"the token's claim `{name}` is neither a text nor a list of texts")
            claim = [] if claim is None else [claim]
        if self.is_default:
            claim = [value for value in claim if not isinstance(value, Mapping)]
        values = [spelled(value) for value in claim if value != ""]
        if not all(is_plain(value, MAX_VALUE_LENGTH) for value in values):
            raise AuthenticationFailed(
                f"the token's claim `{name}` has a value that is not a text of at most {MAX_VALUE_LENGTH} plain"
                " characters"
            )
        return values


def spelled(value: Any) -> Any:
    """Return a number or boolean as JSON spells it, whole numbers without a fraction; anything else as it is.

    `1`, `1.0` and `1e0` are one number, so that they become one value.
    """
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        value = int(value) if value.is_integer() else value
    return json.dumps(value) if isinstance(value, bool | int | float) else value


def _find(claims: Mapping[str, Any], name: str) -> tuple[str, object]:
    """Return the last part of the name as it stands in the token, and the claim there; None where there is none."""
    dead_ends: list[str] = []
    readings = list(_readings(claims, name, dead_ends))
    if len(readings) > 1:
        raise AuthenticationFailed(f"the token's claim `{name}` can be read in {len(readings)} ways")
    if readings:
        return readings[0]
    if dead_ends:
        raise AuthenticationFailed(f"the token has no place for the claim `{name}`: its parent is not an object")
    return name, None


def _readings(holder: Mapping[str, Any], name: str, dead_ends: list[str]) -> Iterator[tuple[str, object]]:
    """Yield each way to read `name` in `holder` as names of members with dots between them, the longest name first.

    No object of the token is entered twice: the names that lead to it spell one beginning of `name`. `dead_ends`
    collects the members that are no objects although `name` continues below them.
    """
    refuse_elsewhere(holder, name)
    if name in holder:
        refuse_reference(holder, name, holder[name])
        yield name, holder[name]
    end = name.rfind(".")
    while end >= 0:
        first, rest = name[:end], name[end + 1 :]
        child = holder.get(first)
        if isinstance(child, Mapping):
            yield from _readings(child, rest, dead_ends)
        elif child is not None:
            refuse_reference(holder, first, child)
            dead_ends.append(first)
        end = name.rfind(".", 0, end)
