"""The servers of tools that one request names: where they are, and whether the policy permits them and their tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from policy.vocabulary import Action, Principal, Resource
from server.api.responses.mcp.secrets import Secrets
from server.api.tools.groups import host_group
from server.authz.request_authorization import Gate
from server.fairness.caller import Caller
from server.http.body_checks import short
from server.http.errors import ApiError, invalid
from server.json_input.strict import Json
from server.mcp.wire import Server
from server.net.outbound import Reach, Unreachable


@dataclass(frozen=True, slots=True)
class Group:
    """A group of tools at one address, as the policy knows it: `resource` has its name and its owner.

    `host` is the group that the host of a group is which a caller has registered. Rules about it hold as well: else a
    caller could give a server that is refused a name of its own.

    `environment` is that of a program of the configuration, whose `url` stands for it; it may hold secrets. None is for
    servers that are reached.
    """

    url: str
    resource: Resource
    host: Resource | None = None
    environment: Mapping[str, str] | None = field(default=None, repr=False)

    @property
    def resources(self) -> list[Resource]:
        """All that has to be permitted of the group."""
        return [self.resource] if self.host is None else [self.resource, self.host]

    async def permit(self, gate: Gate) -> None:
        """Ask the policy about the group; raises AccessDenied."""
        for resource in self.resources:
            await gate.permit(Action.READ, resource)

    def tool(self, name: str) -> list[Resource]:
        """Return all that has to be permitted of one of its tools."""
        return [Resource("tool", (f"{each.names[0]}/{name}",), each.owner, each.origin) for each in self.resources]


class Groups(Protocol):
    """The registered groups of tools."""

    async def named(self, gate: Gate, identity: str) -> Group | None:
        """Return the group of that id; None where the caller may read none."""
        ...

    async def at(self, url: str) -> Group | None:
        """Return the group at that address, for any caller; None where there is none."""
        ...

    def is_host_of_groups(self, url: str) -> bool:
        """Return whether a group has its server at the host and the port of an address."""
        ...


@dataclass(frozen=True, slots=True)
class Remote:
    """A server of tools of one request: what the body asks for, and where it is. `place` is that of the tool.

    `secrets` are in no text of the server that goes on: some repeat them.
    """

    asked: Json
    place: str
    group: Group
    secrets: Secrets

    @property
    def label(self) -> str:
        """The name by which the request knows it."""
        return str(self.asked["label"])

    @property
    def server(self) -> Server:
        """The server with what it is sent."""
        return Server(self.group.url, self.asked["headers"])

    def is_allowed(self, tool: Json) -> bool:
        """Return whether the request asks for this tool."""
        return self.asked["allowed"] is None or _matches(self.asked["allowed"], tool)

    def needs_approval(self, tool: Json) -> bool:
        """Return whether calls of this tool need an approval."""
        always, never = self.asked["always"], self.asked["never"]
        return never is None or not _matches(never, tool) or (always is not None and _matches(always, tool))


class Remotes:
    """Finds the servers that a request names."""

    def __init__(self, reach: Reach, groups: Groups | None = None) -> None:
        self._reach = reach
        self._groups = groups

    async def found(self, gate: Gate, asked: Sequence[tuple[str, Json]]) -> list[Remote]:
        """Return the servers, once the policy has permitted each of them.

        Raises the 400 for one that is not reached or not known, and AccessDenied.
        """
        labels = [tool["label"] for _, tool in asked]
        for (place, _), label in zip(asked, labels, strict=True):
            if labels.count(label) > 1:
                sentence = f"`{place}.server_label` is the label of two servers; give each its own"
                raise invalid(sentence, f"{place}.server_label", "invalid_value")
        found = list[Remote]()
        for place, tool in asked:
            group = await self._group(gate, tool, place)
            if group.environment is not None and tool["headers"]:
                sentence = f"`{place}.connector_id` is a program, which takes no `headers` and no `authorization`"
                raise invalid(sentence, f"{place}.headers", "invalid_value")
            found.append(Remote(tool, place, group, _secrets(group, tool["headers"])))
        for remote in found:
            await remote.group.permit(gate)
        return found

    async def _group(self, gate: Gate, tool: Json, place: str) -> Group:
        if tool["connector"] is not None:
            group = None if self._groups is None else await self._groups.named(gate, tool["connector"])
            if group is None:
                raise _unknown(f"{place}.connector_id", tool["connector"])
            return group
        registered = None if self._groups is None else await self._groups.at(tool["url"])
        if registered is not None:
            return registered
        try:
            url = self._reach.checked(tool["url"])
        except Unreachable as refused:
            sentence = f"`{place}.server_url` can't be used: {refused}"
            raise invalid(sentence, f"{place}.server_url", "invalid_value") from None
        if self._groups is not None and self._groups.is_host_of_groups(str(url)):
            # Another spelling of a group's address would dodge the rules about the group.
            sentence = f"`{place}.server_url` is at the host of tool groups; name one of these in `connector_id`"
            raise invalid(sentence, f"{place}.server_url", "invalid_value")
        # Not by its label, which the caller chooses.
        return Group(str(url), host_group(str(url)))


def session_owner(gate: Gate) -> Caller | None:
    """Return whose sessions a request goes on in: those of its principal; None for a caller without a token."""
    caller = gate.principal
    return ("principal", caller.issuer, caller.id) if isinstance(caller, Principal) else None


def _secrets(group: Group, headers: Mapping[str, str]) -> Secrets:
    return Secrets(group.url, headers) if group.environment is None else Secrets("", group.environment)


def _matches(tools: Json, tool: Json) -> bool:
    """Return whether a filter matches a tool: all that it says does."""
    names, read_only = tools["names"], tools["read_only"]
    says_so = (tool["annotations"] or {}).get("readOnlyHint") is True
    return (names is None or tool["name"] in names) and (read_only is None or says_so is read_only)


def _unknown(place: str, connector: str) -> ApiError:
    sentence = f"`{place}` is `{short(connector)}`, and there is no such connector, or you have no access to it"
    return invalid(sentence, place, "invalid_value")
