"""Tools of servers of tools, as a response calls them: at once, after an approval, or never."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from policy.vocabulary import Action
from server.api.responses.mcp.approvals import Approvals, Deed
from server.api.responses.mcp.servers import Remote
from server.api.responses.server_tools.tool import Beginning, Outcome, Told
from server.authz.request_authorization import Gate
from server.fairness.threads import in_thread
from server.inference.answers.model_name import QUICK
from server.json_input.signs import has_few_signs
from server.json_input.strict import Json, parse_json
from server.mcp.faults import McpFailed
from server.mcp.session import Session, digest_of

MOST_SIGNS: Final = 20_000
"""Brackets, braces, commas and texts in the arguments of one call, which are parsed in one piece."""

_NO_OBJECT: Final = f"the arguments are no JSON object, or one of more than {MOST_SIGNS} parts; the tool was not called"


@dataclass(frozen=True, slots=True)
class Calling:
    """What calls of one server's tools need: the caller's gate, the server, and a session with it."""

    gate: Gate
    remote: Remote
    session: Session

    async def call(self, tool: Json, arguments: str) -> Outcome:
        """Ask the policy, and call the tool once; raises what the gate raises, and NoRoom."""
        given = as_object(arguments)
        if given is None:
            return failure(_NO_OBJECT)
        group = self.remote.group
        await group.permit(self.gate)
        for resource in group.tool(tool["name"]):
            await self.gate.permit(Action.READ, resource)
        try:
            found = await self.session.call(tool["name"], given)
        except McpFailed as failed:
            told = failed.told()
            said = self.remote.secrets.hidden(told["message"])
            return failure(self.remote.secrets.hidden(str(failed)), {**told, "message": said})
        hidden = self.remote.secrets.hidden
        text = await in_thread(hidden, found.text) if len(found.text) > QUICK else hidden(found.text)
        if found.is_error:
            content = [{"type": "text", "text": text}]
            return failure(text, {"type": "mcp_tool_execution_error", "content": content})
        return Outcome(text, members={"output": text}, events=[("mcp_call.completed", {})])


class McpTool:
    """A tool that a server lists. A call of one that needs an approval asks for it, and ends the response."""

    def __init__(
        self,
        calling: Calling,
        tool: Json,
        name: str,
        *,
        is_permitted: bool,
        approvals: Approvals,
        ids: Iterator[str],
    ) -> None:
        """`ids` gives the ids of requests for approvals."""
        self.calling = calling
        self.tool = tool
        self._name = name
        self._is_permitted = is_permitted
        self._refusal = "you have no access to this tool"
        self._asks = calling.remote.needs_approval(tool)
        self._approvals = approvals
        self._ids = ids
        self._asked = defaultdict[str, deque[str]](deque)
        self._objects = dict[str, bool]()

    @cached_property
    def offered(self) -> Json | None:
        """The function of a chat that stands for it."""
        if not self._is_permitted:
            return None
        said = self.tool["description"]
        about = {} if said is None else {"description": said}
        parameters = self.tool["input_schema"]
        return {"type": "function", "function": {"name": self._name, **about, "parameters": parameters}}

    def is_named_by(self, choice: Json) -> bool:
        """Return whether a choice means this tool, or all tools of its server."""
        if choice["type"] != "mcp" or choice.get("server_label") != self.calling.remote.label:
            return False
        return choice.get("name") in (None, self.tool["name"])

    def beginning(self, arguments: str) -> Beginning | None:
        """Return the item of a call, or the request for its approval."""
        if not self._needs_approval(arguments):
            return begun(self.calling.remote.label, self.tool["name"], arguments, None)
        identity = next(self._ids)
        self._asked[arguments].append(identity)
        about = {"server_label": self.calling.remote.label, "name": self.tool["name"], "arguments": arguments}
        return Beginning("mcp_approval_request", {"id": identity, **about})

    async def call(self, arguments: str) -> Outcome:
        """Call the tool, or let the call wait for its approval."""
        if not self._is_permitted:
            return failure(self._refusal)
        if not self._needs_approval(arguments):
            return await self.calling.call(self.tool, arguments)
        # Calls with the same arguments are the same call, so it does not matter which of them this one is.
        identity = self._asked[arguments].popleft()
        remote = self.calling.remote
        deed = Deed(remote.label, remote.group.url, self.tool["name"], arguments)
        await self._approvals.ask(identity, deed, digest_of(self.tool))
        return Outcome("this call waits for the approval of the caller", ends=True, is_ours=True)

    def failed(self, arguments: str, sentence: str) -> Outcome:
        """Return the outcome of a call that failed; a request for an approval that is not known can't be answered."""
        return Outcome(sentence, ends=True, is_ours=True) if self._needs_approval(arguments) else failure(sentence)

    def barred(self, sentence: str) -> McpTool:
        """Return the tool as one that is neither called nor asks for an approval."""
        barred = copy(self)
        barred._is_permitted, barred._refusal = False, sentence
        return barred

    def _needs_approval(self, arguments: str) -> bool:
        if not (self._is_permitted and self._asks):
            return False
        found = self._objects.get(arguments)
        if found is None:
            # It is asked about several times in the course of one call.
            found = self._objects[arguments] = as_object(arguments) is not None
        return found


class ApprovedTool:
    """A call that the caller has approved; it is made if it still waits, and if the tool is described as it was."""

    offered = None

    def __init__(
        self,
        calling: Calling | None,
        tool: Json | None,
        deed: Deed,
        identity: str,
        asked: str,
        known: Approvals,
    ) -> None:
        self._calling = calling
        self._tool = tool
        self._deed = deed
        self._identity = identity
        self._described = asked
        self._approvals = known

    def is_named_by(self, choice: Json) -> bool:
        """Return False: the model does not call it."""
        return False

    def beginning(self, arguments: str) -> Beginning | None:
        """Return the item of the call."""
        return begun(self._deed.label, self._deed.name, arguments, self._identity)

    async def call(self, arguments: str) -> Outcome:
        """Use the approval, and call the tool."""
        if self._calling is None:
            return failure("the server of the tool did not answer, so the tool was not called")
        if not await self._approvals.use(self._identity):
            return failure("this call was approved before, and is made once; ask for it again")
        if self._tool is None or digest_of(self._tool) != self._described:
            return failure("the tool is not what it was when its call was approved; ask for the call again")
        return await self._calling.call(self._tool, arguments)

    def failed(self, arguments: str, sentence: str) -> Outcome:
        """Return the outcome of a call that failed."""
        return failure(sentence)

    def barred(self, sentence: str) -> ApprovedTool:
        """Return the call itself, about which the caller has decided."""
        return self


class RefusedTool:
    """A call that the caller has refused: the model is told so."""

    offered = None

    def __init__(self, identity: str, reason: str | None, known: Approvals) -> None:
        self._identity = identity
        self._reason = reason
        self._approvals = known

    def is_named_by(self, choice: Json) -> bool:
        """Return False: the model does not call it."""
        return False

    def beginning(self, arguments: str) -> Beginning | None:
        """Return None: a call that is not made has no item."""
        return None

    async def call(self, arguments: str) -> Outcome:
        """Forget the request, and tell the model."""
        await self._approvals.use(self._identity)
        why = "" if not self._reason else f": {self._reason}"
        return Outcome(f"the user has refused this call{why}")

    def failed(self, arguments: str, sentence: str) -> Outcome:
        """Return what the model is told where the request could not be forgotten."""
        return Outcome("the user has refused this call")

    def barred(self, sentence: str) -> RefusedTool:
        """Return the call itself, about which the caller has decided."""
        return self


def begun(label: str, name: str, arguments: str, approval: str | None) -> Beginning:
    """Return the item of a call."""
    about = {"server_label": label, "name": name, "arguments": arguments}
    events = [
        ("mcp_call.in_progress", {}),
        ("mcp_call_arguments.delta", {"delta": arguments}),
        ("mcp_call_arguments.done", {"arguments": arguments}),
    ]
    more = {"approval_request_id": approval, "output": None, "error": None}
    return Beginning("mcp_call", {**about, **more}, events)


def failure(sentence: str, error: Json | None = None) -> Outcome:
    """Return the outcome of a call that failed, with a sentence for the model, which is ours where no `error` is."""
    told = {"type": "http_error", "code": 0, "message": sentence} if error is None else error
    events: list[Told] = [("mcp_call.failed", {})]
    return Outcome(f"error: {sentence}", "failed", {"error": told}, events, is_ours=error is None)


def as_object(arguments: str) -> Json | None:
    """Return the arguments of a call; None for what is no JSON object, one that two readers may read differently, or
    one of more parts than are parsed at once.
    """
    if not arguments.strip():
        return {}
    try:
        raw = arguments.encode()
        return parse_json(raw).members if has_few_signs(raw, MOST_SIGNS) else None
    except ValueError:
        return None
