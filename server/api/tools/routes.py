"""`/v1/tools`: the tools of all groups, each shown to the callers that may read both the group and the tool."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from policy.vocabulary import Action, Resource
from server.api.registry.body import LONGEST_ID
from server.api.tools.groups import TOOL, Group, group_of
from server.api.tools.registry import GROUP
from server.api.tools.sources import KnownTool, ToolSource, ToolsUnavailable
from server.authz.permit import AccessDenied
from server.authz.request_authorization import Gate
from server.fairness.places import Steps, leave_place
from server.fairness.shares import NoRoom
from server.http.api_route import ApiRoute, AskingRoute
from server.http.body_checks import short
from server.http.disconnects import WhileConnected
from server.http.errors import ApiError, invalid
from server.http.pagination import one_of_query
from server.http.request_state import gate_of
from server.http.responses import json_response, list_response
from server.storage.records.guarded import GuardedStore, NotFound
from server.storage.records.record import Page

MOST_GROUPS: Final = 64
"""Groups whose tools one list shows; of more, a request has to name one."""

AT_ONCE: Final = 4
"""Groups whose servers one request asks at the same time."""

_log: Final = logging.getLogger("ostiary.api")


class ToolRoutes:
    """Shows the tools of the groups in `store`; `sources` has them, by the id of the group's provider."""

    def __init__(self, store: GuardedStore, sources: Mapping[str, ToolSource]) -> None:
        self._store = store
        self._sources = sources

    def routes(self) -> list[ApiRoute]:
        """Return the routes of tools."""
        asks, may_ask = [(Action.READ, TOOL)], [(Action.READ, GROUP)]
        return [
            AskingRoute("/v1/tools", self.page, methods=["GET"], asks=asks, may_ask=may_ask, name="tools.list"),
            AskingRoute(
                "/v1/tools/{tool_name:path}",
                self.retrieve,
                methods=["GET"],
                asks=asks,
                may_ask=may_ask,
                name="tools.retrieve",
            ),
        ]

    async def page(self, request: Request) -> Response:
        """Answer with the tools of one group, or of all.

        In the list of all, groups whose servers do not list their tools are left out.
        """
        gate, named = gate_of(request.scope), one_of_query(request, "toolgroup_id")
        async with WhileConnected(request.receive):
            if named is not None:
                group = await self._group(gate, named)
                leave_place()
                shown = await self._readable(gate, [(group, await self._known(gate, group))])
            else:
                shown = await self._every(gate)
        return await list_response({"object": "list"}, shown)

    async def retrieve(self, request: Request) -> Response:
        """Answer with one tool, which the path names as `GROUP/NAME`, or by its name alone where no other has it."""
        gate, name = gate_of(request.scope), request.path_params["tool_name"]
        async with WhileConnected(request.receive):
            group, _, tool = name.rpartition("/")
            shown = await self._one(gate, group, tool, name) if group else await self._by_name(gate, name)
        return json_response(shown)

    async def _one(self, gate: Gate, group_id: str, tool: str, name: str) -> dict[str, Any]:
        # The tool is asked about before its server is: how long an answer takes must not tell what there is.
        try:
            group = group_of(await self._store.get(gate, group_id))
            await gate.permit(Action.READ, group.tool(tool))
        except (NotFound, AccessDenied):
            raise _no_tool(name) from None
        leave_place()
        found = next((known for known in await self._known(gate, group) if known.name == tool), None)
        if found is None:
            raise _no_tool(name)
        return _shown(group, found)

    async def _by_name(self, gate: Gate, name: str) -> dict[str, Any]:
        found = [tool for tool in await self._every(gate) if tool["name"] == name]
        if not found:
            raise _no_tool(name)
        if len(found) > 1:
            several = " and ".join(f"`{tool['toolgroup_id']}/{name}`" for tool in found[:2])
            raise invalid(f"more than one tool is called `{short(name)}`; name {several}", "tool_name", "invalid_value")
        return found[0]

    async def _every(self, gate: Gate) -> list[dict[str, Any]]:
        """Return the tools of all groups as they are shown."""
        page = await self._store.page(gate, Page(MOST_GROUPS, None, None, newest_first=False))
        if page.has_more:
            sentence = f"there are more than {MOST_GROUPS} tool groups; name one in `toolgroup_id`"
            raise invalid(sentence, "toolgroup_id", "missing_required_parameter")
        leave_place()
        bound = asyncio.Semaphore(AT_ONCE)

        async def known(group: Group) -> Sequence[KnownTool]:
            async with bound:
                try:
                    return await self._known(gate, group)
                except (ApiError, NoRoom) as fault:
                    _log.info("%s: the tools of a group are not listed: %s", gate.request_id, fault)
                    return ()

        groups, steps = list[Group](), Steps()
        for record in page.records:
            groups.append(group_of(record))
            await steps.rest()
        return await self._readable(gate, [*zip(groups, await asyncio.gather(*map(known, groups)), strict=True)])

    async def _group(self, gate: Gate, identity: str) -> Group:
        if len(identity.encode(errors="replace")) > LONGEST_ID:
            raise _no_group(identity)
        try:
            return group_of(await self._store.get(gate, identity))
        except NotFound:
            raise _no_group(identity) from None

    async def _known(self, gate: Gate, group: Group) -> Sequence[KnownTool]:
        source = self._sources.get(group.provider_id or "")
        if source is None:
            return ()
        try:
            return await source.tools(gate, group)
        except ToolsUnavailable as fault:
            sentence = f"the tools of the group `{group.name}` can't be listed: {fault}"
            raise ApiError(HTTPStatus.BAD_GATEWAY, sentence, code="tools_unavailable") from None

    async def _readable(self, gate: Gate, found: Sequence[tuple[Group, Sequence[KnownTool]]]) -> list[dict[str, Any]]:
        """Return those of the tools that the caller may read, as they are shown."""
        every, shown, steps = list[tuple[Group, KnownTool, Resource]](), list[dict[str, Any]](), Steps()
        for group, tools in found:
            every += [(group, tool, group.tool(tool.name)) for tool in tools]
            await steps.rest()
        permits = await gate.listed(TOOL, [resource for _, _, resource in every])
        names = {permit.resource.names[0] for permit in permits}
        for group, tool, resource in every:
            if resource.names[0] in names:
                shown.append(_shown(group, tool))
            await steps.rest()
        return shown


def _shown(group: Group, tool: KnownTool) -> dict[str, Any]:
    """Return a tool as Llama Stack's clients know it."""
    return {
        "name": tool.name,
        "toolgroup_id": group.name,
        "description": tool.description,
        "input_schema": tool.input_schema,
        "output_schema": None,
        "metadata": None,
    }


def _no_tool(name: str) -> ApiError:
    sentence = f"the tool `{short(name)}` does not exist, or you have no access to it"
    return ApiError(HTTPStatus.NOT_FOUND, sentence, code="not_found", param="tool_name")


def _no_group(identity: str) -> ApiError:
    sentence = f"there is no `{short(identity)}`, or you have no access to it"
    return ApiError(HTTPStatus.NOT_FOUND, sentence, code="not_found", param="toolgroup_id")
