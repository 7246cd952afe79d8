"""Items as they are stored: the text that is shown, and the places in it that `include` decides about.

A stored item is the text `[notes,item]`. `item` is what the most generous answer shows, but for its id. `notes` is a
list of pairs: a value of `include`, and the places of what is hidden without it, as the numbers of their first bytes in
`item` and of the ones behind their last. So an answer is cut from the text, and nothing is parsed for it. An item of an
older server is its own text, which `read_older` turns into this form.

An item may be prepared in a worker process, so this module imports the standard library and modules that import no
more.
"""

from __future__ import annotations

from collections.abc import Iterator
from json import JSONEncoder, loads
from typing import Any, Final, TypeAlias

from server.api.conversations.include import INCLUDABLE, INSTEAD
from server.json_input.strict import Document

Json = dict[str, Any]

_OLDER: Final = b"{"


def stored_item(item: Json) -> bytes:
    """Return the stored form of an item, which has a `type` and no `id`."""
    kind = item["type"]
    paths = [(name, name.split(".")[1:]) for name in INCLUDABLE if name.startswith(f"{kind}.")]
    places: dict[str, list[int]] = {}
    text = bytearray()
    for piece in _message(item, paths) if kind == "message" else _object(item, paths):
        if isinstance(piece, str):
            text += piece.encode()
        else:
            places.setdefault(piece[0], []).append(len(text))
    return b"[%b,%b]" % (_json([*places.items()]).encode(), bytes(text))


def is_older(text: bytes) -> bool:
    """Return whether a stored text is that of an older server."""
    return text.startswith(_OLDER)


def read_older(document: Document) -> Json:
    """Return the stored form of an item that an older server has stored, as `text`."""
    return {"text": stored_item(document.members)}


def shown_item(identity: str, stored: bytes, included: frozenset[str]) -> bytes:
    """Return the item as it is shown under its id, without what the query did not ask for."""
    start = stored.index(b"{")  # the notes hold no object
    cuts = sorted(
        (places[number], places[number + 1], name)
        for name, places in loads(stored[1 : start - 1])
        if name not in included
        for number in range(0, len(places), 2)
    )
    item, done = memoryview(stored)[start:-1], 1
    pieces: list[bytes | memoryview] = [b'{"id":%b,' % _json(identity).encode()]
    for first, last, name in cuts:
        pieces += (item[done:first], _SHOWN_INSTEAD[name])
        done = last
    return b"".join((*pieces, item[done:]))


Marked: TypeAlias = Iterator[str | tuple[str]]
"""Pieces of a text; a tuple holds a value of `include`, and marks the beginning or the end of what that is about."""

Paths: TypeAlias = list[tuple[str, list[str]]]
"""Values of `include`, each with the names that lead to the member that it is about."""


def _object(holder: Json, paths: Paths) -> Marked:
    """Yield the text of an object, in which the members that the paths lead to are marked."""
    if not any(path[0] in holder for _, path in paths):
        yield _json(holder)
        return
    before = ""
    yield "{"
    for position, (name, value) in enumerate(holder.items()):
        inner = [(included, path[1:]) for included, path in paths if path[0] == name and len(path) > 1]
        hidden = [included for included, path in paths if path == [name]]
        text = f"{before}{_json(name)}:"
        if hidden and hidden[0] not in INSTEAD:
            # The member goes with one of its commas.
            comma = "," if not before and position + 1 < len(holder) else ""
            yield from ((hidden[0],), f"{text}{_json(value)}{comma}", (hidden[0],))
            continue
        before = ","
        yield text
        if hidden:
            yield from ((hidden[0],), _json(value), (hidden[0],))
        elif inner and type(value) is dict:
            yield from _object(value, inner)
        else:
            yield _json(value)
    yield "}"


def _message(item: Json, paths: Paths) -> Marked:
    """Yield the text of a message, in which a path leads to members of the parts of one type."""
    others = {name: value for name, value in item.items() if name != "content"}
    yield _json(others)[:-1] + ',"content":['
    for position, part in enumerate(item["content"]):
        yield "," if position else ""
        yield from _object(part, [(included, path[1:]) for included, path in paths if path[0] == part["type"]])
    yield "]}"


_json: Final = JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
"""Returns a value as JSON. `dumps` would make such an encoder for each value."""


_SHOWN_INSTEAD: Final = {name: _json(INSTEAD[name]).encode() if name in INSTEAD else b"" for name in INCLUDABLE}
