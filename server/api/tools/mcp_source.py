"""The tools of groups whose provider is a server that speaks the Model Context Protocol."""

from __future__ import annotations

from collections.abc import Sequence

from policy.vocabulary import Origin, Principal
from server.api.tools.groups import Group, host_group
from server.api.tools.sources import KnownTool, ToolsUnavailable
from server.authz.request_authorization import Gate
from server.fairness.caller import Caller
from server.mcp.faults import McpFailed
from server.mcp.programs import program_address
from server.mcp.sessions import Sessions
from server.mcp.wire import Server
from server.net.outbound import Reach, Unreachable


class ServerTools:
    """Asks the server of a group for its tools, in a session of the caller's own and without credentials."""

    def __init__(self, sessions: Sessions, reach: Reach) -> None:
        self._sessions = sessions
        self._reach = reach

    async def tools(self, gate: Gate, group: Group) -> Sequence[KnownTool]:
        """Return the tools of a group that the caller may read; raises ToolsUnavailable, and NoRoom."""
        program = program_address(group.name)
        is_program = group.resource.origin is Origin.CONFIG and program in self._sessions.wire.programs
        if group.url is None and not is_program:
            return ()
        try:
            url = program if group.url is None else str(self._reach.checked(group.url))
            if group.resource.origin is not Origin.CONFIG and not await gate.readable([host_group(url)]):
                # A group that a caller has registered is no way past the rules about its host.
                return ()
            async with self._sessions.using(_owner(gate), Server(url, {})) as session:
                listing = await session.tools()
        except (McpFailed, Unreachable) as fault:
            raise ToolsUnavailable(str(fault)) from None
        return [KnownTool(tool["name"], tool["description"], tool["input_schema"]) for tool in listing.tools]


def _owner(gate: Gate) -> Caller | None:
    caller = gate.principal
    return ("principal", caller.issuer, caller.id) if isinstance(caller, Principal) else None
