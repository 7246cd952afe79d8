"""Chats that are made of requests of other kinds, whose images may be named by the ids of files.

OpenAI's chats name no images, so that a client's chat can't: in it, the same members are refused. The checks may run in
a worker process, so this module imports the standard library, `server.json_input` and modules that import no more than
these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple
from json import dumps
from typing import Any, Final

from server.inference.file_parts import IMAGE, NamedImage, images_in
from server.json_input.strict import Document, Json

_DETAIL: Final = "auto"
_ID: Final = "file_id"


def named_image(identity: str, detail: Any = None) -> Json:
    """Return the part of a message for an image that is the file of that id; `read_made` knows it."""
    return {"type": IMAGE, IMAGE: {"url": "", _ID: identity, **({"detail": detail} if detail else {})}}


def read_made(chat: Json, read: Callable[[Document], Json]) -> tuple[bytes, Json]:
    """Return the bytes of a chat, and what `read` returns of it, the images that it names among its files.

    Raises InvalidJson.
    """
    images = _taken(chat["messages"])
    raw = dumps(chat, ensure_ascii=False, separators=(",", ":")).encode()
    document = Document(chat, raw)
    told = read(document)
    if images:
        files = told["found"]["files"]
        files += map(astuple, images_in(document, images, len(files)))
    return raw, told


def _taken(messages: Sequence[Json]) -> list[NamedImage]:
    """Return the images that messages name, and take their ids out."""
    found = list[NamedImage]()
    for number, message in enumerate(messages):
        content = message.get("content")
        for index, part in enumerate(content if type(content) is list else ()):
            image = part.get(IMAGE)
            if type(image) is dict and _ID in image:
                identity, detail = image.pop(_ID), image.get("detail")
                path = ("messages", number, "content", index)
                found.append(NamedImage(path, identity, detail if type(detail) is str else _DETAIL))
    return found
