"""Calls of tools in answers: whose pieces belong together, with an id and a name each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from server.inference.answers.plain import NotAnAnswer, encoded
from server.json_input.strict import Json

MOST_CALLS: Final = 128
"""Calls of one choice."""

_KINDS: Final = ("function", "custom")


@dataclass(slots=True)
class _Call:
    """One call: its place, the id that the provider gave it, if any, and its name as far as it has come.

    `is_argued` once a part of its arguments has come.
    """

    place: int
    given: str | None
    kind: str = "function"
    name: str = ""
    is_argued: bool = False

    def is_followed_by(self, given: str | None, piece: Json) -> bool:
        """Return whether a piece with the id `given` begins another call."""
        if given is not None:
            return self.given is not None and given != self.given
        inner = piece.get(self.kind)
        name = inner.get("name") if type(inner) is dict else None
        return self.is_argued and type(name) is str and name not in ("", self.name)


class Calls:
    """The calls of one choice of a stream.

    A piece belongs to the last call at its index, unless it brings another id: Ollama numbers each of its parallel
    calls 0, and Gemini numbers none.
    """

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._at: dict[Any, _Call] = {}

    def shaped(self, pieces: Any) -> list[Json]:
        """Return the pieces of a chunk with places of ours: the first call is 0; raises NotAnAnswer."""
        if type(pieces) is dict:
            pieces = [pieces]
        if type(pieces) is not list:
            raise NotAnAnswer
        return [self._shaped(piece) for piece in pieces if piece is not None]

    def check(self) -> None:
        """Raise NotAnAnswer if a call has no name: no client could make it."""
        if any(not call.name for call in self._calls):
            raise NotAnAnswer

    def _shaped(self, piece: Any) -> Json:
        if type(piece) is not dict:
            raise NotAnAnswer
        index = piece.get("index")
        index = index if type(index) is int else None
        given = piece.get("id")
        given = given if type(given) is str and given else None
        call = self._at.get(index) if index is not None or given is None else self._with_id(given)
        if call is None or call.is_followed_by(given, piece):
            call = self._begun(given, piece)
        else:
            piece.pop("id", None)
            piece.pop("type", None)
        self._at[index] = self._at[None] = call
        _merge_name(call, piece)
        return {"index": call.place, **{name: value for name, value in piece.items() if name != "index"}}

    def _with_id(self, given: str) -> _Call | None:
        return next((call for call in self._calls if call.given == given), None)

    def _begun(self, given: str | None, piece: Json) -> _Call:
        if len(self._calls) == MOST_CALLS:
            raise NotAnAnswer
        call = _Call(len(self._calls), given, _kind(piece))
        self._calls.append(call)
        piece["id"] = given or f"call_{uuid4().hex}"
        piece["type"] = call.kind
        if type(piece.get("function")) is dict:
            piece["function"].setdefault("arguments", "")
        return call


def _kind(piece: Json) -> str:
    kind = piece.get("type")
    if type(kind) is str and kind:
        return kind
    return "custom" if "custom" in piece and "function" not in piece else "function"


def _merge_name(call: _Call, piece: Json) -> None:
    """Leave a repeated name out, which accumulators would append."""
    for kind in _KINDS:
        inner = piece.get(kind)
        if inner is None:
            piece.pop(kind, None)
            continue
        if type(inner) is not dict:
            raise NotAnAnswer
        name = inner.get("name")
        if "name" in inner and (type(name) is not str or not name or name == call.name):
            del inner["name"]
        elif type(name) is str:
            call.name += name
        if "arguments" in inner and type(inner["arguments"]) is not str:
            inner["arguments"] = _as_text(inner["arguments"])
        call.is_argued = call.is_argued or bool(inner.get("arguments") or inner.get("input"))


def _as_text(arguments: Any) -> str:
    """Return arguments as text: some providers send them as an object, or as nothing."""
    return "" if arguments is None else encoded(arguments).decode()


def whole_call(call: Any) -> Any:
    """Return a call of a whole answer with an id and a type; raises NotAnAnswer if it has no name."""
    if type(call) is not dict:
        raise NotAnAnswer
    kind = _kind(call)
    inner = call.get(kind)
    if kind in _KINDS and (type(inner) is not dict or not isinstance(inner.get("name"), str) or not inner["name"]):
        raise NotAnAnswer
    if type(call.get("id")) is not str or not call["id"]:
        call["id"] = f"call_{uuid4().hex}"
    call["type"] = kind
    if kind == "function" and type(inner) is dict and type(inner.get("arguments")) is not str:
        inner["arguments"] = _as_text(inner.get("arguments"))
    return call
