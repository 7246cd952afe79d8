"""`inline::echo`: a provider without a model, which repeats the caller: a first run and tests need no other service.

The answer is `echo: ` and the text of the last user message, in which a file is its name in brackets. A token is a word
with the blanks behind it. `n`, `stop`, `max_tokens` and `max_completion_tokens` have the usual meaning; a `tool_choice`
that leaves no choice is answered with one call of that function, without arguments. Only `id` and `created` differ
between two answers to one request. A last user message that is a script (`echo_script`) is answered as that says.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from json import dumps
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from server.inference.answers.usage import believed
from server.inference.provider import (
    ChatRequest,
    ChatStream,
    Counted,
    Fault,
    HealthStatus,
    Pieces,
    ProviderFailed,
    ProviderHealth,
)
from server.inference.providers.echo_script import ScriptedReply, script_of
from server.json_input.strict import Document, InvalidJson, Json, Why

if TYPE_CHECKING:
    # The processes that read large bodies import this module, and little else.
    from server.json_input.reader import Reader

MAX_CHOICES: Final = 128

LONGEST: Final = 64 * 1024
"""Characters of one choice; the caller determines its length and, with `n`, the number of copies."""

_AT_A_TIME: Final = 100
"""Words that are sent before other tasks run, since a caller who reads fast never makes this one wait."""

WORD: Final = re.compile(r"\s*\S+\s*")
"""A token."""


class Echo:
    """Repeats what `reader` reads of each request; keeps nothing."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def start(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""

    async def health(self) -> ProviderHealth:
        """Return that it is well, always."""
        return ProviderHealth(HealthStatus.OK)

    async def complete(self, request: ChatRequest) -> Pieces:
        """Return the whole answer."""
        reply = await self._reply(request)
        if isinstance(reply, ScriptedReply):
            return [await reply.whole()]
        begin = _encode(reply.head("chat.completion")).removesuffix(b"}") + b',"choices":['
        pieces = [begin, *reply.choices(), b'],"usage":%b}' % _encode(reply.usage)]
        return Counted(pieces, believed(reply.usage))

    async def stream(self, request: ChatRequest) -> ChatStream:
        """Return the same answer as a stream, a word at a time."""
        reply = await self._reply(request)
        if isinstance(reply, ScriptedReply):
            reply.begin()
            return reply
        return _EchoStream(reply)

    async def count(self, request: ChatRequest) -> int:
        """Return the words of the messages."""
        counted: int = (await self._look(request))["usage"]["prompt_tokens"]
        return counted

    async def _reply(self, request: ChatRequest) -> _Reply | ScriptedReply:
        found = await self._look(request)
        script = found.pop("script")
        if script is None:
            return _Reply(request.model_id, request.answer_id or f"chatcmpl-{uuid4().hex}", **found)
        head = _head(request.model_id, request.answer_id or f"chatcmpl-{script['seed']}")
        return ScriptedReply(script, head, found["count"], found["usage"], found["with_usage"])

    async def _look(self, request: ChatRequest) -> Json:
        try:
            return await self._reader.look(request.payload, look_for_reply)
        except InvalidJson as refusal:
            fault = Fault.BUSY if refusal.why is Why.BUSY else Fault.REQUEST
            raise ProviderFailed(fault, refusal.message, code=refusal.code, param=refusal.param) from None


@dataclass(frozen=True, slots=True)
class _Reply:
    """The content of an answer, which is sent as a whole or as a stream."""

    model_id: str
    answer_id: str
    words: list[str]
    tool: str | None
    finish_reason: str
    count: int
    usage: Json
    with_usage: bool

    def head(self, kind: str) -> Json:
        return _head(self.model_id, self.answer_id) | {"object": kind}

    def message(self) -> Json:
        if self.tool is not None:
            return {"role": "assistant", "content": None, "refusal": None, "tool_calls": [_call(self.tool)]}
        return {"role": "assistant", "content": "".join(self.words), "refusal": None}

    def choices(self) -> Iterator[bytes]:
        """Yield the choices of a whole answer, with commas between them; a text is encoded once for all of them."""
        said = None if self.tool is not None else _encode(self.message())
        end = b',"logprobs":null,"finish_reason":%b}' % _encode(self.finish_reason)
        for index in range(self.count):
            yield b'%b{"index":%d,"message":' % (b"," if index else b"", index)
            yield _encode(self.message()) if said is None else said
            yield end

    def deltas(self) -> Iterator[tuple[Json, str | None]]:
        """Yield the additions of the chunks of one choice, the last one with the reason to end."""
        if self.tool is not None:
            call = {"index": 0, **_call(self.tool)}
            yield {"role": "assistant", "content": None, "tool_calls": [call]}, None
        else:
            yield {"role": "assistant", "content": "", "refusal": None}, None
            for word in self.words:
                yield {"content": word}, None
        yield {}, self.finish_reason


class _EchoStream:
    def __init__(self, reply: _Reply) -> None:
        self._reply = reply

    async def __aiter__(self) -> AsyncIterator[bytes]:
        reply = self._reply
        head = reply.head("chat.completion.chunk")
        # A chunk has `usage` only where the caller asked for it, and then all of them do.
        usage = {"usage": None} if reply.with_usage else {}
        for index in range(reply.count):
            for place, (delta, reason) in enumerate(reply.deltas()):
                if place % _AT_A_TIME == _AT_A_TIME - 1:
                    await asyncio.sleep(0)
                choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
                yield _event({**head, "choices": [choice], **usage})
        if reply.with_usage:
            yield _event({**head, "choices": [], "usage": reply.usage})
        yield b"data: [DONE]\n\n"

    async def aclose(self) -> None:
        """Do nothing; no work is under way between two pieces."""


def look_for_reply(document: Document) -> Json:
    """Return the members of a reply, but for the model's name; raises InvalidJson. May run in a worker process."""
    body = document.members
    prompt = sum(len(_text(message).split()) for message in body["messages"])
    count = whole_number(body, "n", 1, MAX_CHOICES) or 1
    script = script_of(_said(body), _results(body))
    tool = None if script is not None else _forced_tool(body)
    words, reason = ([], "tool_calls") if tool is not None or script is not None else _words(body)
    completion = count * len(words)
    return {
        "script": script,
        "words": words,
        "tool": tool,
        "finish_reason": reason,
        "count": count,
        "usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion},
        "with_usage": (body.get("stream_options") or {}).get("include_usage") is True,
    }


def _words(body: Mapping[str, Any]) -> tuple[list[str], str]:
    """Return the words of the answer, and the reason that it ends there."""
    said = _said(body)
    text = f"echo: {said}" if said else "echo:"
    text = text[: min((place for stop in stops_of(body) if (place := text.find(stop)) >= 0), default=len(text))]
    words = WORD.findall(text[:LONGEST])
    limit = whole_number(body, "max_completion_tokens", 1) or whole_number(body, "max_tokens", 1) or LONGEST
    return words[:limit], "length" if len(words) > limit or len(text) > LONGEST else "stop"


def _said(body: Mapping[str, Any]) -> str:
    """Return the text of the last user message; empty where there is none."""
    return next((_text(message) for message in reversed(body["messages"]) if message["role"] == "user"), "")


def _results(body: Mapping[str, Any]) -> list[str]:
    """Return the last result of each answer with calls that stands behind the last user message."""
    found = list[str]()
    for message in body["messages"]:
        if message["role"] == "user":
            found.clear()
        elif message["role"] == "assistant" and message.get("tool_calls"):
            found.append("")
        elif message["role"] == "tool" and found:
            found[-1] = _text(message)
    return found


def _text(message: Json) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = [_text_of_part(part) for part in content if isinstance(part, dict)]
    return " ".join(text for text in texts if isinstance(text, str))


def _text_of_part(part: Json) -> Any:
    """Return the text of a part, or the name of its file in brackets; None where there is neither."""
    file = part.get("file")
    if part.get("type") == "file" and isinstance(file, dict) and isinstance(file.get("filename"), str):
        return f"[{file['filename']}]"
    return part.get("text") if part.get("type") == "text" else None


def stops_of(body: Mapping[str, Any]) -> list[str]:
    """Return the texts before which an answer ends; raises InvalidJson."""
    stops = body.get("stop")
    if stops is None:
        return []
    listed = [stops] if isinstance(stops, str) else stops
    if not isinstance(listed, list) or not all(isinstance(stop, str) and stop for stop in listed):
        raise _wrong("stop", "must be a text or a list of texts")
    return listed


def whole_number(body: Mapping[str, Any], name: str, least: int, most: int | None = None) -> int | None:
    """Return the number in a member, None where there is none; raises InvalidJson for one out of bounds."""
    value = body.get(name)
    if value is None:
        return None
    if type(value) is not int or value < least or (most is not None and value > most):
        span = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise _wrong(name, f"must be a whole number {span}")
    return value


def _forced_tool(body: Mapping[str, Any]) -> str | None:
    """Return the name of the one function that `tool_choice` permits to call."""
    choice = body.get("tool_choice")
    named = isinstance(choice, dict)
    if not named and choice != "required":
        return None
    tools = body.get("tools")
    offered = [_function_name(tool) for tool in tools] if isinstance(tools, list) else []
    if named:
        wanted = _function_name(choice)
        if wanted is None or wanted not in offered:
            raise _wrong("tool_choice", "must name one of `tools`")
        return wanted
    if not offered or offered[0] is None:
        raise _wrong("tool_choice", "needs a function in `tools`")
    return offered[0]


def _function_name(tool: Any) -> str | None:
    function = tool.get("function") if isinstance(tool, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) else None


def _wrong(param: str, demand: str) -> InvalidJson:
    return InvalidJson(f"`{param}` {demand}", param, "invalid_value")


def _call(name: str) -> Json:
    return {"id": f"call_{uuid4().hex}", "type": "function", "function": {"name": name, "arguments": "{}"}}


def _head(model_id: str, answer_id: str) -> Json:
    created = int(time.time())
    return {"id": answer_id, "object": "", "created": created, "model": model_id, "system_fingerprint": "echo"}


def _event(chunk: Json) -> bytes:
    return b"data: " + _encode(chunk) + b"\n\n"


def _encode(document: Json | str) -> bytes:
    return dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
