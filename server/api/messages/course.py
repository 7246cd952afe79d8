"""The course of one message: the blocks that the pieces of a chat's answer come to, and the events that tell of them.

A block is closed before the next one is opened, but for calls of tools whose arguments are not whole: providers may
send the pieces of several calls by turns, and events say which block they are about.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from json import loads
from typing import Any, Final

from server.api.responses.happenings import Called, Happening, Refused, Said, Spent, Stopped, Thought
from server.inference.answers.plain import NotAnAnswer
from server.json_input.strict import Json

MOST_BLOCKS: Final = 1024
"""Blocks of one message."""

LONGEST_PARSED: Final = 64 * 1024
"""Characters of arguments that a stream keeps to see whether they are whole; of longer ones only the end is looked at.
"""

_NO_USAGE: Final = {
    "input_tokens": 0,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "output_tokens": 0,
}


class Course:
    """One message under way, by a model with these `stops`; `begin`, `step` for each happening, and `end`."""

    def __init__(self, identity: str, model: str, stops: Collection[str], *, shows_thoughts: bool) -> None:
        self._identity = identity
        self._model = model
        self._stops = stops
        self._shows_thoughts = shows_thoughts
        self._open: list[_Block] = []
        self._blocks = 0
        self._usage: Json = _NO_USAGE
        self._reason = self._sequence = ""
        self._has_called = self._has_refused = False

    def begin(self) -> list[Json]:
        """Return the event of a message that has nothing yet; what the prompt has cost is known in the end alone."""
        return [{"type": "message_start", "message": self._message([], None, None, _NO_USAGE)}]

    def step(self, happening: Happening) -> list[Json]:
        """Return the events of what happens; raises NotAnAnswer for a piece that belongs to nothing."""
        match happening:
            case Said(text):
                return self._grown("text", text)
            case Refused(text):
                self._has_refused = True
                return self._grown("text", text)
            case Thought(text):
                return self._grown("thinking", text) if self._shows_thoughts else []
            case Called():
                return self._called(happening)
            case Spent(usage):
                self._usage = _usage(usage)
            case Stopped(reason, sequence):
                self._reason, self._sequence = reason, sequence
        return []

    def end(self) -> list[Json]:
        """Return the last events; raises NotAnAnswer for calls that are no whole ones and were not cut off."""
        if self._reason != "length" and not all(block.is_whole for block in self._open):
            raise NotAnAnswer
        reason, sequence = self._stop()
        told = {"stop_reason": reason, "stop_sequence": sequence}
        last = {"type": "message_delta", "delta": told, "usage": self._usage}
        return [*self._closed(self._open), last, {"type": "message_stop"}]

    def whole(self, happenings: Iterable[Happening]) -> Json:
        """Return the message of an answer that is whole; raises NotAnAnswer for calls whose arguments are no object.

        Calls that were cut off are left out.
        """
        content, broken = list[Json](), False
        for happening in happenings:
            if isinstance(happening, Called):
                given = _arguments(happening.arguments)
                broken = broken or given is None
                if given is not None:
                    self._has_called = True
                    content.append(
                        {"type": "tool_use", "id": happening.call_id, "name": happening.name, "input": given}
                    )
                continue
            for event in self.step(happening):
                if event["type"] == "content_block_start":
                    content.append(event["content_block"])
                elif event["type"] == "content_block_delta":
                    kind = content[-1]["type"]
                    content[-1][kind] += event["delta"][kind]
        if broken and self._reason != "length":
            raise NotAnAnswer
        return self._message(content, *self._stop(), self._usage)

    def _message(self, content: list[Json], reason: str | None, sequence: str | None, usage: Json) -> Json:
        return {
            "id": self._identity,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": content,
            "stop_reason": reason,
            "stop_sequence": sequence,
            "usage": {**usage, "service_tier": "standard"},
        }

    def _stop(self) -> tuple[str, str | None]:
        """Return the reason of the end, and the stop sequence that it was where the provider tells which."""
        if self._reason == "length":
            return "max_tokens", None
        if self._reason == "content_filter" or self._has_refused:
            return "refusal", None
        if self._has_called:
            return "tool_use", None
        if self._sequence in self._stops:
            return "stop_sequence", self._sequence
        return "end_turn", None

    def _grown(self, kind: str, text: str) -> list[Json]:
        """Return the events of text that is added to the open block of that kind, or to a new one."""
        events = list[Json]()
        if len(self._open) != 1 or self._open[0].kind != kind:
            events += self._closed(self._open)
            begun = {"type": kind, kind: ""} | ({"signature": ""} if kind == "thinking" else {})
            events.append(self._opened(_Block(kind, self._blocks), begun))
        return [*events, self._open[0].grown({"type": f"{kind}_delta", kind: text})]

    def _called(self, called: Called) -> list[Json]:
        """Return the events of a piece of a call, which is opened by its first piece."""
        events = list[Json]()
        block = next((each for each in self._open if each.source == called.place), None)
        if block is None:
            if not called.name:
                raise NotAnAnswer
            events += self._closed([each for each in self._open if each.is_whole])
            block = _Block("tool_use", self._blocks, called.place)
            self._has_called = True
            begun = {"type": "tool_use", "id": called.call_id, "name": called.name, "input": {}}
            events.append(self._opened(block, begun))
        if called.arguments:
            block.keep(called.arguments)
            events.append(block.grown({"type": "input_json_delta", "partial_json": called.arguments}))
        return events

    def _opened(self, block: _Block, begun: Json) -> Json:
        if self._blocks == MOST_BLOCKS:
            raise NotAnAnswer
        self._blocks += 1
        self._open.append(block)
        return {"type": "content_block_start", "index": block.index, "content_block": begun}

    def _closed(self, blocks: list[_Block]) -> list[Json]:
        self._open = [each for each in self._open if each not in blocks]
        return [{"type": "content_block_stop", "index": block.index} for block in blocks]


class _Block:
    """A block that is open; `source` is the place of its call in the chat's answer, where it is one."""

    def __init__(self, kind: str, index: int, source: int | None = None) -> None:
        self.kind = kind
        self.index = index
        self.source = source
        self._kept: list[str] = []
        self._size = 0

    def grown(self, delta: Json) -> Json:
        """Return the event of an addition."""
        return {"type": "content_block_delta", "index": self.index, "delta": delta}

    def keep(self, arguments: str) -> None:
        """Keep a piece of the arguments of a call, or only the last one of long ones."""
        self._size += len(arguments)
        if self._size > LONGEST_PARSED:
            self._kept.clear()
        self._kept.append(arguments)

    @property
    def is_whole(self) -> bool:
        """True unless it is a call of which arguments are still to come."""
        if self._size > LONGEST_PARSED:
            return self._kept[-1].rstrip().endswith("}")
        return self.source is None or _arguments("".join(self._kept)) is not None


def _arguments(text: str) -> Json | None:
    """Return the arguments of a call, none of which is an empty object too; None for a text that is no object."""
    if not text.strip():
        return {}
    try:
        found: Any = loads(text)
    except (ValueError, RecursionError):
        return None
    return found if type(found) is dict else None


def _usage(usage: Json) -> Json:
    """Return what an answer has cost; tokens of a cache are not among those of the input here."""
    details = usage["input_tokens_details"]
    read, written = details["cached_tokens"], details["cache_write_tokens"]
    return {
        "input_tokens": max(0, usage["input_tokens"] - read - written),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": usage["output_tokens"],
    }
