"""The issuers that a configuration trusts, by the names that rules use for them."""

from __future__ import annotations

import re
from collections.abc import Mapping as Environ
from dataclasses import dataclass
from typing import Final

from policy.source.diagnostics import Findings, did_you_mean, quoted
from policy.source.document import Mapping, Node, Scalar, Sequence
from policy.source.environment import Missing, substitute

GITHUB: Final = "https://api.github.com"
"""The issuer of GitHub's users, unless the configuration names an enterprise's own server."""

API_KEYS: Final = "ostiary-keys"
"""The issuer of the principals of our own API keys."""

_ADDRESSES: Final = {
    "kubernetes": "api_server_url",
    "github_token": "github_api_base_url",
    "custom": "endpoint",
}
"""The key whose address is the issuer, by the type of provider."""

_TYPE: Final = re.compile(r":[+=]([a-z0-9_]+)\}")


@dataclass(frozen=True, slots=True)
class Issuers:
    """The issuers that the configuration names.

    `several`: it lists more than one. `uncertain`: the `iss` of tokens isn't checked, so that callers may come from
    other issuers. `unresolved`: a variable in a name isn't set here. `are_addresses`: a trailing slash is ignored.
    """

    names: tuple[str, ...] = ()
    several: bool = False
    uncertain: bool = False
    unresolved: bool = False
    are_addresses: bool = False

    @property
    def sole(self) -> str | None:
        """The issuer of every caller; None where there are several, or where it isn't known."""
        return self.names[0] if len(self.names) == 1 and not (self.several or self.unresolved) else None

    def named(self, text: str) -> str | None:
        """Return the issuer called `text`; None if there is none."""
        name = text.rstrip("/") if self.are_addresses else text
        return name if name in self.names or self.unresolved else None

    def hint(self, text: str) -> str:
        """Return a hint for `text`, which names no issuer."""
        if self.names:
            return did_you_mean(text, self.names)
        if self.uncertain:
            return "set `issuer` in `provider_config`, so that tokens are compared with it"
        return "leave `issuer` out, or configure one in `provider_config`"


def read_issuers(auth: Mapping, environ: Environ[str, str]) -> Issuers:
    """Return the issuers under `server.auth`, including those of a provider that the environment disables."""
    entry = auth.entries.get("provider_config")
    if entry is None or not isinstance(entry.node, Mapping):
        return Issuers()
    provider = entry.node
    kind = _kind(provider, environ)
    if kind == "api_key":
        return Issuers((API_KEYS,))
    if kind in _ADDRESSES:
        return _by_address(provider, kind, environ)
    # An unknown provider has been reported already.
    return _of_tokens(provider, environ) if kind in ("", "oauth2_token") else Issuers(unresolved=True)


def check_issuer(text: Scalar, issuers: Issuers, findings: Findings) -> str | None:
    """Return the issuer that a rule names; report an issuer that no token can have and return None."""
    name = issuers.named(text.text)
    if name is None:
        message = f"no issuer is called {quoted(text.text)}"
        findings.error("unknown-issuer", text.span, message, issuers.hint(text.text))
    return name


def _of_tokens(provider: Mapping, environ: Environ[str, str]) -> Issuers:
    listed = provider.entries.get("issuers")
    if listed is None or not isinstance(listed.node, Sequence) or not listed.node.items:
        named = provider.entries.get("issuer")
        name = _text(named.node, environ) if named else None
        if isinstance(name, str):
            return Issuers((name,))
        return Issuers(uncertain=True, unresolved=isinstance(name, Missing))
    items = [item.entries.get("issuer") for item in listed.node.items if isinstance(item, Mapping)]
    names = [_text(item.node, environ) if item else None for item in items]
    known = tuple(dict.fromkeys(name for name in names if isinstance(name, str)))
    return Issuers(known, several=len(listed.node.items) > 1, unresolved=len(names) > len(known))


def _by_address(provider: Mapping, kind: str, environ: Environ[str, str]) -> Issuers:
    entry = provider.entries.get(_ADDRESSES[kind])
    address = _text(entry.node, environ) if entry else None
    if isinstance(address, str) and not set("?#@") & set(address):
        return Issuers((address.rstrip("/"),), are_addresses=True)
    # An address with a query or a user is refused by the configuration, and no hint may show it.
    return (
        Issuers((GITHUB,), are_addresses=True)
        if kind == "github_token" and address is None
        else Issuers(unresolved=True)
    )


def _kind(provider: Mapping, environ: Environ[str, str]) -> str:
    """Return the type of the provider, even where the environment leaves it without a value."""
    entry = provider.entries.get("type")
    if entry is None:
        return ""
    text = _text(entry.node, environ)
    if isinstance(text, str):
        return text
    written = _TYPE.search(entry.node.text) if isinstance(entry.node, Scalar) else None
    return written[1] if written else ""


def _text(node: Node, environ: Environ[str, str]) -> str | Missing | None:
    if not isinstance(node, Scalar) or node.value is None:
        return None
    try:
        found = substitute(node.text, environ)
        return Missing(("",)) if found == "" else found
    except ValueError as error:  # reported where the provider is read
        return Missing((str(error),))
