"""The course of one response: its state is a value, and one step is a pure function of the state and what happens.

`step` knows neither models nor stores. What happens are the `Happening`s; what comes of them are the events that a
client is sent, in the order of OpenAI's document, numbered without gaps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from json import dumps
from typing import Final, TypeAlias

from server.api.responses.happenings import (
    Begun,
    Called,
    Ended,
    Failed,
    Happening,
    Left,
    Moderated,
    Paused,
    Prepared,
    Queued,
    Refused,
    Said,
    Source,
    Spent,
    Stopped,
    Thought,
    ToolBegun,
    ToolEnded,
)
from server.api.responses.moderated import moderation_of
from server.api.responses.open_items import OpenItems
from server.api.responses.state import OpenItem, Part, ServerCall, State, Text, parsed, total
from server.json_input.strict import Json

MOST_SOURCES: Final = 50
"""Files that one text cites; the ones that the model was given first."""

_LONGEST_PARSED: Final = 64 * 1024
"""Characters of arguments that are parsed to see whether they are whole."""

_GROWING: Final[Mapping[type, tuple[str, str]]] = {
    Said: ("message", "output_text"),
    Refused: ("message", "refusal"),
    Thought: ("reasoning", "reasoning_text"),
}
"""The kinds of items and of their parts that pieces of text belong to."""

Step: TypeAlias = Callable[[State, Happening], tuple[State, list[Json]]]
"""A step in the course of a response: `step`, or one that does more with what `step` returns."""


def step(state: State, happening: Happening) -> tuple[State, list[Json]]:
    """Return the state after a happening, and the events that tell of it; nothing happens after the end."""
    if state.is_over:
        return state, []
    course = _Course(state)
    match happening:
        case Queued() | Begun():
            course.begin("queued" if isinstance(happening, Queued) else "in_progress")
        case Said() | Refused() | Thought():
            course.grow(*_GROWING[type(happening)], *happening)
        case Called():
            course.call(happening)
        case Spent() | Moderated() | Stopped():
            course.note(happening)
        case ToolBegun() | ToolEnded() | Paused():
            course.pass_tool(happening)
        case Ended(now):
            course.end(now)
        case Prepared(now):
            course.prepare(now)
        case Failed() | Left():
            course.break_off(happening)
    return course.state._replace(number=course.state.number + len(course.events)), course.events


class _Course(OpenItems):
    """One step under way."""

    __slots__ = ()

    def begin(self, status: str) -> None:
        """Tell that the response waits, or is worked on, and before that it is created unless it has waited."""
        is_new = self.state.status != "queued"
        self.state = self.state._replace(status=status)
        if is_new:
            self.tell_of("response.created")
        self.tell_of(f"response.{status}")

    def note(self, happening: Spent | Moderated | Stopped) -> None:
        """Take note of what is told of the response as a whole."""
        state = self.state
        match happening:
            case Spent(usage):
                self.state = state._replace(usage=total(state.earlier, usage))
            case Moderated(results) if "moderation" in state.head:
                # Where the request asks for none, a provider tells of its own.
                self.state = state._replace(moderation=moderation_of(state.moderation, results))
            case Stopped(reason):
                self.state = state._replace(reason=reason)

    def grow(self, kind: str, part: str, text: str, logprobs: tuple[Json, ...] = ()) -> None:
        """Add text to the open item of a kind, in a part of a kind; both are opened where they aren't open."""
        state = self.state
        item = state.open[0] if len(state.open) == 1 and state.open[0].kind == kind else None
        more = sum(1 + len(each.get("top_logprobs") or ()) for each in logprobs)
        if not text or not self.takes(text, more, is_new=item is None):
            return
        if item is None:
            self.close_all()
            item = self.opened(OpenItem(kind, self.next_id(kind), self.state.places))
        if item.part is None or item.part.kind != part:
            item = self.part_opened(self.part_closed(item), part)
        grown = item.part or Part(part)
        item = item._replace(part=grown._replace(text=Text(grown.text, text, logprobs)))
        self.state = self.state._replace(open=(item,))
        where = {"item_id": item.id, "output_index": item.place, "content_index": len(item.parts)}
        told = {"logprobs": [*logprobs]} if part == "output_text" else {}
        self.tell(f"response.{part}.delta", **where, delta=text, **told)

    def call(self, called: Called) -> None:
        """Add a piece to a call, which is opened by its first piece."""
        served = next((call for call in self.state.calls if call.source == called.place), None)
        if served is not None or called.name in self.state.served:
            self._gather(called, served)
            return
        found = next((item for item in self.state.open if item.source == called.place and item.tool is None), None)
        if found is None:
            if not called.name or not self.takes(called.name, is_new=True):
                return
            found = self._call_opened(called)
        if not called.arguments or not self.takes(called.arguments):
            return
        grown = found.part or Part("arguments")
        item = found._replace(part=grown._replace(text=Text(grown.text, called.arguments)))
        self.state = self.state._replace(open=tuple(item if each is found else each for each in self.state.open))
        if item.kind == "function_call":
            where = {"item_id": item.id, "output_index": item.place}
            self.tell("response.function_call_arguments.delta", **where, delta=called.arguments)

    def _gather(self, called: Called, served: ServerCall | None) -> None:
        """Add a piece to a call of a tool of this server, which nothing is told of until the tool begins."""
        calls = self.state.calls
        if served is None:
            if not self.takes(called.name, is_new=True):
                return
            served = ServerCall(called.place, called.call_id, called.name)
            calls = (*calls, served)
        grown = served
        if called.arguments and self.takes(called.arguments):
            grown = served._replace(arguments=Text(served.arguments, called.arguments))
        self.state = self.state._replace(calls=tuple(grown if call is served else call for call in calls))

    def pass_tool(self, happening: ToolBegun | ToolEnded | Paused) -> None:
        """Tell what happens to a tool of this server, or between two answers of the model."""
        match happening:
            case ToolBegun():
                self._begin_tool(happening)
            case ToolEnded():
                self._end_tool(happening)
            case Paused():
                self.close_all()
                self.state = self.state._replace(calls=(), reason=None, earlier=self.state.usage)

    def _begin_tool(self, begun: ToolBegun) -> None:
        """Open the item of a tool of this server, unless there is no room for it."""
        if self.takes(dumps(begun.members), is_new=True):
            opened = OpenItem(begun.kind, self.next_id(begun.kind), self.state.places, source=begun.key)
            item = self.opened(opened._replace(tool=begun.members))
            self._tell_of_tool(item, begun.events)

    def _end_tool(self, ended: ToolEnded) -> None:
        """Close that item; what it holds besides is left out where there is no room for it."""
        self._cite(ended.sources)
        item = next((each for each in self.state.open if each.tool is not None and each.source == ended.key), None)
        if item is None or item.tool is None:
            return
        if not self.takes(dumps(ended.members)):
            self.close(item, "incomplete")
            return
        self._tell_of_tool(item, ended.events)
        whole = item._replace(tool={**item.tool, **ended.members})
        self.state = self.state._replace(open=tuple(whole if each is item else each for each in self.state.open))
        self.close(whole, ended.status)

    def _tell_of_tool(self, item: OpenItem, events: tuple[tuple[str, Json], ...]) -> None:
        for name, members in events:
            self.tell(f"response.{name}", item_id=item.id, output_index=item.place, **members)

    def _cite(self, sources: tuple[Source, ...]) -> None:
        known = dict.fromkeys((*self.state.sources, *sources))
        self.state = self.state._replace(sources=(*known,)[:MOST_SOURCES])

    def _call_opened(self, called: Called) -> OpenItem:
        """Open a call, once what is before it is closed: other items, and calls whose arguments are whole."""
        for item in self.state.open:
            if not item.call or _is_whole(item):
                self.close(item, "completed")
        known = self.state.names.get(called.name, {"type": "function", "name": called.name})
        kind = "custom_tool_call" if known["type"] == "custom" else "function_call"
        space = {"namespace": known["namespace"]} if "namespace" in known else {}
        call = {"call_id": called.call_id, "name": known["name"], **space}
        return self.opened(
            OpenItem(
                kind, self.next_id(kind), self.state.places, call=call, source=called.place, part=Part("arguments")
            )
        )

    def end(self, now: int) -> None:
        """Close what is open, and tell the end."""
        self.state = self.state._replace(calls=())
        is_cut = self.state.is_full or self.state.reason in ("length", "content_filter")
        if not self.state.open and not self.state.done:
            # Clients take an answer without any item for a broken one.
            opened = self.opened(OpenItem("message", self.next_id("message"), self.state.places))
            item = self.part_opened(opened, "output_text")
            self.state = self.state._replace(open=(item,))
        self.close_all("incomplete" if is_cut else "completed")
        self.state = self.state._replace(status="incomplete" if is_cut else "completed", ended_at=now)
        self.tell_of(f"response.{self.state.status}")

    def break_off(self, happening: Failed | Left) -> None:
        """Tell of an end that is none of the answer; what is open stays as far as it has come."""
        if isinstance(happening, Left):
            self.state = self.state._replace(status="cancelled")
            # Streams of OpenAI have no end for what is cancelled.
            self.tell_of("response.incomplete")
            return
        error = {"code": happening.code, "message": happening.message}
        self.state = self.state._replace(status="failed", error=error)
        self.tell_of("response.failed")

    def prepare(self, now: int) -> None:
        """Tell the end of a response without items, which no model was asked for."""
        self.state = self.state._replace(status="completed", ended_at=now)
        self.tell_of("response.completed")


def _is_whole(item: OpenItem) -> bool:
    """Return whether the arguments of a call are whole, so that no more of them comes."""
    text = item.part.text.whole() if item.part is not None else ""
    if len(text) > _LONGEST_PARSED:
        return text.rstrip().endswith("}")
    return parsed(text) is not None
