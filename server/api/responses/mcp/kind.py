"""The type `mcp` of tools: servers of tools are asked what they have, and the model is offered what may be called."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from json import dumps, loads
from typing import Any, Final, TypeAlias, TypeVar

from server.api.responses.context import Context
from server.api.responses.mcp.approvals import Answered, Approvals, Deed, answers_in, no_request, request_ids
from server.api.responses.mcp.servers import Remote, Remotes, session_owner
from server.api.responses.mcp.tool import ApprovedTool, Calling, McpTool, RefusedTool
from server.api.responses.server_tools.tool import Beginning, FirstCall, Opening, Outcome, ToolSet
from server.api.responses.tools import chat_name
from server.api.responses.unsealing import sealing_caller
from server.authz.request_authorization import Gate
from server.fairness.places import without_place
from server.fairness.shares import NoRoom
from server.fairness.threads import in_thread
from server.http.errors import invalid
from server.inference.answers.model_name import QUICK
from server.json_input.strict import Json
from server.mcp.faults import McpFailed
from server.mcp.session import Session
from server.mcp.sessions import Sessions
from server.storage.approvals import ApprovalTable

KIND: Final = "mcp"

MOST_SERVERS: Final = 16
"""Servers of tools of one request."""

MOST_LISTED: Final = 512 * 1024
"""Bytes of the tools that all servers of one request list, as JSON."""

_LISTING: Final = "mcpl_"


T = TypeVar("T")
_Opened: TypeAlias = tuple[Session | None, list[Json], str | None]


class McpServers:
    """Opens the servers of tools of a request."""

    def __init__(self, remotes: Remotes, sessions: Sessions, table: ApprovalTable) -> None:
        self._remotes = remotes
        self._sessions = sessions
        self._table = table

    async def check(self, opening: Opening, asked: Sequence[tuple[str, Json]]) -> None:
        """Raise the 400 for a server that the request names wrongly, and AccessDenied."""
        await self._remotes.found(opening.gate, asked)

    async def open(self, opening: Opening, asked: Sequence[tuple[str, Json]], tools: ToolSet) -> None:
        """Add the tools of servers that the policy permits, and the calls that the caller has approved.

        A server that does not list its tools is an item that says so. Raises the 400 for what the body names wrongly,
        AccessDenied, PolicyUnavailable, NoRoom and DatabaseUnavailable.
        """
        if len(asked) > MOST_SERVERS:
            raise invalid(f"`tools` must name at most {MOST_SERVERS} servers of tools", "tools", "invalid_value")
        gate = opening.gate
        remotes = await self._remotes.found(gate, asked)
        approvals = Approvals(self._table, sealing_caller(gate))
        answers = await _beside(opening.context, answers_in, opening.context, opening.body)
        deeds = [(answer, _deed(answer, remotes)) for answer in answers]
        digests = {answer.id: await approvals.checked(answer, deed) for answer, deed in deeds if answer.is_approved}
        known = await _beside(opening.context, _listings, opening.context)
        # What was approved is compared with what the server says now.
        again = {remote.label for remote in remotes} - known.keys() | {deed.label for _, deed in deeds}
        async with without_place():  # the servers may take seconds
            opened = await _all([self._opened(gate, each, tools, anew=each.label in again) for each in remotes])
        calling, room, ids = dict[str, Calling](), MOST_LISTED, request_ids(opening.response_id)
        for remote, (session, listed, fault) in zip(remotes, opened, strict=True):
            size = len(dumps(listed))
            if size > room:
                fault = f"the tools of all servers take more than {MOST_LISTED} bytes"
                session, listed = None, []
            room -= size
            permitted = await _permitted(gate, remote, listed)
            shown = [_shown(tool) for tool in listed if tool["name"] in permitted]
            if fault is not None or shown not in known.get(remote.label, ()):
                tools.listed.append(_listed(remote, shown, fault))
            if session is None:
                continue
            calling[remote.label] = Calling(gate, remote, session)
            for tool in listed:
                name = chat_name(tool["name"], remote.label)
                is_permitted = tool["name"] in permitted
                made = McpTool(
                    calling[remote.label], tool, name, is_permitted=is_permitted, approvals=approvals, ids=ids
                )
                tools.add(name, made, remote.place)
        for answer, deed in deeds:
            tools.first.append(_first(answer, deed, tools, calling.get(deed.label), digests, approvals))

    async def _opened(self, gate: Gate, remote: Remote, tools: ToolSet, *, anew: bool) -> _Opened:
        """Return a session and the tools that the request asks for; without these, the reason."""
        try:
            using = self._sessions.using(session_owner(gate), remote.server)
            session = await tools.opened.enter_async_context(using)
            listing = await session.tools(anew=anew)
        except (McpFailed, NoRoom) as failed:
            return None, [], remote.secrets.hidden(str(failed))
        allowed = [tool for tool in listing.tools if remote.is_allowed(tool)]
        return session, await _without_secrets(remote, allowed), None


async def _beside(context: Context, work: Callable[..., T], *given: Any) -> T:
    """Return what `work` returns, in a thread if there are many items to look at."""
    return await in_thread(work, *given) if context.items.size > QUICK else work(*given)


async def _without_secrets(remote: Remote, listed: list[Json]) -> list[Json]:
    """Return tools without what their server was sent, in a thread if there is much to look at."""
    if not remote.secrets:
        return listed
    is_large = len(dumps(listed)) > QUICK
    return await in_thread(remote.secrets.without, listed) if is_large else remote.secrets.without(listed)


async def _all(works: Sequence[Coroutine[None, None, _Opened]]) -> list[_Opened]:
    """Return what all come to; none of them is left behind if another one raises."""
    found = await asyncio.gather(*works, return_exceptions=True)
    for each in found:
        if isinstance(each, BaseException):
            raise each
    return [each for each in found if not isinstance(each, BaseException)]


async def _permitted(gate: Gate, remote: Remote, listed: Sequence[Json]) -> set[str]:
    """Return the names of the tools that the caller may read."""
    asked = {tool["name"]: remote.group.tool(tool["name"]) for tool in listed}
    permits = await gate.readable([each for resources in asked.values() for each in resources]) if asked else []
    names = {permit.resource.names[0] for permit in permits}
    return {name for name, resources in asked.items() if names.issuperset(each.names[0] for each in resources)}


def _deed(answer: Answered, remotes: Sequence[Remote]) -> Deed:
    """Return the call that is answered about; raises the 400 where its server is not among those of the request."""
    request = answer.request
    remote = next((each for each in remotes if each.label == request["server_label"]), None)
    if remote is None:
        raise no_request(answer.place)
    return Deed(remote.label, remote.group.url, request["name"], request["arguments"])


def _first(
    answer: Answered,
    deed: Deed,
    tools: ToolSet,
    calling: Calling | None,
    digests: dict[str, str],
    approvals: Approvals,
) -> FirstCall:
    name = chat_name(deed.name, deed.label)
    if not answer.is_approved:
        return FirstCall(name, deed.arguments, RefusedTool(answer.id, answer.reason, approvals))
    listed = tools.tools.get(name)
    tool = listed.tool if isinstance(listed, McpTool) and listed.tool["name"] == deed.name else None
    approved = ApprovedTool(calling, tool, deed, answer.id, digests[answer.id], approvals)
    return FirstCall(name, deed.arguments, approved)


def _listings(context: Context) -> dict[str, list[list[Json]]]:
    """Return the tools that the model knows already, by the label of their server."""
    found: dict[str, list[list[Json]]] = {}
    for identity, text in zip(context.items.ids, context.items.plain(), strict=True):
        if identity.startswith(_LISTING):
            item = loads(bytes(text))
            if type(item.get("server_label")) is str and item.get("error") is None:
                tools = item.get("tools")
                shown = [_shown(tool) for tool in tools if type(tool) is dict] if type(tools) is list else []
                found.setdefault(item["server_label"], []).append(shown)
    return found


def _shown(tool: Json) -> Json:
    """Return a tool without members that are null: OpenAI's document lets them be absent, and clients want that."""
    return {name: value for name, value in tool.items() if value is not None}


def _listed(remote: Remote, shown: list[Json], fault: str | None) -> tuple[Beginning, Outcome]:
    beginning = Beginning(
        "mcp_list_tools", {"server_label": remote.label, "tools": []}, [("mcp_list_tools.in_progress", {})]
    )
    return beginning, _outcome(shown, fault)


def _outcome(shown: list[Json], fault: str | None) -> Outcome:
    """Return the end of an item that lists tools, or says why it lists none."""
    end, why = ("completed", {}) if fault is None else ("failed", {"error": fault})
    return Outcome("", end, {"tools": shown, **why}, [(f"mcp_list_tools.{end}", {})], instead=_unlisted)


def _unlisted(reason: str) -> Outcome:
    return _outcome([], reason)
