"""The state of a response under way, which is a value, and what clients see of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from json import loads
from operator import itemgetter
from typing import Any, Final, NamedTuple

from server.api.responses.happenings import Source
from server.api.responses.tools import CUSTOM_INPUT
from server.inference.answers.plain import whole_members
from server.json_input.signs import has_few_signs
from server.json_input.strict import Json

MOST_OUTPUT: Final = 1024 * 1024
"""Bytes of the texts of one response; a longer answer ends there, as incomplete."""

MOST_SIGNS: Final = 1000
"""Brackets, braces, commas and texts of the arguments of a call in which the text for a custom tool is looked for."""

ITEM_WORDS: Final = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "custom_tool_call": "ctc",
    "compaction": "cmp",
    "file_search_call": "fs",
    "mcp_approval_request": "mcpr",
    "mcp_call": "mcp",
    "mcp_list_tools": "mcpl",
}

_OF_MODELS: Final = frozenset({"custom_tool_call", "function_call", "message", "reasoning"})
_LISTING: Final = "mcp_list_tools"
_NO_STATUS: Final = frozenset({"compaction", "mcp_approval_request", _LISTING})


class Text(NamedTuple):
    """A text that grows: what was there before, and the last piece with the probabilities of its tokens."""

    before: Text | None
    piece: str
    logprobs: tuple[Json, ...] = ()

    def whole(self) -> str:
        """Return the text in one piece."""
        pieces, text = list[str](), self
        while text.before is not None:
            pieces.append(text.piece)
            text = text.before
        pieces.append(text.piece)
        return "".join(reversed(pieces))

    def all_logprobs(self) -> list[Json]:
        """Return the probabilities of all tokens."""
        found, text = list[tuple[Json, ...]](), self
        while text.before is not None:
            found.append(text.logprobs)
            text = text.before
        return [*chain.from_iterable(reversed(found))]


_NO_TEXT: Final = Text(None, "")

_NO_CALL: Final[Mapping[str, Any]] = {}


class Part(NamedTuple):
    """The part of an item that grows now: its `kind` is the type of the part."""

    kind: str
    text: Text = _NO_TEXT


class OpenItem(NamedTuple):
    """An item that is not done: `place` is its place in the output, and `parts` are those that are done.

    A call has `call`, its members but for its arguments, which are `part`. `source` is the place of a call in the
    model's answer. An item of a tool of this server has its members in `tool`, and its key as `source`.
    """

    kind: str
    id: str
    place: int
    parts: tuple[Json, ...] = ()
    part: Part | None = None
    call: Mapping[str, Any] = _NO_CALL
    source: int = -1
    tool: Mapping[str, Any] | None = None


class ServerCall(NamedTuple):
    """A call of a tool of this server in the model's answer, of which clients are told when the tool begins."""

    source: int
    call_id: str
    name: str
    arguments: Text = _NO_TEXT


class State(NamedTuple):
    """A response under way.

    `head` are the members of the response that do not change, and `item_id` is what `item_id` makes the ids of items
    of. `names` are those of tools that are not plain functions, and `served` those of tools that this server runs, of
    which `calls` are waited for. `number` is that of the next event, `places` the number of items, and `left` the bytes
    that there is room for. `done` are the finished items with their places. `usage` counts all answers of the model,
    and `earlier` those before the present one. `sources` are the files that the model was given parts of. Clients see
    the results of searches only if the response `shows_results`. `moderation` are the results of its moderation, which
    are told only if `head` has a member of this name.
    """

    head: Mapping[str, Any]
    item_id: tuple[str, int]
    names: Mapping[str, Json]
    status: str = "in_progress"
    done: tuple[tuple[int, Json], ...] = ()
    open: tuple[OpenItem, ...] = ()
    number: int = 0
    places: int = 0
    left: int = MOST_OUTPUT
    usage: Json | None = None
    reason: str | None = None
    error: Json | None = None
    ended_at: int | None = None
    served: frozenset[str] = frozenset()
    calls: tuple[ServerCall, ...] = ()
    earlier: Json | None = None
    sources: tuple[Source, ...] = ()
    shows_results: bool = False
    moderation: Json | None = None

    @property
    def is_over(self) -> bool:
        """True once the last event is out."""
        return self.status not in ("queued", "in_progress")

    @property
    def is_full(self) -> bool:
        """True when more has come than a response holds; nothing more is taken."""
        return self.left < 0

    def seen(self, item: Json) -> Json:
        """Return an item as clients see it."""
        return item if self.shows_results or "results" not in item else {**item, "results": None}

    def output(self) -> list[Json]:
        """Return the items as they are now, in their places, with all that they hold."""
        opened = [(item.place, shown_item(item, "in_progress")) for item in self.open]
        if self.is_over:
            opened = [(place, interrupted(item)) for place, item in opened]
        items = [*self.done, *opened]
        # Calls may end in another order than they began in.
        return [shown for _, shown in sorted(items, key=itemgetter(0))]

    def response(self, *, whole: bool = False) -> Json:
        """Return the response as it is now: as clients see it, or the whole of it."""
        is_cut = self.status == "incomplete"
        moderation = {"moderation": self.moderation} if "moderation" in self.head else {}
        return {
            **self.head,
            **moderation,
            "status": self.status,
            "completed_at": self.ended_at if self.status == "completed" else None,
            "error": self.error,
            "incomplete_details": {"reason": _why(self)} if is_cut else None,
            "output": self.output() if whole else [*map(self.seen, self.output())],
            "usage": self.usage,
        }


def item_id(word: str, of: tuple[str, int], place: int) -> str:
    """Return the id of the item at a place behind those that a response begins with: `of` has its digits, and how
    many these are.
    """
    return f"{word}_{of[0]}{of[1] + place:05d}"


def shown_item(item: OpenItem, status: str) -> Json:
    """Return an item as clients see it."""
    frame = {"id": item.id, "type": item.kind, "status": status}
    if item.tool is not None:
        if item.kind in _NO_STATUS:
            del frame["status"]
        if item.kind == _LISTING:
            # Hundreds of objects, all of which were read as JSON that has no halves of characters.
            return {**frame, **item.tool}
        return whole_members({**frame, **item.tool})
    if item.kind == "function_call":
        arguments = item.part.text.whole() if item.part is not None else ""
        return whole_members({**frame, **item.call, "arguments": arguments})
    if item.kind == "custom_tool_call":
        return whole_members({**frame, **item.call, "input": custom_input(item.part.text.whole() if item.part else "")})
    parts = [*item.parts, *([] if item.part is None else [whole_members(shown_part(item.part))])]
    if item.kind == "reasoning":
        return {**frame, "summary": [], "content": parts}
    return {**frame, "role": "assistant", "content": parts}


def interrupted(item: Json) -> Json:
    """Return an item that was under way as it stays; a call of a tool of this server is not made again."""
    if "status" not in item:
        return item
    if item["type"] in _OF_MODELS:
        return {**item, "status": "incomplete"}
    if item["type"] != "mcp_call":
        return {**item, "status": "failed"}
    content = [{"type": "text", "text": "interrupted"}]
    return {**item, "status": "failed", "error": {"type": "mcp_tool_execution_error", "content": content}}


def shown_part(part: Part) -> Json:
    """Return a part of an item as clients see it."""
    text = part.text.whole()
    if part.kind == "refusal":
        return {"type": "refusal", "refusal": text}
    more = {"annotations": [], "logprobs": part.text.all_logprobs()} if part.kind == "output_text" else {}
    return {"type": part.kind, "text": text, **more}


def citations_of(sources: Sequence[Source], text: str) -> list[Json]:
    """Return the annotations of a text that a model wrote with parts of these files before it."""
    return [{"type": "file_citation", **source._asdict(), "index": len(text)} for source in sources if text]


def total(one: Json | None, other: Json | None) -> Json | None:
    """Return the sum of what two answers have cost; what is not known counts nothing."""
    if one is None or other is None:
        return other if one is None else one
    return {
        name: total(value, other[name]) if type(value) is dict else value + other[name] for name, value in one.items()
    }


def custom_input(arguments: str) -> str:
    """Return the text that a custom tool gets; arguments in another form, or of many parts, are the text themselves."""
    # A megabyte of empty lists would be parsed for a tenth of a second, several times.
    is_light = has_few_signs(arguments.encode("utf-8", "surrogatepass"), MOST_SIGNS)
    value = parsed(arguments) if is_light else None
    given = value.get(CUSTOM_INPUT) if type(value) is dict else None
    return given if type(given) is str else arguments


def parsed(text: str) -> Any:
    """Return the value of a text of JSON; None where it is none."""
    try:
        return loads(text)
    except (ValueError, RecursionError):
        return None


def _why(state: State) -> str:
    return "content_filter" if state.reason == "content_filter" else "max_output_tokens"
