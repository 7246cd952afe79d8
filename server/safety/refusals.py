"""Answers in the place of what a shield has stopped, as clients know them: `content_filter`, and a refusal."""

from __future__ import annotations

import time
from json import dumps, loads
from secrets import token_hex
from typing import Any, Final

from server.inference.provider import DONE, ChatRequest, Task

_REASON: Final = "content_filter"
_NOTHING: Final = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


def whole(request: ChatRequest, message: str, moderation: dict[str, Any] | None = None) -> bytes:
    """Return the answer to a chat or a completion that was stopped, with the results of its moderation."""
    if request.task is Task.TEXT:
        count = 1 if request.wanted is None else request.wanted.count
        choices = [_text(place, _REASON) for place in range(count)]
    else:
        said = {"role": "assistant", "content": None, "refusal": message}
        choices = [{"index": 0, "message": said, "logprobs": None, "finish_reason": _REASON}]
    kind = "text_completion" if request.task is Task.TEXT else "chat.completion"
    told = {} if moderation is None else {"moderation": moderation}
    return _json({**_head(request, kind), "choices": choices, "usage": _NOTHING, **told})


def streamed(request: ChatRequest, message: str, moderation: dict[str, Any] | None = None) -> bytes:
    """Return the events of such an answer, with their end."""
    told = request.with_usage and request.unasked is None
    events = ended(request, message, [0], {}, _NOTHING if told else None)
    if moderation is None:
        return events
    return events[: -len(DONE)] + chunk_with(request, {}, moderation) + DONE


def ended(
    request: ChatRequest, message: str, places: list[int], head: dict[str, Any], usage: dict[str, int] | None = None
) -> bytes:
    """Return the last events of a stream that is stopped; `places` are its open choices, and `head` its members."""
    if request.task is Task.TEXT:
        kind, choices = "text_completion", [[_text(place, _REASON) for place in places]]
    else:
        kind = "chat.completion.chunk"
        said = {"role": "assistant", "refusal": message}
        choices = [
            [{"index": place, "delta": said, "logprobs": None, "finish_reason": None} for place in places],
            [{"index": place, "delta": {}, "logprobs": None, "finish_reason": _REASON} for place in places],
        ]
    first = {**_head(request, kind), **head}
    events = b"".join(b"data: %b\n\n" % _json({**first, "choices": each}) for each in choices)
    last = b"" if usage is None else b"data: %b\n\n" % _json({**first, "choices": [], "usage": usage})
    return events + last + DONE


def chunk_with(request: ChatRequest, members: dict[str, Any], moderation: dict[str, Any] | None) -> bytes:
    """Return the event of a chunk with these members and the results of a moderation, which are left out if None."""
    kind = "text_completion" if request.task is Task.TEXT else "chat.completion.chunk"
    told = {name: value for name, value in members.items() if name != "moderation"}
    if moderation is not None:
        told["moderation"] = moderation
    return b"data: %b\n\n" % _json({**_head(request, kind), "choices": [], **told})


def with_moderation(answer: bytes, moderation: dict[str, Any]) -> bytes:
    """Return an answer with the results of its moderation in the place of any that its provider tells."""
    if b'"moderation"' in answer:
        return _json({**loads(answer), "moderation": moderation})
    # A large answer is not parsed for this.
    return answer.rstrip()[:-1] + b',"moderation":' + _json(moderation) + b"}"


def _text(place: int, reason: str) -> dict[str, Any]:
    return {"index": place, "text": "", "logprobs": None, "finish_reason": reason}


def _head(request: ChatRequest, kind: str) -> dict[str, Any]:
    identity = request.answer_id or f"{'cmpl' if request.task is Task.TEXT else 'chatcmpl'}-{token_hex(12)}"
    return {"id": identity, "object": kind, "created": int(time.time()), "model": request.model_id}


def _json(value: Any) -> bytes:
    return dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
