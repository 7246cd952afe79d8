"""The chat that a model is asked in the place of items: the messages that items come to, and the checks of a chat.

The checks may run in a worker process, so this module imports the standard library, `server.json_input` and modules
that import no more than these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from json import dumps
from typing import Any, Final

from server.api.chat.body import ChatBody, chat_body, read_chat
from server.api.chat.cost import read_costed_chat, read_counted_chat
from server.api.chat.made_chats import named_image, read_made
from server.api.responses.tools import CUSTOM_INPUT, chat_name
from server.json_input.body_parser import BodyParser
from server.json_input.strict import Document, InvalidJson, Json

_CALLS: Final = frozenset({"custom_tool_call", "function_call"})
_OUTPUTS: Final = frozenset({"custom_tool_call_output", "function_call_output"})
_RETURNED: Final = "the tools have returned this:"
_SPEAKS: Final = _CALLS | {"mcp_call", "message"}
"""Items in front of which the outputs of all calls are there."""

_SAID: Final = {"input_text": "text", "output_text": "text", "refusal": "refusal", "text": "text"}
"""Parts that say something to a model, each with the member that holds it."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A chat that comes of items: its bytes, and what is known of them."""

    raw: bytes
    body: ChatBody


def _built(chat: bytes, **members: Any) -> Turn:
    return Turn(chat, chat_body(**members))


def asked_turn(
    model: str,
    settings: Json,
    system: Sequence[str | Json],
    items: Iterable[bytes | memoryview],
    *,
    stream: bool,
    thoughts: str = "",
) -> bytes:
    """Return the document that `TURN` reads; `items` are texts of JSON, and `system` what comes before them.

    A model's own reasoning is left out unless its messages have it in a member, whose name is `thoughts`.
    """
    asked = {"model": model, "settings": settings, "system": [*system], "stream": stream, "thoughts": thoughts}
    head = dumps(asked, ensure_ascii=False, separators=(",", ":")).encode()
    return b'{"asked":%b,"items":[%b]}' % (head, b",".join(items))


def read_turn(document: Document) -> Json:
    """Return the arguments of `_built`; raises InvalidJson for items that no chat can have."""
    return _read(document, read_chat)


def read_costed_turn(document: Document) -> Json:
    """Read a turn as `read_turn` does, with an estimate of the tokens."""
    return _read(document, read_costed_chat)


def read_counted_turn(document: Document) -> Json:
    """Read a turn as `read_turn` does, with an estimate of the tokens of the prompt alone."""
    return _read(document, read_counted_chat)


TURN: Final = BodyParser(read_turn, _built)
COSTED_TURN: Final = BodyParser(read_costed_turn, _built)
COUNTED_TURN: Final = BodyParser(read_counted_turn, _built)


def _read(document: Document, read: Callable[[Document], Json]) -> Json:
    asked = document.members["asked"]
    messages = messages_of(asked["system"], document.members["items"], asked["thoughts"])
    chat: Json = {"model": asked["model"], "messages": messages}
    chat |= asked["settings"]
    if asked["stream"]:
        chat |= {"stream": True, "stream_options": {"include_usage": True}}
    raw, told = read_made(chat, read)
    return {**told, "chat": raw}


def messages_of(system: Sequence[str | Json], items: Sequence[Json], thoughts: str = "") -> list[Json]:
    """Return the messages of a chat; raises InvalidJson for a part that can't be one of a chat, and for no message.

    `system` holds texts, and messages of the user in the form of items. Items that no chat knows, such as the calls of
    tools of other types, are left out. Images and files that a tool returns are said by the user behind its output,
    which is a text in a chat. The model's reasoning stands in the member `thoughts` of the message that comes of it; it
    is left out where there is no such member.
    """
    messages: list[Json] = [_in_front(entry) for entry in system if entry]
    thought, returned = "", list[Json]()
    for place, item in enumerate(items):
        kind = item["type"]
        if kind == "reasoning":
            thought = _joined(thought, _thought(item)) if thoughts else ""
            continue
        if kind in _SPEAKS:
            _say(messages, returned)
        if kind == "message":
            _add_message(messages, item)
        elif kind in _CALLS and item.get("status") != "incomplete":
            _add_call(messages, item)
        elif kind == "mcp_call":
            _add_made_call(messages, item, place)
        elif kind in _OUTPUTS:
            messages.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": _output(item["output"])})
            returned += _no_texts(item["output"])
        if thought and messages and messages[-1]["role"] == "assistant":
            messages[-1][thoughts] = _joined(messages[-1].get(thoughts, ""), thought)
        thought = ""
    _say(messages, returned)
    if not messages:
        raise InvalidJson("`input` has nothing that a model reads; send a message", "input", "invalid_value")
    return messages


def _in_front(entry: str | Json) -> Json:
    """Return the message that a text or a message of the user in front of all items comes to."""
    if isinstance(entry, str):
        return {"role": "system", "content": entry}
    return {"role": "user", "content": [found for part in entry["content"] if (found := _part(part)) is not None]}


def _thought(item: Json) -> str:
    """Return the text of a model's reasoning, of which a client may send anything."""
    parts = item.get("content")
    texts = [part.get("text") for part in parts if type(part) is dict] if type(parts) is list else []
    return "\n\n".join(text for text in texts if type(text) is str)


def _joined(one: str, other: str) -> str:
    return f"{one}\n\n{other}" if one and other else one or other


def _add_message(messages: list[Json], item: Json) -> None:
    role, parts = item["role"], item["content"]
    if role == "assistant":
        text = "".join(part[_SAID[part["type"]]] for part in parts if part["type"] in _SAID)
        if text:
            messages.append({"role": role, "content": text})
        return
    content: Any = [found for part in parts if (found := _part(part)) is not None]
    if len(content) == 1 and content[0]["type"] == "text":
        content = content[0]["text"]
    # Many models know no developer.
    messages.append({"role": "system" if role == "developer" else role, "content": content})


def _part(part: Json) -> Json | None:
    kind = part["type"]
    if kind in _SAID:
        return {"type": "text", "text": part[_SAID[kind]]}
    found = _no_text(part)
    if found is None and kind == "input_file":
        sentence = "`input` holds a file by `file_url`, which is not served; upload it, and name its `file_id`"
        raise InvalidJson(sentence, "input", "unsupported_value")
    return found


def _no_text(part: Json) -> Json | None:
    """Return the image or the file that a part holds or names; None for any other part."""
    match part:
        case {"type": "input_image", "file_id": str(identity)}:
            return named_image(identity, part.get("detail"))
        case {"type": "input_image", "image_url": str(url)}:
            detail = {"detail": part["detail"]} if part.get("detail") else {}
            return {"type": "image_url", "image_url": {"url": url, **detail}}
        case {"type": "input_file"}:
            given = {name: part[name] for name in ("file_id", "filename", "file_data") if type(part.get(name)) is str}
            if "file_id" in given:
                given.pop("file_data", None)
            return {"type": "file", "file": given} if given.keys() & {"file_id", "file_data"} else None
    return None


def _no_texts(output: Any) -> list[Json]:
    """Return the images and files of what a tool has come to."""
    parts = output if type(output) is list else []
    return [found for part in parts if type(part) is dict and (found := _no_text(part)) is not None]


def _say(messages: list[Json], returned: list[Json]) -> None:
    """Let the user say what tools have returned besides texts, if they have."""
    if returned:
        messages.append({"role": "user", "content": [{"type": "text", "text": _RETURNED}, *returned]})
        returned.clear()


def _add_call(messages: list[Json], item: Json) -> None:
    """Add a call to the message of the model before it, as a chat has it."""
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": None})
    if item["type"] == "custom_tool_call":
        arguments = dumps({CUSTOM_INPUT: item.get("input")}, ensure_ascii=False)
    else:
        arguments = item["arguments"]
    space = item.get("namespace")
    name = chat_name(str(item.get("name")), space if type(space) is str else None)
    call = {"id": item.get("call_id"), "type": "function", "function": {"name": name, "arguments": arguments}}
    messages[-1].setdefault("tool_calls", []).append(call)


def _add_made_call(messages: list[Json], item: Json, place: int) -> None:
    """Add a call of a tool of this server with what it came to, in front of calls whose outputs come later."""
    name, space, arguments = item.get("name"), item.get("server_label"), item.get("arguments")
    if type(name) is not str or type(space) is not str or type(arguments) is not str:
        return
    output = item.get("output")
    told = output if type(output) is str else dumps({"error": item.get("error")}, ensure_ascii=False)
    function = {"name": chat_name(name, space), "arguments": arguments}
    call = {"id": f"call_made_{place}", "type": "function", "function": function}
    start = len(messages)
    while start and messages[start - 1]["role"] == "tool":
        start -= 1
    waiting = messages[start - 1].get("tool_calls", ()) if start else ()
    start = start - 1 if len(messages) - start < len(waiting) else len(messages)
    messages[start:start] = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": told},
    ]


def _output(output: Any) -> str:
    """Return what a tool has come to as a text; what is no text is named."""
    if type(output) is str:
        return output
    texts = [_output_part(part) for part in output if type(part) is dict] if type(output) is list else []
    return "\n".join(texts)


def _output_part(part: Json) -> str:
    kind = part.get("type")
    said = part.get(_SAID[kind]) if type(kind) is str and kind in _SAID else None
    if type(said) is str:
        return said
    return f"[{kind}]" if _no_text(part) is None else f"[{kind}, which follows]"
