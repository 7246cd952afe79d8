"""Parts of messages, as the Converse API has them: never one without text, which it refuses for ever after."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from server.inference.file_parts import FILE
from server.json_input.strict import Json

NO_OUTPUT: Final = "(no output)"
"""The text of a result that a tool left empty, which has to stay."""

_DATA_URL: Final = re.compile(r"data:([a-z]+/[a-zA-Z0-9.+-]{1,80})(?:;[a-zA-Z0-9=_-]{1,80}){0,4};base64,")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_IMAGES: Final = {
    "image/png": "png",
    "image/jpeg": "jpeg",
    "image/jpg": "jpeg",
    "image/gif": "gif",
    "image/webp": "webp",
}
_DOCUMENTS: Final = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "text/html": "html",
    "text/markdown": "md",
    "text/plain": "txt",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
}


class NotConverse(Exception):
    """The Converse API has nothing for a part of a request; the message continues from the part's place."""

    def __init__(self, sentence: str, param: str, code: str = "unsupported_value") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.param = param
        self.code = code


def texts(content: Any, place: str) -> list[Json]:
    """Return the blocks of a content that holds texts alone; raises NotConverse."""
    blocks = list(blocks_of(content, place))
    if any("text" not in block for block in blocks):
        raise NotConverse("takes text alone", place)
    return blocks


def check_no_files(messages: list[Json]) -> None:
    """Raise NotConverse for a part with a file, which models of the OpenAI endpoint don't read."""
    for number, message in enumerate(messages):
        content = message.get("content")
        for index, part in enumerate(content if type(content) is list else ()):
            if type(part) is dict and part.get("type") == FILE:
                raise NotConverse(
                    "has the type `file`, which this model doesn't take", f"messages[{number}].content[{index}]"
                )


def result_of(content: Any, place: str) -> list[Json]:
    """Return the blocks of a tool's result, which is never empty; raises NotConverse."""
    return list(blocks_of(content, place)) or [{"text": NO_OUTPUT}]


def blocks_of(content: Any, place: str) -> Iterator[Json]:
    """Yield the blocks of a content, without those that hold nothing but blanks; raises NotConverse."""
    if content is None:
        return
    if type(content) is str:
        content = [{"type": "text", "text": content}]
    if type(content) is not list:
        raise NotConverse("must be a text or a list of parts", place, "invalid_value")
    for number, part in enumerate(content):
        yield from _block(part, f"{place}[{number}]")


def _block(part: Any, place: str) -> Iterator[Json]:
    match part:
        case {"type": "text", "text": str(words)} | {"type": "refusal", "refusal": str(words)}:
            if words.strip():
                yield {"text": words}
        case {"type": "image_url", "image_url": {"url": str(url)} | str(url)}:
            kind, data = _data(url, _IMAGES, "an image", f"{place}.image_url")
            yield {"image": {"format": kind, "source": {"bytes": data}}}
        case {"type": "file", "file": {"file_data": str(url)}}:
            kind, data = _data(url, _DOCUMENTS, "a document", f"{place}.file")
            # Its name would be read by the model as an instruction, so it gets one of ours.
            name = "document " + "-".join(re.findall(r"[0-9]+", place))
            yield {"document": {"format": kind, "name": name, "source": {"bytes": data}}}
        case {"type": str()}:
            raise NotConverse("is a part that this provider takes not in this form", place)
        case _:
            raise NotConverse("must be a part with a `type`", place, "invalid_value")


def _data(url: str, kinds: dict[str, str], what: str, place: str) -> tuple[str, str]:
    """Return the format and the base64 text of a data URL; no address is fetched."""
    head = _DATA_URL.match(url)
    kind = None if head is None else kinds.get(head[1].lower())
    if head is None or kind is None:
        known = ", ".join(sorted({*kinds.values()}))
        raise NotConverse(f"takes {what} as a `data:` URL in base64, of the formats {known}", place)
    data = url[head.end() :]
    if not _BASE64.fullmatch(data):
        raise NotConverse("holds a `data:` URL that is no base64", place, "invalid_value")
    return kind, data
