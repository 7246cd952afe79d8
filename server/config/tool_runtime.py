"""The providers of `tool_runtime`: the servers of tools that callers may name, and the way to them."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Tag

from server.config.base import chosen_by
from server.config.locations import PlainHost
from server.config.providers import ProviderConfig, ProviderSettings, TlsVerify
from server.config.types import Text, one_of, refusal
from server.net.outbound import Endpoint, Reach, Unreachable, parsed

MCP: Final = "remote::model-context-protocol"

FILE_SEARCHES: Final = ("inline::file-search", "inline::rag-runtime")

_MOST_HOSTS: Final = 256


def _host(value: str) -> str:
    """Validate a host, with a port or without."""
    try:
        url = parsed(f"https://{value}/")
    except Unreachable:
        url = None
    if url is None or url.raw_path_qs != "/" or "/" in value:
        hint = "write `mcp.example.com` for `https://mcp.example.com/mcp`, and `mcp.example.com:8443` for another port"
        raise refusal("bad-host", "takes a host's name or address, with a port or without", hint)
    return value.lower()


def _not_too_many(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(value) > _MOST_HOSTS:
        raise refusal("wrong-value", f"takes at most {_MOST_HOSTS} hosts")
    return value


class McpSettings(ProviderSettings):
    """`remote::model-context-protocol`.

    `allowed_hosts` are those whose tools requests may name by their address; without a port, the usual one of the
    scheme. The hosts in `allow_http` may be reached without encryption, and those in `allow_private` at private
    addresses.
    """

    allowed_hosts: Annotated[tuple[Annotated[Text, AfterValidator(_host)], ...], AfterValidator(_not_too_many)] = ()
    allow_http: tuple[PlainHost, ...] = ()
    allow_private: tuple[PlainHost, ...] = ()
    tls_verify: TlsVerify = True

    @property
    def reach(self) -> Reach:
        """The hosts that requests may go to."""
        found = frozenset(endpoint for host in self.allowed_hosts for endpoint in self._endpoints(host))
        return Reach(found, frozenset(self.allow_http), frozenset(self.allow_private))

    def _endpoints(self, host: str) -> tuple[Endpoint, ...]:
        url = parsed(f"https://{host}/")
        name, is_usual = url.host or "", url.explicit_port is None
        plain = ((name, 80),) if is_usual and name in self.allow_http else ()
        return ((name, url.port or 443), *plain)


class McpProvider(ProviderConfig):
    """Servers of tools that speak the Model Context Protocol."""

    provider_type: Annotated[Literal["remote::model-context-protocol"], one_of(MCP)]
    config: McpSettings = McpSettings()


class FileSearchSettings(ProviderSettings):
    """`inline::file-search` has no settings: each request names the vector stores that it searches."""


class FileSearchProvider(ProviderConfig):
    """The search of files that this server brings along, under the names that configurations have for it."""

    provider_type: Annotated[Literal["inline::file-search", "inline::rag-runtime"], one_of(*FILE_SEARCHES)]
    config: FileSearchSettings = FileSearchSettings()


ToolRuntimeProvider = Annotated[
    Annotated[FileSearchProvider, Tag("inline::file-search")]
    | Annotated[FileSearchProvider, Tag("inline::rag-runtime")]
    | Annotated[McpProvider, Tag("remote::model-context-protocol")],
    chosen_by("provider_type", "inline::file-search", "inline::rag-runtime", "remote::model-context-protocol"),
]
"""A provider of tools, chosen by `provider_type`."""
