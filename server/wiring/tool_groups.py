"""The tool groups of a configuration: their records, and where their tools come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from server.api.responses.server_tools.file_search_body import DESCRIPTION, PARAMETERS
from server.api.tools.groups import Group, configured_group
from server.api.tools.mcp_source import ServerTools
from server.api.tools.sources import FILE_SEARCH, KnownTool, OwnTools, ToolSource
from server.config import Config
from server.config.tool_runtime import FILE_SEARCHES
from server.mcp.programs import Program, program_address
from server.mcp.sessions import Sessions
from server.net.outbound import Reach
from server.storage.records.record import Json

_TOOL_RUNTIME: Final = "tool_runtime"


def group_records(config: Config) -> dict[str, Json]:
    """Return the body of the record of each tool group, by its id."""
    return {
        group.toolgroup_id: {
            "provider_id": group.provider_id,
            "provider_resource_id": None,
            "described": {
                "mcp_endpoint": None if group.mcp_endpoint is None else {"uri": group.mcp_endpoint.uri},
                "args": dict(group.args) or None,
            },
        }
        for group in config.tool_groups
    }


def configured_groups(config: Config) -> list[Group]:
    """Return the groups of the configuration as the policy knows them."""
    return [
        configured_group(
            each.toolgroup_id, each.provider_id, None if each.mcp_endpoint is None else each.mcp_endpoint.uri
        )
        for each in config.tool_groups
    ]


def configured_programs(config: Config) -> dict[str, Program]:
    """Return the programs of groups, by the addresses that stand for them."""
    return {
        program_address(group.toolgroup_id): Program(
            group.mcp_command.command,
            {name: value.get_secret_value() for name, value in group.mcp_command.environment.items()},
            group.mcp_command.max_memory,
        )
        for group in config.tool_groups
        if group.mcp_command is not None
    }


def file_search_group(config: Config) -> Group | None:
    """Return the group that the search of files is in; None where the configuration has it in none."""
    own = _ids(config, *FILE_SEARCHES)
    return next((group for group in configured_groups(config) if group.provider_id in own), None)


def tool_sources(config: Config, sessions: Sessions, servers: Mapping[str, Reach]) -> dict[str, ToolSource]:
    """Return where tools come from, by the id of the provider of their group.

    `servers` has the providers of servers of tools, each with the hosts that it reaches.
    """
    groups = frozenset(group.toolgroup_id for group in config.tool_groups)
    own = OwnTools(groups, [KnownTool(FILE_SEARCH, DESCRIPTION, PARAMETERS)])
    found: dict[str, ToolSource] = dict.fromkeys(_ids(config, *FILE_SEARCHES), own)
    return found | {name: ServerTools(sessions, reach) for name, reach in servers.items()}


def _ids(config: Config, *kinds: str) -> set[str]:
    return {each.provider_id for each in config.providers.get(_TOOL_RUNTIME, ()) if each.provider_type in kinds}
