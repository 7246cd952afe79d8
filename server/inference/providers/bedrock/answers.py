"""Answers of the Converse API as chat completions and their chunks."""

from __future__ import annotations

from collections.abc import Iterator
from json import loads
from typing import Any, Final

from server.inference.answers.plain import NotAnAnswer, decoded, encoded
from server.inference.provider import DONE
from server.inference.providers.bedrock.converse import Converse
from server.inference.providers.bedrock.frames import Frame
from server.inference.providers.bedrock.guardrail import REFUSAL
from server.json_input.strict import Json

_REASONS: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}
_MALFORMED: Final = frozenset({"malformed_model_output", "malformed_tool_use"})
_STATUSES: Final = {
    "throttlingException": 429,
    "validationException": 400,
    "modelStreamErrorException": 502,
    "internalServerException": 502,
    "serviceUnavailableException": 503,
    "modelTimeoutException": 504,
}
"""Exceptions in the middle of a stream, by the statuses that they would have had before it."""

MOST_HELD: Final = 1024 * 1024
"""Bytes of calls of tools in a guarded stream, which wait for its end."""

_OF_MESSAGES: Final = frozenset({"messageStart", "contentBlockStart", "contentBlockDelta", "messageStop"})
_BLOCKED: Final = "content_filter"
_MOST_TOKENS: Final = 10**9


def error_of(kind: str, payload: bytes) -> Json:
    """Return the error that an exception of a stream tells, as OpenAI's API would tell it."""
    try:
        told = loads(payload)
    except (ValueError, RecursionError):
        told = None
    message = (told.get("message") or told.get("Message")) if type(told) is dict else None
    kind = kind[:1].lower() + kind[1:]
    return {"error": {"message": str(message or kind), "status": _STATUSES.get(kind, 502)}}


def completion(text: bytes, converse: Converse) -> Json:
    """Return the completion that an answer is, a chat's unless a text's was asked for; raises NotAnAnswer."""
    document = decoded(text)
    output = document.get("output")
    message = output.get("message") if type(output) is dict else None
    blocks = message.get("content") if type(message) is dict else None
    if type(blocks) is not list:
        raise NotAnAnswer
    reason = _told_reason(document.get("stopReason"), converse)
    if reason in _MALFORMED:
        return error_of(reason, b"")
    said, thought, calls = _parts(blocks, converse)
    word = _reason(reason, has_calls=bool(calls))
    choice: Json = {"index": 0, "logprobs": None, "finish_reason": word}
    if converse.is_text:
        choice["text"] = said
        return {"choices": [choice], "usage": usage_of(document.get("usage"))}
    shown: Json = {"role": "assistant", "content": said if said or not calls else None}
    if word == _BLOCKED:
        shown["refusal"] = REFUSAL
    else:
        shown |= {"reasoning_content": thought} if thought else {}
        shown |= {"tool_calls": calls} if calls else {}
    return {"choices": [{**choice, "message": shown}], "usage": usage_of(document.get("usage"))}


def _parts(blocks: list[Any], converse: Converse) -> tuple[str, str, list[Json]]:
    """Return what an answer says, what was thought, and its calls of tools."""
    said, thought, calls = list[str](), list[str](), list[Json]()
    for block in blocks:
        match block:
            case {"text": str(words)}:
                said.append(words)
            case {"reasoningContent": {"reasoningText": {"text": str(words)}}} if not converse.is_guarded:
                thought.append(words)
            case {"toolUse": dict(use)} if not converse.hides_calls:
                function = {"name": use.get("name"), "arguments": _arguments(use.get("input"))}
                calls.append({"id": use.get("toolUseId"), "type": "function", "function": function})
    return "".join(said), "".join(thought), calls


def usage_of(usage: Any) -> Json | None:
    """Return the usage as OpenAI counts it: tokens of the prompt include those read from and written to a cache."""
    if type(usage) is not dict:
        return None
    read = _tokens(usage.get("cacheReadInputTokens"))
    prompt = _tokens(usage.get("inputTokens")) + read + _tokens(usage.get("cacheWriteInputTokens"))
    answer = _tokens(usage.get("outputTokens"))
    return {
        "prompt_tokens": prompt,
        "completion_tokens": answer,
        "total_tokens": prompt + answer,
        "prompt_tokens_details": {"cached_tokens": read},
    }


class ConverseEvents:
    """Makes server-sent events of chunks from the frames of one stream.

    `is_stopped` once the model has ended its answer; then `end` may follow. Raises NotAnAnswer for what is no event.
    What the model thinks is read by no guardrail, so a guarded stream leaves it out, and holds calls of tools back
    until nothing has stepped in.
    """

    def __init__(self, converse: Converse) -> None:
        self.is_stopped = False
        self.is_ended = False
        self._converse = converse
        self._calls: dict[Any, int] = {}
        self._held = bytearray()

    def events(self, frame: Frame) -> bytes:
        """Return the events of one frame, which may be none; nothing comes after an error or the usage."""
        if self.is_ended:
            return b""
        if frame.headers.get(":message-type", "event") != "event":
            kind = frame.headers.get(":exception-type") or frame.headers.get(":error-code") or ""
            return self._failed(kind, frame.payload)
        return b"".join(self._of_event(frame.headers.get(":event-type", ""), decoded(frame.payload)))

    def end(self) -> bytes:
        """Return the last event, once the provider has closed a stream that is stopped."""
        if self.is_ended or not self.is_stopped:
            return b""
        self.is_ended = True
        return DONE

    def _of_event(self, kind: str, event: Json) -> Iterator[bytes]:
        if self.is_stopped and kind in _OF_MESSAGES:
            # It would come behind the reason for the end, which may be that a guardrail stepped in.
            raise NotAnAnswer
        match kind:
            case "messageStart":
                if not self._converse.is_text:
                    yield _chunk({"role": "assistant", "content": ""})
            case "contentBlockStart":
                yield from self._begun(event)
            case "contentBlockDelta":
                yield from self._delta(event)
            case "messageStop":
                yield self._stopped(event.get("stopReason"))
            case "metadata":
                if self._converse.reports_usage:
                    yield _event({"choices": [], "usage": usage_of(event.get("usage"))})
                yield self.end()

    def _begun(self, event: Json) -> Iterator[bytes]:
        start = event.get("start")
        use = start.get("toolUse") if type(start) is dict else None
        if type(use) is dict and not self._converse.hides_calls:
            call = {
                "id": use.get("toolUseId"),
                "type": "function",
                "function": {"name": use.get("name"), "arguments": ""},
            }
            yield self._called(event, call)

    def _delta(self, event: Json) -> Iterator[bytes]:
        match event.get("delta"):
            case {"text": str(words)} if words:
                yield _text_chunk(words) if self._converse.is_text else _chunk({"content": words})
            case {"reasoningContent": {"text": str(words)}} if words and self._shows_thoughts:
                yield _chunk({"reasoning_content": words})
            case {"toolUse": {"input": piece}} if not self._converse.hides_calls:
                yield self._called(event, {"function": {"arguments": _arguments(piece)}})

    @property
    def _shows_thoughts(self) -> bool:
        return not (self._converse.is_text or self._converse.is_guarded)

    def _called(self, event: Json, piece: Json) -> bytes:
        """Return the chunk with a piece of a call, or nothing while it is held back."""
        place = event.get("contentBlockIndex")
        if type(place) not in (int, type(None)):
            raise NotAnAnswer
        index = self._calls.setdefault(place, len(self._calls))
        chunk = _chunk({"tool_calls": [{"index": index, **piece}]})
        if not self._converse.is_guarded:
            return chunk
        self._held += chunk
        if len(self._held) > MOST_HELD:
            raise NotAnAnswer
        return b""

    def _stopped(self, given: Any) -> bytes:
        reason = _told_reason(given, self._converse)
        if reason in _MALFORMED:
            return self._failed(reason, b"")
        self.is_stopped = True
        word = _reason(reason, has_calls=bool(self._calls))
        if self._converse.is_text:
            return _text_chunk("", word)
        if word == _BLOCKED:
            return _chunk({"refusal": REFUSAL}, word)
        return bytes(self._held) + _chunk({}, word)

    def _failed(self, kind: str, payload: bytes) -> bytes:
        self.is_ended = True
        return _event(error_of(kind, payload))


def _told_reason(given: Any, converse: Converse) -> str:
    """Return the reason for an answer's end; raises NotAnAnswer for one that a guarded answer can't have."""
    reason = given if type(given) is str else ""
    if converse.is_guarded and reason not in _REASONS and reason not in _MALFORMED:
        raise NotAnAnswer
    return reason


def _reason(reason: str, *, has_calls: bool) -> str:
    """Return OpenAI's word for the end of an answer. One that calls tools ends with the calls, whatever it says."""
    word = _REASONS.get(reason, "stop")
    if word == "stop" and has_calls:
        return "tool_calls"
    return "stop" if word == "tool_calls" and not has_calls else word


def _chunk(delta: Json, reason: str | None = None) -> bytes:
    return _event({"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})


def _text_chunk(words: str, reason: str | None = None) -> bytes:
    return _event({"choices": [{"index": 0, "text": words, "logprobs": None, "finish_reason": reason}]})


def _event(document: Json) -> bytes:
    return b"data: %b\n\n" % encoded(document)


def _arguments(given: Any) -> str:
    return given if type(given) is str else encoded({} if given is None else given).decode()


def _tokens(given: Any) -> int:
    return given if type(given) is int and 0 <= given <= _MOST_TOKENS else 0
