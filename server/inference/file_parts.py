"""The parts of a chat's messages that name files of this server, and the kinds of its other parts.

The look may run in a worker process, so this module imports the standard library and `server.json_input` alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from server.json_input.spans import spans_of
from server.json_input.strict import Document, InvalidJson, Json

MOST_NAMED: Final = 100
"""Times that one chat may name files: for each file the policy is asked."""

LONGEST_ID: Final = 128
"""Characters of the id of a file; no file has a longer one, and an error does not repeat it."""

LONGEST_FILENAME: Final = 255
"""Characters of the name that a part gives its file."""

FILE: Final = "file"
AUDIO: Final = "input_audio"

_KNOWN: Final = frozenset({"file_data", "file_id", "filename"})
_NAMES: Final = frozenset({"fileid", "fileids"})
_CALLS: Final = frozenset({"function_call", "tool_calls"})
"""Members of a message that hold arguments of tools, which are named as the caller likes."""

_SIGNS: Final = (b"file", b"audio")


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A part that names a file by its `id`.

    `place` is the path of the id in the body. `start` and `end` are those of the part's member `file` in the body's
    bytes. `filename` is the one that the part gives it, if it does.
    """

    place: str
    id: str
    filename: str | None
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one chat: those that name files, and the place of the first of each kind that is watched.

    `is_stray` is true if a file is named in any other place, which a provider may read.
    """

    files: tuple[NamedFile, ...] = ()
    kinds: Mapping[str, str] = field(default_factory=dict)
    is_stray: bool = False


NO_PARTS: Final = Parts()


def parts_of(document: Document) -> Parts:
    """Return what the messages of a chat hold; raises InvalidJson for a part that names a file in a wrong form."""
    if not _may_hold_any(document.raw):
        return NO_PARTS
    body = document.members
    messages = body.get("messages")
    kinds: dict[str, str] = {}
    named: list[tuple[int, int, Json]] = []
    is_stray = _names_file(body.get("prediction"))
    for number, message in enumerate(messages if type(messages) is list else ()):
        for index, part in _parts_in(message):
            kind = part.get("type")
            if kind in (FILE, AUDIO):
                kinds.setdefault(kind, f"messages[{number}].content[{index}]")
            if _is_named(part):
                named.append((number, index, part["file"]))
        is_stray = is_stray or _strays(message)
    return Parts(_files(document, named), kinds, is_stray)


def _may_hold_any(raw: bytes) -> bool:
    """Return whether a body has letters of what is looked for; most have not. Others may be spelled with escapes."""
    if not raw.isascii() or b"\\u" in raw:
        return True
    small = raw.lower()
    return any(sign in small for sign in _SIGNS)


def _parts_in(message: Any) -> Iterator[tuple[int, Json]]:
    content = message.get("content") if type(message) is dict else None
    for index, part in enumerate(content if type(content) is list else ()):
        if type(part) is dict:
            yield index, part


def _is_named(part: Any) -> bool:
    """Return whether a part names a file as OpenAI's document has it: `{"type": "file", "file": {"file_id": …}}`."""
    if type(part) is not dict or part.get("type") != FILE:
        return False
    file = part.get("file")
    return type(file) is dict and "file_id" in file


def _strays(message: Any) -> bool:
    """Return whether a message names a file in another place, at any depth."""
    if type(message) is not dict:
        return _names_file(message)
    content = message.get("content")
    others = {name: value for name, value in message.items() if name != "content" and name not in _CALLS}
    if _names_file(others):
        return True
    return _names_file([*map(_without_its_file, content)] if type(content) is list else content)


def _without_its_file(part: Any) -> Any:
    """Return a part without the member that may name a file."""
    return {name: part[name] for name in part if name != FILE} if _is_named(part) else part


def _names_file(value: Any) -> bool:
    waiting: list[Any] = [value]
    while waiting:
        match waiting.pop():
            case dict() as members:
                if any(plainly(name) in _NAMES for name in members):
                    return True
                waiting += members.values()
            case list() as values:
                waiting += values
    return False


def plainly(name: str) -> str:
    """Return a name as routers may read it, however it is written."""
    return name.casefold().replace("_", "").replace("-", "")


def _files(document: Document, named: list[tuple[int, int, Json]]) -> tuple[NamedFile, ...]:
    if not named:
        return ()
    if len(named) > MOST_NAMED:
        raise InvalidJson(f"`messages` may name files {MOST_NAMED} times and no more", "messages", "invalid_value")
    told = [_checked(f"messages[{number}].content[{index}].file", file) for number, index, file in named]
    spans = spans_of(document, [("messages", number, "content", index, FILE) for number, index, _ in named])
    return tuple(NamedFile(*about, *span) for about, span in zip(told, spans, strict=True))


def _checked(place: str, file: Json) -> tuple[str, str, str | None]:
    """Return the place of the id, the id, and the name that the part gives its file; raises InvalidJson."""
    others = sorted(file.keys() - _KNOWN)
    if others:
        where = f"{place}.{others[0][:LONGEST_ID]}"
        raise InvalidJson(f"`{where}` is not known beside `file_id`; leave it out", where, "unknown_parameter")
    if file.get("file_data") is not None:
        where = f"{place}.file_data"
        raise InvalidJson(f"`{where}` stands beside `file_id`; send one of them", where, "invalid_value")
    identity = _text(file["file_id"], f"{place}.file_id", LONGEST_ID)
    filename = file.get("filename")
    return f"{place}.file_id", identity, None if filename is None else _text(filename, f"{place}.filename")


def _text(value: Any, place: str, longest: int = LONGEST_FILENAME) -> str:
    if type(value) is not str or not 0 < len(value) <= longest:
        raise InvalidJson(f"`{place}` must be a text of 1 to {longest} characters", place, "invalid_value")
    return value
