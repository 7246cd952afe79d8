"""Putting the chunks of a streamed answer together again: the answer as it would have come in one piece."""

from __future__ import annotations

import operator
from typing import Any, Final

from server.inference.answers.model_name import QUICK
from server.inference.provider import DONE
from server.json_input.strict import InvalidJson, Json, parse_json

_PENDING: Final = 64 * 1024
"""Bytes of events that are kept before they are read."""

_DATA: Final = b"data: "
_END: Final = b"\n\n"
_ENTRY: Final = 16
"""Bytes that anything but a text counts for."""

_MOST_PLACES: Final = 128
"""Choices of an answer, and calls of a choice."""

_OF_CHUNKS: Final = "obfuscation"
"""A member that hides how long a chunk is; the answer hasn't got it."""

_WHOLE: Final = frozenset({"role", "id", "type", "name", "object"})
"""Texts that come in one piece; some providers repeat them in every chunk."""


class _Parts(list[str]):
    """A text that grows."""


class ChatAccumulator:
    """One answer, as far as it has come; `most` is the bytes that may come together.

    It is fed what the caller is sent: whole events, as an `EventRelay` or a provider of ours has made them. They are
    read now and then, by `read` whenever it `is_due`, and in the end. That had better be done in a thread, where they
    are many.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._room = most
        self._waiting: list[bytes] = []
        self._size = 0
        self._lost = False
        self._members: Json = {}
        self._choices: dict[int, Json] = {}

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
        """So much is waiting that it is time to `read` it."""
        return self._size > _PENDING

    @property
    def is_heavy(self) -> bool:
        """More is waiting than is read in a millisecond or so."""
        return self._size > QUICK

    def finish(self) -> Json | None:
        """The chat completion; None if it is too large, or the chunks don't make one."""
        self.read()
        if self._lost or not self._members:
            return None
        choices = [_finished(self._choices[index]) for index in sorted(self._choices)]
        members = {name: value for name, value in self._members.items() if name != "usage" or value is not None}
        return {**members, "object": "chat.completion", "choices": choices}

    def read(self) -> None:
        """Read what is waiting."""
        waiting, self._waiting, self._size = b"".join(self._waiting), [], 0
        for event in waiting.split(_END):
            if event.startswith(_DATA) and event != DONE[: -len(_END)] and not self._lost:
                self._add(event[len(_DATA) :])

    def _add(self, text: bytes) -> None:
        try:
            chunk = parse_json(text).members
            self._add_choices(chunk.pop("choices"))
            chunk.pop(_OF_CHUNKS, None)
            held = self._members
            held |= {name: value for name, value in chunk.items() if value is not None or name not in held}
        except (InvalidJson, TypeError, AttributeError, KeyError):
            self._lose()
        if self._room < 0 or len(self._choices) > _MOST_PLACES:
            self._lose()

    def _add_choices(self, given: object) -> None:
        if type(given) is not list:
            raise TypeError("the choices of a chunk are a list")
        for choice in given:
            self._add_choice(choice)

    def _add_choice(self, given: Json) -> None:
        place = operator.index(given["index"])
        choice = self._choices.setdefault(place, {"index": place, "message": {}})
        for name, value in given.items():
            if name == "delta":
                self._merge(choice["message"], value or {})
            elif name == "logprobs" and value is not None:
                choice["logprobs"] = choice.get("logprobs") or {}
                self._merge(choice["logprobs"], value)
            elif name != "index" and (value is not None or name not in choice):
                choice[name] = value

    def _merge(self, whole: Json, more: Json) -> None:
        """Add what a chunk says to what the chunks before it have said."""
        for name, value in more.items():
            held = whole.get(name)
            if value is None:
                whole.setdefault(name, None)
            elif type(value) is str and name not in _WHOLE:
                self._room -= len(value.encode())
                if not isinstance(held, _Parts):
                    held = whole[name] = _Parts()
                held.append(value)
            elif type(value) is dict:
                if type(held) is not dict:
                    held = whole[name] = {}
                self._room -= _ENTRY
                self._merge(held, value)
            elif type(value) is list:
                whole[name] = self._joined(held if type(held) is list else [], value)
            else:
                whole[name] = value if value != "" else held

    def _joined(self, held: list[Any], more: list[Any]) -> list[Any]:
        """The entries with an `index` at their places, others behind those that there are."""
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
        """Give up; nothing of it is kept in the memory."""
        self._lost = True
        self._waiting, self._size = [], 0
        self._members, self._choices = {}, {}


def _finished(choice: Json) -> Json:
    message = {"role": "assistant", "content": None, "refusal": None, **choice["message"]}
    for call in message.get("tool_calls") or ():
        # The place of a call is told in chunks alone.
        if type(call) is dict:
            call.pop("index", None)
    done: Json = _plain({"logprobs": None, **choice, "message": message})
    return done


def _plain(value: Any) -> Any:
    """The value with its texts in one piece."""
    if isinstance(value, _Parts):
        return "".join(value)
    if type(value) is dict:
        return {name: _plain(inner) for name, inner in value.items()}
    if type(value) is list:
        return [_plain(inner) for inner in value]
    return value
