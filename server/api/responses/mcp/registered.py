"""The tool groups of the registry, as requests name them: by their id as a connector, or by the address of one of the
configuration.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from policy.vocabulary import Origin
from server.api.responses.mcp.servers import Group
from server.api.tools.groups import Group as ToolGroup
from server.api.tools.groups import group_of, host_group
from server.authz.request_authorization import Gate
from server.mcp.programs import Program, program_address
from server.net.outbound import USUAL_PORTS, Reach, Unreachable, parsed
from server.storage.records.guarded import GuardedStore, NotFound


class RegisteredGroups:
    """Finds the groups of `providers`, whose servers are reached as `reach` says, those of callers as `listed` does.

    The address of a group counts where the configuration says it: else a caller who registered one would decide who
    may use it. `programs` are those of groups of the configuration, by the addresses that stand for them.
    """

    def __init__(
        self,
        store: GuardedStore,
        configured: Sequence[ToolGroup],
        providers: Collection[str],
        reach: Reach,
        listed: Reach,
        programs: Mapping[str, Program],
    ) -> None:
        self._store = store
        self._programs = programs
        self._providers = providers
        self._reach = reach
        self._listed = listed
        usable = [group for group in configured if group.provider_id in providers and group.url is not None]
        self._by_url = {_spelled(group.url or ""): Group(_spelled(group.url or ""), group.resource) for group in usable}
        self._hosts = {_host(url) for url in self._by_url}

    async def named(self, gate: Gate, identity: str) -> Group | None:
        """Return the group of that id; None where the caller may read none whose server is reached."""
        try:
            group = group_of(await self._store.get(gate, identity))
            program = self._programs.get(program_address(group.name))
            if program is not None and group.resource.origin is Origin.CONFIG:
                return Group(program_address(group.name), group.resource, environment=program.environment)
            if group.provider_id not in self._providers or group.url is None:
                return None
            if group.resource.origin is Origin.CONFIG:
                return Group(str(self._reach.checked(group.url)), group.resource)
            url = str(self._listed.checked(group.url))
            return None if self.is_host_of_groups(url) else Group(url, group.resource, host_group(url))
        except (NotFound, Unreachable):
            return None

    async def at(self, url: str) -> Group | None:
        """Return the group of the configuration at that address, for any caller; None where there is none."""
        try:
            return self._by_url.get(_spelled(url))
        except Unreachable:
            return None

    def is_host_of_groups(self, url: str) -> bool:
        """Return whether a group of the configuration has its server at the host and the port of an address."""
        return _host(url) in self._hosts


def _spelled(url: str) -> str:
    return str(parsed(url))


def _host(url: str) -> tuple[str | None, int | None]:
    found = parsed(url)
    return found.host, found.port or USUAL_PORTS[found.scheme]
