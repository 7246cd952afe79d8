"""Answers of the Converse API as chat completions and their chunks."""

from __future__ import annotations

from collections.abc import Iterator
from json import loads
from typing import Any, Final

from server.inference.answers.plain import NotAnAnswer, decoded, encoded
from server.inference.provider import DONE
from server.inference.providers.bedrock.frames import Frame
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


def completion(text: bytes, *, hides_calls: bool) -> Json:
    """Return the chat completion of an answer; raises NotAnAnswer. `hides_calls` leaves calls of tools out."""
    document = decoded(text)
    output = document.get("output")
    message = output.get("message") if type(output) is dict else None
    blocks = message.get("content") if type(message) is dict else None
    if type(blocks) is not list:
        raise NotAnAnswer
    reason = document.get("stopReason")
    if reason in _MALFORMED:
        return error_of(str(reason), b"")
    said, thought, calls = list[str](), list[str](), list[Json]()
    for block in blocks:
        match block:
            case {"text": str(words)}:
                said.append(words)
            case {"reasoningContent": {"reasoningText": {"text": str(words)}}}:
                thought.append(words)
            case {"toolUse": dict(use)} if not hides_calls:
                function = {"name": use.get("name"), "arguments": _arguments(use.get("input"))}
                calls.append({"id": use.get("toolUseId"), "type": "function", "function": function})
    shown: Json = {"role": "assistant", "content": "".join(said) if said or not calls else None}
    if thought:
        shown["reasoning_content"] = "".join(thought)
    if calls:
        shown["tool_calls"] = calls
    choice = {"index": 0, "message": shown, "logprobs": None, "finish_reason": _reason(reason, has_calls=bool(calls))}
    return {"choices": [choice], "usage": usage_of(document.get("usage"))}


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

    `hides_calls` leaves calls of tools out; `reports_usage` ends the stream with the chunk of usage. `is_stopped` once
    the model has ended its answer; then `end` may follow. Raises NotAnAnswer for what is no event.
    """

    def __init__(self, *, hides_calls: bool, reports_usage: bool) -> None:
        self.is_stopped = False
        self.is_ended = False
        self._hides_calls = hides_calls
        self._reports_usage = reports_usage
        self._calls: dict[Any, int] = {}

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
        match kind:
            case "messageStart":
                yield _chunk({"role": "assistant", "content": ""})
            case "contentBlockStart":
                yield from self._begun(event)
            case "contentBlockDelta":
                yield from self._delta(event)
            case "messageStop":
                yield self._stopped(event.get("stopReason"))
            case "metadata":
                if self._reports_usage:
                    yield _event({"choices": [], "usage": usage_of(event.get("usage"))})
                yield self.end()

    def _begun(self, event: Json) -> Iterator[bytes]:
        start = event.get("start")
        use = start.get("toolUse") if type(start) is dict else None
        if type(use) is not dict or self._hides_calls:
            return
        index = self._calls.setdefault(event.get("contentBlockIndex"), len(self._calls))
        function = {"name": use.get("name"), "arguments": ""}
        yield _chunk(
            {"tool_calls": [{"index": index, "id": use.get("toolUseId"), "type": "function", "function": function}]}
        )

    def _delta(self, event: Json) -> Iterator[bytes]:
        match event.get("delta"):
            case {"text": str(words)} if words:
                yield _chunk({"content": words})
            case {"reasoningContent": {"text": str(words)}} if words:
                yield _chunk({"reasoning_content": words})
            case {"toolUse": {"input": piece}} if not self._hides_calls:
                index = self._calls.setdefault(event.get("contentBlockIndex"), len(self._calls))
                yield _chunk({"tool_calls": [{"index": index, "function": {"arguments": _arguments(piece)}}]})

    def _stopped(self, reason: Any) -> bytes:
        if reason in _MALFORMED:
            return self._failed(reason, b"")
        self.is_stopped = True
        return _chunk({}, _reason(reason, has_calls=bool(self._calls)))

    def _failed(self, kind: str, payload: bytes) -> bytes:
        self.is_ended = True
        return _event(error_of(kind, payload))


def _reason(reason: Any, *, has_calls: bool) -> str:
    """Return OpenAI's word for the end of an answer. One that calls tools ends with the calls, whatever it says."""
    word = _REASONS.get(reason, "stop") if type(reason) is str else "stop"
    if word == "stop" and has_calls:
        return "tool_calls"
    return "stop" if word == "tool_calls" and not has_calls else word


def _chunk(delta: Json, reason: str | None = None) -> bytes:
    return _event({"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})


def _event(document: Json) -> bytes:
    return b"data: %b\n\n" % encoded(document)


def _arguments(given: Any) -> str:
    return given if type(given) is str else encoded({} if given is None else given).decode()


def _tokens(given: Any) -> int:
    return given if type(given) is int and 0 <= given <= _MOST_TOKENS else 0
