"""The messages of a chat that the blocks of messages come to.

The checks may run in a worker process, so this module imports the standard library, `server.json_input` and modules
that import no more than these.
"""

from __future__ import annotations

import re
from json import dumps
from typing import Any, Final

from server.api.chat.made_chats import named_image
from server.api.files.media_types import IMAGES
from server.http.body_checks import missing, short, text_at, wrong
from server.inference.file_parts import LONGEST_FILENAME, LONGEST_ID
from server.json_input.strict import InvalidJson, Json

PDF: Final = "application/pdf"

FAILED: Final = "[the tool has failed]"
"""The beginning of a result whose `is_error` is true, since a chat has no other way to say so."""

_ROLES: Final = ("assistant", "system", "user")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/\s]*={0,2}\s*")
_AS_FILE: Final = "send its text, or a PDF in base64"
_AS_DATA: Final = "send it in base64, or as an address"


class Conversation:
    """The messages of a chat, in the making. `files` has the place at which each file is named first, by its id."""

    def __init__(self) -> None:
        self.messages: list[Json] = []
        self.files: dict[str, str] = {}

    def add_system(self, system: Any) -> None:
        """Add what stands before all messages: a text, or blocks of text."""
        if system is not None:
            self._add("system", "\n\n".join(_texts(system, "system")))

    def add(self, message: Any, place: str) -> None:
        """Add one message; raises InvalidJson for what can't be one of a chat.

        Blocks without text are left out, and so are messages without blocks, since many models refuse them.
        """
        if type(message) is not dict:
            raise wrong(place, "must be an object")
        role = message.get("role")
        if type(role) is not str or role not in _ROLES:
            raise wrong(f"{place}.role", f"must be one of {', '.join(f'`{name}`' for name in _ROLES)}")
        if "content" not in message:
            raise missing(f"{place}.content")
        content, place = message["content"], f"{place}.content"
        if role == "system":
            self._add(role, "\n\n".join(_texts(content, place)))
        elif role == "assistant":
            self._add_assistant(_blocks(content, place), place)
        else:
            self._add_user(_blocks(content, place), place)

    def _add(self, role: str, text: str) -> None:
        if text.strip():
            self.messages.append({"role": role, "content": text})

    def _add_assistant(self, blocks: list[Json], place: str) -> None:
        """Add what a model has said and called; its thoughts, and what its own server has done for it, are left out."""
        said, calls = "", list[Json]()
        for number, block in enumerate(blocks):
            where = f"{place}[{number}]"
            if block["type"] == "text":
                said += text_at(block, "text", where)
            elif block["type"] == "tool_use":
                calls.append(_call(block, where))
        if calls:
            self.messages.append({"role": "assistant", "content": said if said.strip() else None, "tool_calls": calls})
        else:
            self._add("assistant", said)

    def _add_user(self, blocks: list[Json], place: str) -> None:
        """Add the results of tools, each as a message of its own behind the calls, and then what a user says."""
        parts = list[Json]()
        for number, block in enumerate(blocks):
            where = f"{place}[{number}]"
            if block["type"] == "tool_result":
                parts += self._add_result(block, where)
            else:
                parts += self._parts(block, where)
        if len(parts) == 1 and parts[0]["type"] == "text":
            self._add("user", parts[0]["text"])
        elif parts:
            self.messages.append({"role": "user", "content": parts})

    def _add_result(self, block: Json, place: str) -> list[Json]:
        """Add the result of a tool, and return the parts of it that are no text: a user has to say them."""
        identity = text_at(block, "tool_use_id", place)
        if block.get("is_error") not in (True, False, None):
            raise wrong(f"{place}.is_error", "must be true or false")
        texts, others = [FAILED] if block.get("is_error") else [], list[Json]()
        content = block.get("content")
        for number, inner in enumerate(_blocks("" if content is None else content, f"{place}.content")):
            where = f"{place}.content[{number}]"
            if inner["type"] in _PARTS:
                for part in self._parts(inner, where):
                    if part["type"] == "text":
                        texts.append(part["text"])
                    else:
                        others.append(part)
                        texts.append(f"[{inner['type']}, which follows]")
            else:
                texts.append(f"[{short(inner['type'])}]")
        self.messages.append({"role": "tool", "tool_call_id": identity, "content": "\n".join(texts)})
        return [{"type": "text", "text": "the tool has returned this:"}, *others] if others else []

    def _parts(self, block: Json, place: str) -> list[Json]:
        """Return the parts of a chat that a block of a user comes to."""
        kind = block["type"]
        if kind not in _PARTS:
            known = ", ".join(f"`{name}`" for name in (*_PARTS, "tool_result"))
            raise InvalidJson(
                f"`{place}` has the type `{short(kind)}`, which is not served here; send one of {known}",
                f"{place}.type",
                "unsupported_value",
            )
        if kind == "text":
            return _said(text_at(block, "text", place))
        if kind == "search_result":
            return _said("\n".join([*_titles(block, place), *_texts(block.get("content"), f"{place}.content")]))
        source = block.get("source")
        if type(source) is not dict or type(source.get("type")) is not str:
            raise wrong(f"{place}.source", "must be an object with a `type`")
        if kind == "image":
            if source["type"] == "file":
                return [named_image(self._named(source, f"{place}.source"))]
            return [_image(source, f"{place}.source")]
        return self._document(block, source, place)

    def _document(self, block: Json, source: Json, place: str) -> list[Json]:
        where, titles = f"{place}.source", _titles(block, place)
        match source["type"]:
            case "text":
                return _said("\n".join([*titles, text_at(source, "data", where)]))
            case "content":
                inner = _blocks(source.get("content"), f"{where}.content")
                places = [(each, f"{where}.content[{index}]") for index, each in enumerate(inner)]
                found = [part for each, place in places for part in self._inner(each, place)]
                return [part for title in titles for part in _said(title)] + found
            case "base64":
                if source.get("media_type") != PDF:
                    raise _unserved(f"{where}.media_type", f"must be `{PDF}`", _AS_FILE)
                title = block.get("title") or "document"
                name = f"{title[: LONGEST_FILENAME - len('.pdf')].removesuffix('.pdf')}.pdf"
                data = _base64(source, where)
                return [{"type": "file", "file": {"filename": name, "file_data": f"data:{PDF};base64,{data}"}}]
            case "file":
                return [{"type": "file", "file": {"file_id": self._named(source, where)}}]
        raise _unserved(f"{where}.type", "must be `text`, `content`, `base64` or `file`", _AS_FILE)

    def _named(self, source: Json, place: str) -> str:
        """Return the id of the file that a source names, and note its place."""
        identity = text_at(source, "file_id", place, LONGEST_ID)
        self.files.setdefault(identity, f"{place}.file_id")
        return identity

    def _inner(self, block: Json, place: str) -> list[Json]:
        if block["type"] not in ("text", "image"):
            raise wrong(f"{place}.type", "must be `text` or `image`")
        return self._parts(block, place)


_PARTS: Final = ("text", "image", "document", "search_result")
"""Types of blocks that a user's message and the result of a tool may hold."""


def _blocks(content: Any, place: str) -> list[Json]:
    """Return the blocks of a content; a text is one block."""
    if type(content) is str:
        return [{"type": "text", "text": content}]
    if type(content) is not list:
        raise wrong(place, "must be a text or a list of blocks")
    for number, block in enumerate(content):
        if type(block) is not dict or type(block.get("type")) is not str:
            raise wrong(f"{place}[{number}]", "must be an object with a `type`")
    return content


def _texts(content: Any, place: str) -> list[str]:
    """Return the texts of a content that holds nothing else."""
    texts = list[str]()
    for number, block in enumerate(_blocks(content, place)):
        if block["type"] != "text":
            raise wrong(f"{place}[{number}].type", "must be `text`")
        text = text_at(block, "text", f"{place}[{number}]")
        if text.strip():
            texts.append(text)
    return texts


def _said(text: str) -> list[Json]:
    return [{"type": "text", "text": text}] if text.strip() else []


def _titles(block: Json, place: str) -> list[str]:
    """Return what a block says about its source, of what is a text."""
    found = list[str]()
    for name in ("title", "source", "context"):
        value = block.get(name)
        if name != "source" and type(value) not in (str, type(None)):
            raise wrong(f"{place}.{name}", "must be a text")
        if type(value) is str and value.strip():
            found.append(value)
    return found


def _call(block: Json, place: str) -> Json:
    """Return a call of a tool as a chat has it."""
    identity, name = text_at(block, "id", place), text_at(block, "name", place)
    if not identity or not name:
        raise wrong(place, "must have an `id` and a `name` that are not empty")
    given = block.get("input")
    if type(given) is not dict:
        raise wrong(f"{place}.input", "must be an object")
    arguments = dumps(given, ensure_ascii=False, separators=(",", ":"))
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}


def _image(source: Json, place: str) -> Json:
    if source["type"] == "url":
        return {"type": "image_url", "image_url": {"url": text_at(source, "url", place)}}
    if source["type"] != "base64":
        raise _unserved(f"{place}.type", "must be `base64`, `file` or `url`", _AS_DATA)
    kind = source.get("media_type")
    if type(kind) is not str or kind not in IMAGES:
        raise wrong(f"{place}.media_type", f"must be one of {', '.join(f'`{name}`' for name in IMAGES)}")
    return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{_base64(source, place)}"}}


def _base64(source: Json, place: str) -> str:
    data = text_at(source, "data", place)
    if not data or not _BASE64.fullmatch(data):
        raise wrong(f"{place}.data", "must be base64")
    return "".join(data.split())


def _unserved(place: str, demand: str, instead: str) -> InvalidJson:
    return InvalidJson(f"`{place}` {demand}; {instead}", place, "unsupported_value")
