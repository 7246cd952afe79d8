"""Building of what reaches servers of tools, as a configuration describes it."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from server.api.responses.mcp.kind import KIND, McpServers
from server.api.responses.mcp.registered import RegisteredGroups
from server.api.responses.mcp.servers import Remotes
from server.api.responses.server_tools.tool import ToolKind
from server.api.system.providers import ProviderEntry
from server.config import Config
from server.config.tool_runtime import McpProvider
from server.inference.members import MemberRules
from server.inference.provider import ByTask, HealthStatus, Provider, ProviderHealth
from server.json_input.reader import Reader
from server.mcp.memory import part_of_machine
from server.mcp.sessions import Sessions
from server.mcp.wire import Wire
from server.net.outbound import Reach
from server.net.tls import client_context
from server.storage.approvals import ApprovalTable
from server.storage.records.guarded import GuardedStore
from server.wiring.tool_groups import configured_groups, configured_programs

TOOL_RUNTIME: Final = "tool_runtime"


class ToolServers:
    """The way to servers of tools; there is none where no provider of `tool_runtime` is configured."""

    def __init__(self, config: Config, reader: Reader, approvals: ApprovalTable, groups: GuardedStore) -> None:
        """`groups` are the tool groups as callers see them."""
        found = next((each for each in config.providers.get(TOOL_RUNTIME, ()) if isinstance(each, McpProvider)), None)
        served = found is not None and TOOL_RUNTIME in config.apis
        reach = found.config.reach if found is not None and served else Reach()
        configured = configured_groups(config)
        # Requests name the hosts that are listed; the servers of groups are reached at their own addresses besides.
        every = reach.with_endpoints(group.url for group in configured if group.url is not None) if served else reach
        programs = configured_programs(config) if served else {}
        tls = None if found is None else _tls(found)
        memory = (config.server.max_program_memory or part_of_machine()) // config.server.workers
        self.sessions = Sessions(Wire(every, reader, tls, programs=programs, program_memory=memory))
        self.providers = {} if found is None or not served else {found.provider_id: every}
        self.registering = {} if found is None or not served else {found.provider_id: reach}
        self.kinds: dict[str, ToolKind] = {}
        if served:
            registered = RegisteredGroups(groups, configured, self.providers, every, reach, programs)
            self.kinds[KIND] = McpServers(Remotes(reach, registered), self.sessions, approvals)


def tool_entries(config: Config, masked: Callable[[Any], Any]) -> Iterator[ProviderEntry]:
    """Yield the entries of the providers, without secrets; they are in order, since each server is another one."""
    for each in config.providers.get(TOOL_RUNTIME, ()):
        made = Provider(_InOrder(), ByTask({}), MemberRules(), frozenset())
        yield ProviderEntry(TOOL_RUNTIME, each.provider_id, each.provider_type, masked(each.config.model_dump()), made)


class _InOrder:
    async def start(self) -> None:
        """Do nothing: connections are made when they are needed."""

    async def close(self) -> None:
        """Do nothing."""

    async def health(self) -> ProviderHealth:
        """Return that it is in order."""
        return ProviderHealth(HealthStatus.OK)


def _tls(provider: McpProvider) -> ssl.SSLContext | None:
    verify = provider.config.tls_verify
    if verify is True:
        return None
    return client_context(verify if isinstance(verify, Path) else None, verify=verify is not False)
