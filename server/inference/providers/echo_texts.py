"""Completions of `inline::echo`: `echo: ` and the prompt; of token ids, the numbers with blanks between them.

A token is a word with the blanks behind it. `n`, `stop`, `max_tokens`, `echo` and `logprobs` have the usual meaning.
Only `id` and `created` differ between two answers to one request.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import accumulate
from json import dumps
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from server.inference.answers.usage import believed
from server.inference.provider import DONE, ChatRequest, ChatStream, Counted, Fault, Pieces, ProviderFailed
from server.inference.providers.echo import LONGEST, MAX_CHOICES, WORD, stops_of, whole_number
from server.json_input.strict import Document, InvalidJson, Json, Why

if TYPE_CHECKING:
    # The processes that read large bodies import this module, and little else.
    from server.json_input.reader import Reader

LONGEST_ANSWER: Final = 128 * 1024
"""Characters of all completions of one request together, without prompts."""

_AT_A_TIME: Final = 100
"""Words that are sent before other tasks run, since a caller who reads fast never makes this one wait."""


class EchoTexts:
    """Completes what `reader` reads of each request; keeps nothing."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def complete(self, request: ChatRequest) -> Pieces:
        """Return all completions."""
        reply = await self._reply(request)
        pieces = [_encode(reply.head()).removesuffix(b"}") + b',"choices":[']
        for index, said in reply.choices():
            pieces += (b"," if index else b"", _encode({"index": index, **said.whole(logprobs=reply.logprobs)}))
            await asyncio.sleep(0)
        return Counted([*pieces, b'],"usage":%b}' % _encode(reply.usage)], believed(reply.usage))

    async def stream(self, request: ChatRequest) -> ChatStream:
        """Return the same answer as a stream, a word at a time."""
        return _TextStream(await self._reply(request))

    async def _reply(self, request: ChatRequest) -> _Reply:
        try:
            found = await self._reader.look(request.payload, look_for_texts)
        except InvalidJson as refusal:
            fault = Fault.BUSY if refusal.why is Why.BUSY else Fault.REQUEST
            raise ProviderFailed(fault, refusal.message, code=refusal.code, param=refusal.param) from None
        said = [_Said(**each) for each in found.pop("said")]
        return _Reply(request.model_id, request.answer_id or f"cmpl-{uuid4().hex}", said=said, **found)


@dataclass(frozen=True, slots=True)
class _Said:
    """One completion."""

    words: list[str]
    finish_reason: str

    def whole(self, *, logprobs: bool) -> Json:
        known = _logprobs(self.words, 0) if logprobs else None
        return {"text": "".join(self.words), "logprobs": known, "finish_reason": self.finish_reason}

    def parts(self, *, logprobs: bool) -> Iterator[Json]:
        """Yield the completion in chunks, the last one with the reason to end."""
        offset = 0
        for word in self.words:
            yield {"text": word, "logprobs": _logprobs([word], offset) if logprobs else None, "finish_reason": None}
            offset += len(word)
        yield {"text": "", "logprobs": None, "finish_reason": self.finish_reason}


@dataclass(frozen=True, slots=True)
class _Reply:
    """An answer: one completion of each prompt, `copies` times."""

    model_id: str
    answer_id: str
    said: list[_Said]
    copies: int
    logprobs: bool
    usage: Json
    with_usage: bool

    def head(self) -> Json:
        created = int(time.time())
        kind = "text_completion"
        return {
            "id": self.answer_id,
            "object": kind,
            "created": created,
            "model": self.model_id,
            "system_fingerprint": "echo",
        }

    def choices(self) -> Iterator[tuple[int, _Said]]:
        for place, said in enumerate(self.said):
            for copy in range(self.copies):
                yield place * self.copies + copy, said


class _TextStream:
    def __init__(self, reply: _Reply) -> None:
        self._reply = reply

    async def __aiter__(self) -> AsyncIterator[bytes]:
        reply = self._reply
        head = reply.head()
        usage = {"usage": None} if reply.with_usage else {}
        sent = 0
        for index, said in reply.choices():
            for part in said.parts(logprobs=reply.logprobs):
                sent += 1
                if sent % _AT_A_TIME == 0:
                    await asyncio.sleep(0)
                yield _event({**head, "choices": [{"index": index, **part}], **usage})
        if reply.with_usage:
            yield _event({**head, "choices": [], "usage": reply.usage})
        yield DONE

    async def aclose(self) -> None:
        """Do nothing; no work is under way between two pieces."""


def look_for_texts(document: Document) -> Json:
    """Return the members of a reply, but for the model's name; raises InvalidJson. May run in a worker process."""
    body = document.members
    prompts = [*map(_text, _prompts(body.get("prompt")))]
    copies = whole_number(body, "n", 1, MAX_CHOICES) or 1
    limit = whole_number(body, "max_tokens", 0)
    stops = stops_of(body)
    longest = min(LONGEST, LONGEST_ANSWER // (len(prompts) * copies))
    said = [_said(prompt, stops, limit, longest, echoes=body.get("echo") is True) for prompt in prompts]
    prompt = sum(len(each.split()) for each in prompts)
    completion = copies * sum(len(each["words"]) for each in said)
    return {
        "said": said,
        "copies": copies,
        "logprobs": whole_number(body, "logprobs", 0) is not None,
        "usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion},
        "with_usage": (body.get("stream_options") or {}).get("include_usage") is True,
    }


def _prompts(given: Any) -> list[Any]:
    return given if type(given) is list and type(given[0]) is not int else ["" if given is None else given]


def _text(prompt: Any) -> str:
    return prompt if type(prompt) is str else " ".join(map(str, prompt))


def _said(prompt: str, stops: list[str], limit: int | None, longest: int, *, echoes: bool) -> Json:
    text = f"echo: {prompt}" if prompt else "echo:"
    text = text[: min((place for stop in stops if (place := text.find(stop)) >= 0), default=len(text))]
    words = WORD.findall(text[:longest])
    is_cut = len(text) > longest or (limit is not None and len(words) > limit)
    kept = words if limit is None else words[:limit]
    begin = WORD.findall(prompt[:longest]) if echoes else []
    return {"words": [*begin, *kept], "finish_reason": "length" if is_cut else "stop"}


def _logprobs(words: list[str], offset: int) -> Json:
    return {
        "tokens": words,
        "token_logprobs": [0.0] * len(words),
        "top_logprobs": [{word: 0.0} for word in words],
        "text_offset": [*accumulate(map(len, words[:-1]), initial=offset)] if words else [],
    }


def _event(chunk: Json) -> bytes:
    return b"data: " + _encode(chunk) + b"\n\n"


def _encode(document: Json) -> bytes:
    return dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
