"""The items of a response that are open: they are opened, closed and told of in the order of OpenAI's document."""

from __future__ import annotations

from typing import Any, Final

from server.api.responses.state import (
    ITEM_WORDS,
    OpenItem,
    Part,
    State,
    Text,
    citations_of,
    custom_input,
    item_id,
    shown_item,
    shown_part,
)
from server.inference.answers.plain import whole_members
from server.json_input.strict import Json

MOST_ITEMS: Final = 128
"""Items of one response's output, most of them calls of tools; what comes after them is left out, as incomplete."""

_ENTRY: Final = 16
"""Bytes that each piece counts for besides its text."""


class OpenItems:
    """The state of a response in the course of one step, in which the events are not counted yet, and the events."""

    __slots__ = ("events", "state")

    def __init__(self, state: State) -> None:
        self.state = state
        self.events: list[Json] = []

    def tell(self, kind: str, **members: Any) -> None:
        """Add an event."""
        number = self.state.number + len(self.events)
        self.events.append({"type": kind, "sequence_number": number, **members})

    def tell_of(self, kind: str) -> None:
        """Add an event that shows the whole response."""
        self.tell(kind, response=self.state.response())

    def _tell_of_item(self, kind: str, **members: Any) -> None:
        """Add an event that begins or ends an item or a part, with the id of the response.

        The clients of Llama Stack and OGX have no type for such an event without it; OpenAI's ignore it.
        """
        self.tell(kind, response_id=self.state.head["id"], **members)

    def takes(self, text: str, more: int = 0, *, is_new: bool = False) -> bool:
        """Take room for a text, and return whether there was some; the first one that is too much is left out.

        There are `more` entries with it, and it begins an item if it `is_new`.
        """
        state = self.state
        if state.is_full:
            return False
        left = state.left - len(text.encode("utf-8", "surrogatepass")) - _ENTRY * (1 + more)
        if is_new and state.places + len(state.calls) >= MOST_ITEMS:
            left = -1
        self.state = state._replace(left=left)
        return left >= 0

    def next_id(self, kind: str) -> str:
        """Return the id of the next item, of this kind."""
        return item_id(ITEM_WORDS[kind], self.state.item_id, self.state.places)

    def opened(self, item: OpenItem) -> OpenItem:
        """Open an item, and return it."""
        self.state = self.state._replace(open=(*self.state.open, item), places=self.state.places + 1)
        self._tell_of_item("response.output_item.added", output_index=item.place, item=shown_item(item, "in_progress"))
        return item

    def part_opened(self, item: OpenItem, kind: str) -> OpenItem:
        """Return the item with an open part of this kind."""
        opened = Part(kind)
        where = {"item_id": item.id, "output_index": item.place, "content_index": len(item.parts)}
        self._tell_of_item("response.content_part.added", **where, part=shown_part(opened))
        return item._replace(part=opened)

    def part_closed(self, item: OpenItem) -> OpenItem:
        """Return the item without its open part, which is one of its closed ones then."""
        if item.part is None:
            return item
        part, where = item.part, {"item_id": item.id, "output_index": item.place, "content_index": len(item.parts)}
        shown = whole_members(shown_part(part))
        if part.kind == "output_text" and not self.state.calls:
            # A text before calls comes of what was there before them.
            shown["annotations"] = citations_of(self.state.sources, shown["text"])
            for number, citation in enumerate(shown["annotations"]):
                told = {**where, "annotation_index": number, "annotation": citation}
                self.tell("response.output_text.annotation.added", **told)
        said = "refusal" if part.kind == "refusal" else "text"
        more = {"logprobs": shown["logprobs"]} if part.kind == "output_text" else {}
        self.tell(f"response.{part.kind}.done", **where, **{said: shown[said]}, **more)
        self._tell_of_item("response.content_part.done", **where, part=shown)
        return item._replace(part=None, parts=(*item.parts, shown))

    def close(self, item: OpenItem, status: str) -> None:
        """Close an item that is open, with what is open of it."""
        kept = tuple(each for each in self.state.open if each is not item)
        item = self._call_closed(item, status) if item.call else self.part_closed(item)
        shown = shown_item(item, status)
        self.state = self.state._replace(open=kept, done=(*self.state.done, (item.place, shown)))
        self._tell_of_item("response.output_item.done", output_index=item.place, item=self.state.seen(shown))

    def close_all(self, last: str = "completed") -> None:
        """Close every open item; the last one has that status."""
        for item in self.state.open:
            self.close(item, last if item is self.state.open[-1] else "completed")

    def _call_closed(self, item: OpenItem, status: str) -> OpenItem:
        """Tell that the arguments of a call are whole, and return its item."""
        where = {"item_id": item.id, "output_index": item.place}
        grown = item.part or Part("arguments")
        if item.kind == "custom_tool_call":
            given = custom_input(grown.text.whole())
            self.tell("response.custom_tool_call_input.delta", **where, delta=given)
            self.tell("response.custom_tool_call_input.done", **where, input=given)
            return item
        if not grown.text.whole().strip() and status == "completed":
            # A call of a function without arguments; clients parse them.
            item = item._replace(part=grown._replace(text=Text(grown.text, "{}")))
            self.tell("response.function_call_arguments.delta", **where, delta="{}")
        shown = shown_item(item, status)
        told = {"name": shown["name"], "arguments": shown["arguments"]}
        self.tell("response.function_call_arguments.done", **where, **told)
        return item
