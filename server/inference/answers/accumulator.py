"""Assembly of the chunks of a streamed answer into the answer as it would have come in one piece.

It makes of a stream what the accumulator of OpenAI's SDK makes of it, which a test compares.
"""

from __future__ import annotations

import operator
from typing import Any, Final

from server.inference.answers.model_name import QUICK
from server.inference.answers.plain import storable, whole_members
from server.inference.provider import DONE
from server.json_input.strict import Json

_PENDING: Final = 64 * 1024
"""Bytes of events that are kept before they are read."""

_DATA: Final = b"data: "
_END: Final = b"\n\n"
_ENTRY: Final = 16
"""Bytes that each member and each entry of a list counts for, besides names and texts."""

_MOST_PLACES: Final = 128
"""Choices of an answer, and calls of a choice."""

_OF_CHUNKS: Final = "obfuscation"
"""A member that hides how long a chunk is; the answer hasn't got it."""

_REPLACED: Final = frozenset({"index", "type"})
"""Members of a message, and of what is in it, that each chunk says anew; other texts grow."""

_OF_THE_LAST: Final = ("usage", "system_fingerprint")
"""Members of the answer that are those of its last chunk."""

_NUMBERS: Final = (int, float)


class _Parts(list[str]):
    """A text that grows."""


class ChatAccumulator:
    """One answer, as far as it has come; `most` limits the bytes of its texts and lists.

    As many may be names of members and their single values, since a provider may send ever new ones.

    It is fed the events that the caller is sent, as an `EventRelay` or a provider of ours has made them. They are read
    by `read` whenever it `is_due`, and at the end; where they are many, call it in a thread.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._room = self._spare = most
        self._waiting: list[bytes] = []
        self._size = 0
        self._lost = False
        self._members: Json = {}
        self._choices: dict[int, Json] = {}
        self._sizes: dict[tuple[int | None, str], int] = {}

    def feed(self, piece: bytes) -> None:
        """Take the next events."""
        if self._lost:
            return
        self._waiting.append(piece)
        self._size += len(piece)
        if self._size > self._most + _PENDING:
            # Where `read` is called in time, this piece alone is larger than what may come.
            self._lose()

    @property
    def is_due(self) -> bool:
        """True when enough waits to `read` it."""
        return self._size > _PENDING

    @property
    def is_heavy(self) -> bool:
        """True when more waits than is read in about a millisecond."""
        return self._size > QUICK

    def finish(self) -> Json | None:
        """Return the chat completion; None if it is too large, or the chunks do not make one."""
        self.read()
        if self._lost or not self._members:
            return None
        choices = [_finished(self._choices[index]) for index in sorted(self._choices)]
        members = {
            name: value for name, value in self._members.items() if name not in _OF_THE_LAST or value is not None
        }
        return whole_members({**members, "object": "chat.completion", "choices": choices})

    def read(self) -> None:
        """Read what is waiting."""
        waiting, self._waiting, self._size = b"".join(self._waiting), [], 0
        for event in waiting.split(_END):
            if event.startswith(_DATA) and event != DONE[: -len(_END)] and not self._lost:
                self._add(event[len(_DATA) :])

    def _add(self, text: bytes) -> None:
        chunk = storable(text)
        if chunk is None:
            self._lose()
            return
        try:
            self._add_choices(chunk.pop("choices"))
            chunk.pop(_OF_CHUNKS, None)
            for name in _OF_THE_LAST:
                self._put(None, self._members, name, chunk.pop(name, None))
            if chunk.get("moderation") is not None:
                self._put(None, self._members, "moderation", chunk["moderation"])
            self._keep(None, self._members, chunk)
        except (TypeError, AttributeError, KeyError):
            self._lose()
        if self._room < 0 or self._spare < 0 or len(self._choices) > _MOST_PLACES:
            self._lose()

    def _add_choices(self, given: object) -> None:
        if type(given) is not list:
            raise TypeError("the choices of a chunk are a list")
        for choice in given:
            self._add_choice(choice)

    def _add_choice(self, given: Json) -> None:
        place = operator.index(given["index"])
        choice = self._choices.setdefault(place, {"index": place, "message": {}})
        self._merge(choice["message"], given.pop("delta", None) or {})
        logprobs = given.pop("logprobs", None)
        if logprobs is not None:
            choice["logprobs"] = choice.get("logprobs") or {}
            self._merge(choice["logprobs"], logprobs)
        if given.get("finish_reason"):
            self._put(place, choice, "finish_reason", given["finish_reason"])
        self._keep(place, choice, given)

    def _keep(self, place: int | None, whole: Json, more: Json) -> None:
        """Add the members that the answer, or its choice at `place`, hasn't got yet."""
        for name, value in more.items():
            if name not in whole:
                self._put(place, whole, name, value)

    def _put(self, place: int | None, whole: Json, name: str, value: Any) -> None:
        """Set a member of the answer, or of its choice at `place`, which counts for what it holds."""
        if name not in whole:
            if value is None and name in _OF_THE_LAST:
                return
            self._spare -= _ENTRY + len(name.encode("utf-8", "surrogatepass"))
        size = len(repr(value))
        self._spare -= size - self._sizes.get((place, name), 0)
        self._sizes[place, name] = size
        whole[name] = value

    def _merge(self, whole: Json, more: Json) -> None:
        """Add the members of a chunk to those of the chunks before it; what is of another type is dropped."""
        for name, value in more.items():
            if name not in whole:
                self._spare -= _ENTRY + len(name.encode("utf-8", "surrogatepass"))
                whole[name] = None
            match value:
                case None:
                    continue
                case str() if name not in _REPLACED:
                    self._append(whole, name, value)
                case dict():
                    self._merge_object(whole, name, value)
                case list() if whole[name] is None or type(whole[name]) is list:
                    whole[name] = self._joined(whole[name] or [], value)
                case int() | float() | str():
                    self._add_single(whole, name, value)

    def _merge_object(self, whole: Json, name: str, more: Json) -> None:
        if whole[name] is None:
            self._room -= _ENTRY
            whole[name] = {}
        if type(whole[name]) is dict:
            self._merge(whole[name], more)

    def _add_single(self, whole: Json, name: str, value: Any) -> None:
        """Add a number to the one before it, and set what comes first or is said anew."""
        held = whole[name]
        if held is None or name in _REPLACED:
            self._replace(whole, name, value)
        elif type(held) in _NUMBERS and type(value) in _NUMBERS:
            self._replace(whole, name, held + value)

    def _replace(self, whole: Json, name: str, value: Any) -> None:
        """Set a single value, which counts where it is longer than the one before it."""
        held = whole[name]
        self._spare -= max(0, len(repr(value)) - (0 if held is None else len(repr(held))))
        whole[name] = value

    def _append(self, whole: Json, name: str, text: str) -> None:
        """Let a text grow. An empty piece is not held, since it would take memory and count for nothing."""
        held = whole[name]
        if held is None:
            held = whole[name] = _Parts()
        if not isinstance(held, _Parts):
            return
        self._room -= len(text.encode("utf-8", "surrogatepass"))
        if text:
            held.append(text)

    def _joined(self, held: list[Any], more: list[Any]) -> list[Any]:
        """Merge entries with an `index` into those at their places, and append others."""
        for entry in more:
            self._room -= _ENTRY
            place = entry.get("index") if type(entry) is dict else None
            if type(place) is not int:
                self._room -= len(repr(entry))
                held.append(entry)
                continue
            found = next((one for one in reversed(held) if type(one) is dict and one.get("index") == place), None)
            if found is None:
                if len(held) == _MOST_PLACES:
                    raise TypeError("a message holds no more entries than that")
                found = {}
                held.append(found)
            self._merge(found, entry)
        return held

    def _lose(self) -> None:
        """Give up, and free the memory."""
        self._lost = True
        self._waiting, self._size = [], 0
        self._members, self._choices, self._sizes = {}, {}, {}


def _finished(choice: Json) -> Json:
    message = {"role": "assistant", "content": None, "refusal": None, **choice["message"]}
    for call in message.get("tool_calls") or ():
        # The place of a call is told in chunks alone.
        if type(call) is dict:
            call.pop("index", None)
    done: Json = _plain({"logprobs": None, **choice, "message": message})
    return done


def _plain(value: Any) -> Any:
    """Return the value with each of its texts in one piece."""
    if isinstance(value, _Parts):
        return "".join(value)
    if type(value) is dict:
        return {name: _plain(inner) for name, inner in value.items()}
    if type(value) is list:
        return [_plain(inner) for inner in value]
    return value
