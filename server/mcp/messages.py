"""Messages of servers of tools, read as data: nothing of them is believed that is not checked here.

The checks may run in a worker process, so this module imports the standard library and `server.json_input` alone.
"""

from __future__ import annotations

import re
from json import dumps
from typing import Any, Final

from server.json_input.strict import Document, InvalidJson, Json

MOST_TOLD: Final = 128 * 1024
"""Bytes of the text of one tool's result; a longer text is cut, and says so."""

MOST_TOOLS: Final = 512
"""Tools of one server."""

MOST_LISTED: Final = 256 * 1024
"""Bytes of the names, descriptions and schemas of one server's tools, as JSON."""

LONGEST_TOOL: Final = 128
"""Characters of a tool's name."""

LONGEST_CURSOR: Final = 4096
"""Characters of what a server calls the next page of its list; they are kept until the last one is read."""

LONGEST_SAID: Final = 1000
"""Characters of a server's own words about a failure."""

CUT: Final = "\n[cut: "
"""The beginning of the remark behind a text that is cut."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]+")
_KNOWN_HINTS: Final = ("title", "readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint")


def read_greeting(document: Document) -> Json:
    """Return a message, with `version` if it answers `initialize`; raises InvalidJson."""
    message = _message(document.members)
    result = message.pop("result", None)
    if result is not None:
        version = result.get("protocolVersion")
        message["result"] = {"version": version if type(version) is str else ""}
    return message


def read_listing(document: Document) -> Json:
    """Return a message, with `tools` and `cursor` if it answers `tools/list`; raises InvalidJson."""
    message = _message(document.members)
    result = message.pop("result", None)
    if result is not None:
        tools, cursor = result.get("tools"), result.get("nextCursor")
        if type(tools) is not list or type(cursor) not in (str, type(None)):
            raise InvalidJson("the answer is no list of tools")
        if cursor is not None and len(cursor) > LONGEST_CURSOR:
            raise InvalidJson(f"the cursor of the next page of tools has more than {LONGEST_CURSOR} characters")
        if len(tools) > MOST_TOOLS:
            raise InvalidJson(f"the server has more than {MOST_TOOLS} tools")
        listed = [_tool(tool) for tool in tools]
        if len(dumps(listed)) > MOST_LISTED:
            raise InvalidJson(f"the tools take more than {MOST_LISTED} bytes")
        message["result"] = {"tools": listed, "cursor": cursor}
    return message


def read_outcome(document: Document) -> Json:
    """Return a message, with `text` and `is_error` if it answers `tools/call`; raises InvalidJson."""
    message = _message(document.members)
    result = message.pop("result", None)
    if result is not None:
        message["result"] = {"text": told(result), "is_error": result.get("isError") is True}
    return message


def read_other(document: Document) -> Json:
    """Return a message of which only its kind matters."""
    message = _message(document.members)
    if message.pop("result", None) is not None:
        message["result"] = {}
    return message


def told(result: Json) -> str:
    """Return a result as a text for a model: what is no text is named, so that no result is silently empty."""
    content = result.get("content")
    parts = [_part(part) for part in content] if type(content) is list else []
    text = "\n".join(parts)
    if not text.strip() and result.get("structuredContent") is not None:
        text = dumps(result["structuredContent"], ensure_ascii=False)
    return cut(text) if text.strip() else "[the tool has returned nothing]"


def cut(text: str) -> str:
    """Return a text of at most `MOST_TOLD` bytes, which says whether it is cut."""
    raw = text.encode()
    if len(raw) <= MOST_TOLD:
        return text
    kept = raw[:MOST_TOLD].decode(errors="ignore")
    return f"{kept}{CUT}the result has {len(raw)} bytes, and these are the first {MOST_TOLD}]"


def words(said: Any) -> str:
    """Return a server's own words in one short line."""
    return _CONTROL.sub(" ", said)[:LONGEST_SAID].strip() if type(said) is str else ""


def _message(members: Json) -> Json:
    """Return the `kind` of a message, its `id`, and what goes with it."""
    identity, method = members.get("id"), members.get("method")
    if type(identity) not in (int, str, type(None)) or (type(identity) is str and len(identity) > LONGEST_TOOL):
        raise InvalidJson("the message has an id of a kind that there is none of")
    if type(method) is str:
        return {
            "kind": "notification" if identity is None else "request",
            "id": identity,
            "method": method[:LONGEST_TOOL],
        }
    error = members.get("error")
    if type(error) is dict:
        code = error.get("code")
        said = words(error.get("message")) or "the server says no more"
        return {"kind": "error", "id": identity, "code": code if type(code) is int else 0, "message": said}
    if type(members.get("result")) is not dict:
        raise InvalidJson("the message is none of JSON-RPC 2.0")
    return {"kind": "result", "id": identity, "result": members["result"]}


def _tool(tool: Any) -> Json:
    if type(tool) is not dict:
        raise InvalidJson("the server lists a tool that is no object")
    name, description, schema = tool.get("name"), tool.get("description"), tool.get("inputSchema")
    if type(name) is not str or not 0 < len(name) <= LONGEST_TOOL or _CONTROL.search(name):
        raise InvalidJson(f"the server lists a tool whose name is not of 1 to {LONGEST_TOOL} characters")
    if type(description) not in (str, type(None)) or type(schema) is not dict:
        raise InvalidJson("the server lists a tool with a description or a schema of another type")
    hints = tool.get("annotations")
    kept = {name: hints[name] for name in _KNOWN_HINTS if name in hints} if type(hints) is dict else None
    return {"name": name, "description": description, "input_schema": schema, "annotations": kept}


def _part(part: Any) -> str:
    """Return a part of a result as a text."""
    kind = part.get("type") if type(part) is dict else None
    if kind == "text" and type(part.get("text")) is str:
        return str(part["text"])
    if kind == "resource" and type(part.get("resource")) is dict:
        inner = part["resource"]
        if type(inner.get("text")) is str:
            return str(inner["text"])
        return _named("resource", inner.get("mimeType"), inner.get("blob"))
    if kind == "resource_link":
        return f"[resource: {words(part.get('name'))} {words(part.get('uri'))}]"
    if kind in ("image", "audio"):
        return _named(kind, part.get("mimeType"), part.get("data"))
    return f"[{words(kind) or 'a part of no type'}, which can't be passed on]"


def _named(kind: str, mime: Any, data: Any) -> str:
    size = len(data) * 3 // 4 if type(data) is str else 0
    return f"[{kind} {words(mime)}, {size} bytes, which can't be passed on as text]"
