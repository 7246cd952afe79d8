"""The parts of a chat's messages that name files of this server, the kinds of its other parts, and stray ids.

The look may run in a worker process, so this module imports the standard library, `server.json_input` and modules
that import no more than these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Final

from server.inference.account_ids import ids_of
from server.json_input.spans import Path, spans_of
from server.json_input.strict import Document, InvalidJson, Json

MOST_NAMED: Final = 100
"""Times that one chat may name files: for each file the policy is asked."""

LONGEST_ID: Final = 128
"""Characters of the id of a file; no file has a longer one, and an error does not repeat it."""

LONGEST_FILENAME: Final = 255
"""Characters of the name that a part gives its file."""

FILE: Final = "file"
IMAGE: Final = "image_url"
AUDIO: Final = "input_audio"

_KNOWN: Final = frozenset({"file_data", "file_id", "filename"})
_CALLS: Final = frozenset({"function_call", "tool_calls"})
"""Members of a message that hold arguments of tools, which are named as the caller likes."""

_QUOTED: Final = "annotations"
"""The member of a message that quotes addresses of the web, which no provider reads."""

_USUAL: Final = frozenset(
    {
        *("arguments", "content", "data", "detail", "filename", "format", "function", "id", "name", "refusal", "role"),
        *("text", "tool_call_id", "type"),
    }
)
"""Names of texts that most messages and parts have; they name nothing."""


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A part that names a file by its `id`.

    `place` is the path of the id in the body. `start` and `end` are those of the part's member `file` in the body's
    bytes, or of `image_url` for an image. `filename` is the one that the part gives it, if it does. `detail` is that of
    an image; None for a file that may be of any type.
    """

    place: str
    id: str
    filename: str | None
    start: int
    end: int
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class NamedImage:
    """An image that is named by its `id`, for the part of a chat at the path `part`, and how closely to look at it."""

    part: Path
    id: str
    detail: str


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one chat: those that name files, and the place of the first of each kind that is watched.

    `strays` are keys of ACCOUNT_IDS: what is named in any other place, which a provider may read.
    """

    files: tuple[NamedFile, ...] = ()
    kinds: Mapping[str, str] = field(default_factory=dict)
    strays: Set[str] = frozenset()


NO_PARTS: Final = Parts()


def parts_of(document: Document) -> Parts:
    """Return what the messages of a chat hold; raises InvalidJson for a part that names a file in a wrong form."""
    messages, found = document.members.get("messages"), _Found()
    for number, message in enumerate(messages if type(messages) is list else ()):
        if type(message) is dict:
            # Most messages hold nothing but texts, under usual names.
            for name, value in message.items():
                if type(value) is not str or name not in _USUAL:
                    found.look(number, name, value)
        else:
            found.strays.update(ids_of("messages", message))
    if "prediction" in document.members:
        found.strays.update(ids_of("prediction", document.members["prediction"]))
    if found.is_empty:
        return NO_PARTS
    return Parts(_files(document, found.named), found.kinds, found.strays)


def images_in(document: Document, images: Sequence[NamedImage], others: int = 0) -> list[NamedFile]:
    """Return the images that the parts of a chat's messages get in the place of their empty addresses.

    `others` is how often the chat names other files. Raises InvalidJson for too many.
    """
    if not images:
        return []
    _check_number(others + len(images))
    spans = spans_of(document, [(*image.part, IMAGE) for image in images])
    return [NamedFile(IMAGE, image.id, None, *span, image.detail) for image, span in zip(images, spans, strict=True)]


class _Found:
    """The findings of one look at the messages: `named` has the numbers of message and part, and the member `file`."""

    def __init__(self) -> None:
        self.kinds: dict[str, str] = {}
        self.named: list[tuple[int, int, Json]] = []
        self.strays: set[str] = set()

    @property
    def is_empty(self) -> bool:
        """True if nothing was found."""
        return not (self.kinds or self.strays)

    def look(self, number: int, name: str, value: Any) -> None:
        """Look at a member of the message of that number."""
        if name == "content" and type(value) is list:
            for index, part in enumerate(value):
                if type(part) is dict:
                    self._look_at_part(number, index, part)
                else:
                    self.strays.update(ids_of(name, part))
        elif name not in _CALLS:
            self.strays.update(ids_of(name, value, addresses=name != _QUOTED))

    def _look_at_part(self, number: int, index: int, part: Json) -> None:
        kind, file = part.get("type"), part.get(FILE)
        if kind in (FILE, AUDIO):
            self.kinds.setdefault(kind, f"messages[{number}].content[{index}]")
        # As OpenAI's document has it: `{"type": "file", "file": {"file_id": …}}`.
        is_named = kind == FILE and type(file) is dict and "file_id" in file
        if is_named:
            self.named.append((number, index, part[FILE]))
        for name, value in part.items():
            if type(value) is str and name in _USUAL:
                continue
            if not (is_named and name == FILE):
                self.strays.update(ids_of(name, value))


def _files(document: Document, named: list[tuple[int, int, Json]]) -> tuple[NamedFile, ...]:
    if not named:
        return ()
    _check_number(len(named))
    told = [_checked(f"messages[{number}].content[{index}].file", file) for number, index, file in named]
    spans = spans_of(document, [("messages", number, "content", index, FILE) for number, index, _ in named])
    return tuple(NamedFile(*about, *span) for about, span in zip(told, spans, strict=True))


def _check_number(named: int) -> None:
    if named > MOST_NAMED:
        raise InvalidJson(f"`messages` may name files {MOST_NAMED} times and no more", "messages", "invalid_value")


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
