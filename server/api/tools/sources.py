"""The sources of the tools of groups: the search of files that this server brings along, and servers of tools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from server.api.tools.groups import Group
from server.authz.request_authorization import Gate
from server.json_input.strict import Json

FILE_SEARCH: Final = "file_search"
"""The name of the one tool of a group that searches files."""


@dataclass(frozen=True, slots=True)
class KnownTool:
    """A tool as its source describes it."""

    name: str
    description: str | None
    input_schema: Json | None


class ToolsUnavailable(Exception):
    """The tools of a group can't be listed now; the message is a sentence for the caller."""


class ToolSource(Protocol):
    """The tools of the groups of one provider."""

    async def tools(self, gate: Gate, group: Group) -> Sequence[KnownTool]:
        """Return the tools of a group that the caller may read; raises ToolsUnavailable, and NoRoom."""
        ...


class OwnTools:
    """The same tools for every group of the configuration; what callers register under the provider has none."""

    def __init__(self, groups: frozenset[str], tools: Sequence[KnownTool]) -> None:
        self._groups = groups
        self._tools = tools

    async def tools(self, _gate: Gate, group: Group) -> Sequence[KnownTool]:
        """Return these tools."""
        return self._tools if group.name in self._groups else ()
