"""Checks of tool groups in a configuration: their names, their providers, and the addresses of their servers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from policy.source.diagnostics import Findings, hint_of
from server.config.raw_value import UNRESOLVED, RawValue
from server.config.tool_runtime import MCP
from server.config.tree import Path, TreeReader
from server.net.outbound import Unreachable, parsed
from server.net.plain_http import is_loopback

_SECTION: Final = "tool_groups"
_PROVIDERS: Final[Path] = ("providers", "tool_runtime")


def check_tool_groups(reading: TreeReader, findings: Findings) -> None:
    """Add the mistakes in tool groups to the findings."""
    if reading.find((_SECTION,)) and not _is_served(reading):
        message = f"`{_SECTION}` needs `tool_runtime`, and `apis` leaves it out"
        findings.error("unlisted-api", reading.span((_SECTION,)), message, "list it there")
        return
    ids, own = dict[str, int](), 0
    for path, entry in reading.entries((_SECTION,)):
        _check_id(path, entry, ids, reading, findings)
        kind = _kind_of(path, entry, reading, findings)
        if kind is None:
            continue
        if kind == MCP:
            _check_server(path, entry, reading, findings)
            continue
        own += 1
        for key in ("mcp_endpoint", "mcp_command"):
            if isinstance(entry.get(key), dict):
                message = "a search of files has no server"
                findings.error("wrong-value", reading.span((*path, key)), message, "leave it out")
        if own > 1:
            message = "the search of files is in another group already"
            findings.error("wrong-value", reading.span((*path, "provider_id")), message, "leave one of the groups out")


def _is_served(reading: TreeReader) -> bool:
    apis = reading.find(("apis",))
    if not isinstance(apis, tuple):
        return True
    return any(api is UNRESOLVED or (isinstance(api, RawValue) and api.text == "tool_runtime") for api in apis)


def _check_id(
    path: Path, entry: Mapping[str, object], taken: dict[str, int], reading: TreeReader, findings: Findings
) -> None:
    given = entry.get("toolgroup_id")
    if not isinstance(given, RawValue):
        return
    span = reading.span((*path, "toolgroup_id"))
    if given.text in taken:
        message = f"{given.described()} is the id of the tool group in line {taken[given.text]} already"
        findings.error("duplicate-id", span, message, "give each tool group its own")
    taken.setdefault(given.text, span.line)


def _kind_of(path: Path, entry: Mapping[str, object], reading: TreeReader, findings: Findings) -> str | None:
    """Return the type of the group's provider; None for one that is not known, which is reported."""
    given = entry.get("provider_id")
    if not isinstance(given, RawValue):
        return None
    kinds = dict[str, str]()
    for _, provider in reading.entries(_PROVIDERS):
        name, kind = provider.get("provider_id"), provider.get("provider_type")
        if name is UNRESOLVED or kind is UNRESOLVED:
            return None
        if isinstance(name, RawValue) and isinstance(kind, RawValue):
            kinds[name.text] = kind.text
    if given.text in kinds:
        return kinds[given.text]
    message = f"no provider of `tool_runtime` is called {given.described()}"
    hint = hint_of("" if given.variables else given.text, [*kinds]) if kinds else "add it under `providers`"
    findings.error("unknown-provider", reading.span((*path, "provider_id")), message, hint)
    return None


def _check_server(path: Path, entry: Mapping[str, object], reading: TreeReader, findings: Findings) -> None:
    """Report a group without a server, with two, and with one that is reached without encryption and not listed."""
    endpoint, is_program = entry.get("mcp_endpoint"), isinstance(entry.get("mcp_command"), dict)
    if not isinstance(endpoint, dict):
        if not is_program:
            message = "a group of a server of tools needs `mcp_endpoint` or `mcp_command`"
            findings.error("missing-key", reading.span(path), message, "add the server's address as its `uri`")
        return
    if is_program:
        message = "a group has one server, and `mcp_endpoint` names another one"
        findings.error("wrong-value", reading.span((*path, "mcp_command")), message, "leave one of the two out")
    uri = endpoint.get("uri")
    if not isinstance(uri, RawValue):
        return
    try:
        url = parsed(uri.text)
    except Unreachable:
        return
    host = str(url.host)
    if url.scheme == "http" and not is_loopback(host) and not _is_plain(host, reading):
        message = f"`{host}` is reached over `https://` only"
        hint = f"add it to `allow_http` of the `{MCP}`, or write `https://`"
        findings.error("plain-http", reading.span((*path, "mcp_endpoint", "uri")), message, hint)


def _is_plain(host: str, reading: TreeReader) -> bool:
    for _, provider in reading.entries(_PROVIDERS):
        config = provider.get("config")
        listed = config.get("allow_http") if isinstance(config, dict) else None
        if listed is UNRESOLVED or isinstance(listed, RawValue):
            return True
        if isinstance(listed, tuple):
            if any(each is UNRESOLVED for each in listed):
                return True
            if any(isinstance(each, RawValue) and each.text.lower() == host for each in listed):
                return True
    return False
