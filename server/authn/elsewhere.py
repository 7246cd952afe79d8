"""Claims that a token only refers to: distributed and aggregated claims (OpenID Connect Core §5.6.2), group
overages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from server.authn.authenticator import AuthenticationFailed

_NAMES: Final = "_claim_names"
_SOURCES: Final = "_claim_sources"
_DIGESTS: Final = "_sd"
_DIGEST_IN_LIST: Final = "..."
"""Claims and values that the token's holder need not show (SD-JWT, RFC 9901)."""

_SAML_GROUPS: Final = "http://schemas.microsoft.com/ws/2008/06/identity/claims/groups"
_MARKS: Final[Mapping[str, tuple[str, ...]]] = {
    "hasgroups": ("groups",),
    "http://schemas.microsoft.com/claims/groups.link": ("groups", _SAML_GROUPS),
}
"""Entra's marks → the claims that each stands in for."""

_SOURCE_IN_NAME: Final = re.compile(r"(.+):(src\d+)")
"""Entra's `groups:src1`: the claim `groups` lies with the source `src1`."""


def refuse_elsewhere(holder: Mapping[str, Any], name: str) -> None:
    """Raise `AuthenticationFailed` if `holder` only refers to its claim `name`, or to a part of it.

    `holder` is the token's claims or an object inside them, `name` the rest of the path from there, with dots. The
    claim counts as absent even if some of its values are present: they may not be all. A malformed `_claim_names`,
    sources that no `_claim_names` assigns, and digests may be about any claim.
    """
    if holder.get(_DIGESTS) not in (None, []):
        raise AuthenticationFailed(f"the token's `{_DIGESTS}` hides which of its claims are in another place")
    names, sources = holder.get(_NAMES), holder.get(_SOURCES)
    if names is None or names == {}:
        if sources is not None and sources != {}:
            raise AuthenticationFailed(f"the token's `{_SOURCES}` doesn't say which of its claims are in another place")
        names = {}
    elif not isinstance(names, Mapping):
        raise AuthenticationFailed(f"the token's `{_NAMES}` is not an object, so its claims may be in another place")
    marked = list(names)
    marked += [claim for mark, claims in _MARKS.items() if _is_set(holder.get(mark)) for claim in claims]
    marked += [found[1] for found in map(_SOURCE_IN_NAME.fullmatch, holder) if found]
    if any(_overlap(claim, name) for claim in marked):
        raise _elsewhere(name)


def refuse_reference(holder: Mapping[str, Any], name: str, claim: object) -> None:
    """Raise `AuthenticationFailed` if `claim`, the value of `name` in `holder`, is only a reference to the values.

    A reference is the name of a source, a digest in a list, or an object whose own members are references.
    """
    sources = holder.get(_SOURCES)
    for value in claim if isinstance(claim, list) else [claim]:
        if isinstance(value, Mapping) and (_DIGEST_IN_LIST in value or says_elsewhere(value)):
            raise _elsewhere(name)
        if isinstance(value, str) and isinstance(sources, Mapping) and value in sources:
            raise _elsewhere(name)


def says_elsewhere(holder: Mapping[str, Any]) -> bool:
    """Return whether any claim of `holder` is only a reference."""
    marks = [_NAMES, _SOURCES, _DIGESTS, *_MARKS]
    return any(_is_set(holder.get(mark)) for mark in marks) or any(map(_SOURCE_IN_NAME.fullmatch, holder))


def _elsewhere(name: str) -> AuthenticationFailed:
    return AuthenticationFailed(
        f"the token says that its claim `{name}` is in another place; have its issuer put the claim into the token"
    )


def _is_set(mark: object) -> bool:
    return mark is not None and mark is not False and mark not in ({}, "false")


def _overlap(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")
