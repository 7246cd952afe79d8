"""Tools that this server runs for a response: what a model is offered, and what a call of one comes to.

A type of tools, such as `file_search`, is a `ToolKind`. It opens the tools of one request in a `ToolSet`, after the
policy was asked, and what it opens is closed with the set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from server.api.responses.body import ResponseBody
from server.api.responses.context import Context
from server.api.responses.happenings import Source
from server.api.responses.tools import MOST_TOOLS
from server.authz.request_authorization import Gate
from server.http.errors import invalid
from server.json_input.strict import Json

Told: TypeAlias = tuple[str, Json]
"""An event about an item: its name behind `response.`, and its members besides those of every such event."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """An item as it begins: its type `kind`, its members besides `id`, `type` and `status`, and events about it."""

    kind: str
    members: Mapping[str, Any]
    events: Sequence[Told] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a call: `told` is what the model is told of it, as data, and `members` are what its item gets besides.

    `sources` are the files of which `told` has parts. The response ends with a call that `ends` it. `tell` makes `told`
    of the members, where that says nothing else.

    Every text in it goes through the shields of the request, unless all of it `is_ours`: sentences of this server. If
    they stop it, what `instead` returns for a sentence that says why stands in its place; a call has failed then.
    """

    told: str
    status: str = "completed"
    members: Mapping[str, Any] = field(default_factory=dict)
    events: Sequence[Told] = ()
    sources: Sequence[Source] = ()
    ends: bool = False
    is_ours: bool = False
    tell: Callable[[Mapping[str, Any]], str] | None = None
    instead: Callable[[str], Outcome] | None = None


class ServerTool(Protocol):
    """A tool of one request."""

    @property
    def offered(self) -> Json | None:
        """The function of a chat that stands for it; None for one that may not be offered, whose calls fail."""
        ...

    def is_named_by(self, choice: Json) -> bool:
        """Return whether a `tool_choice`, or a tool in one, means this tool; `choice` has a `type`, which is a text."""
        ...

    def beginning(self, arguments: str) -> Beginning | None:
        """Return the item of a call with these arguments, a text that may be anything; None for a call without item."""
        ...

    async def call(self, arguments: str) -> Outcome:
        """Return what the call comes to. Whatever it raises fails the call; cancelling it ends the work."""
        ...

    def failed(self, arguments: str, sentence: str) -> Outcome:
        """Return the outcome of a call that failed, for the reason that `sentence` says."""
        ...

    def barred(self, sentence: str) -> ServerTool:
        """Return the tool as one whose calls fail, for the reason that `sentence` says."""
        ...


@dataclass(frozen=True, slots=True)
class FirstCall:
    """A call that is made before the model is asked, such as one that the caller has approved."""

    name: str
    arguments: str
    tool: ServerTool


class ToolSet:
    """The tools of one request, by the names that the model is offered.

    `listed` are items that the response begins with, and `first` calls that come before the model is asked. `opened`
    closes whatever the tools hold. `taken` are the names of the request's own functions.
    """

    def __init__(self, taken: Sequence[str] = ()) -> None:
        self.tools: dict[str, ServerTool] = {}
        self.listed: list[tuple[Beginning, Outcome]] = []
        self.first: list[FirstCall] = []
        self.opened = AsyncExitStack()
        self._taken = {*taken}

    def __bool__(self) -> bool:
        """Return whether there is anything to call or to tell."""
        return bool(self.tools or self.listed or self.first)

    def is_free(self, name: str) -> bool:
        """Return whether no other tool of the request has this name."""
        return name not in self._taken and name not in self.tools

    def add(self, name: str, tool: ServerTool, place: str) -> None:
        """Add a tool that stands at `place` in the body; raises the 400 for a name that is taken, and of too many."""
        if not self.is_free(name):
            sentence = f"`{place}` is called by the name `{name}`, which another tool has; rename the other tool"
            raise invalid(sentence, place, "invalid_value")
        if len(self._taken) + len(self.tools) >= MOST_TOOLS:
            sentence = f"`tools` must hold at most {MOST_TOOLS} tools, those of servers and of namespaces included"
            raise invalid(sentence, place, "invalid_value")
        self.tools[name] = tool

    async def aclose(self) -> None:
        """Close what was opened; a second time does nothing."""
        await self.opened.aclose()


@dataclass(frozen=True, slots=True)
class Opening:
    """The request that tools are opened for: the caller's gate, the id of its response, its body and its context."""

    gate: Gate
    response_id: str
    body: ResponseBody
    context: Context


class ToolKind(Protocol):
    """A type of tools."""

    async def check(self, opening: Opening, asked: Sequence[tuple[str, Json]]) -> None:
        """Ask the policy about everything that the request names, as `open` does, and reach no other service.

        Raises the ApiError for what the caller may not name.
        """
        ...

    async def open(self, opening: Opening, asked: Sequence[tuple[str, Json]], tools: ToolSet) -> None:
        """Add to `tools` those that the request asks for: each a place in the body, and what the check returned.

        Nothing may be spent before everything that is named was asked about. Raises the ApiError for what the caller
        may not name.
        """
        ...


class ServerTools:
    """The types of tools that this server runs."""

    def __init__(self, kinds: Mapping[str, ToolKind]) -> None:
        self._kinds = kinds

    async def open(self, opening: Opening) -> ToolSet:
        """Return the tools of a request, which the caller of this has to close."""
        tools = ToolSet([*opening.body.offered])
        try:
            for kind, asked in opening.body.served.items():
                await self._kind(kind, asked[0][0]).open(opening, asked, tools)
        except BaseException:
            await tools.aclose()
            raise
        return tools

    async def check(self, opening: Opening) -> None:
        """Raise the ApiError for tools that a request may not name, as far as that is known before they are opened."""
        for kind, asked in opening.body.served.items():
            await self._kind(kind, asked[0][0]).check(opening, asked)

    def _kind(self, kind: str, place: str) -> ToolKind:
        if kind not in self._kinds:
            sentence = f"`{kind}` is not served here; leave it out, or have the operator configure what it needs"
            raise invalid(sentence, place, "unsupported_value")
        return self._kinds[kind]
