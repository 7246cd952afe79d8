"""The shape of chat completions and their chunks, whatever variant of it a provider sends.

What clients differ in, or fail at, is written in one way here: the accumulator of any SDK makes the same of it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final
from uuid import uuid4

from server.inference.answers.plain import NotAnAnswer, ToldError
from server.inference.answers.tool_calls import Calls, whole_call
from server.json_input.strict import Json

MOST_CHOICES: Final = 128
"""Choices of an answer."""

_ERROR_KINDS: Final = frozenset({"error"})
_SAYS_WHY: Final = ("message", "detail", "errors")
_OBJECT_OR_NULL: Final = (dict, type(None))


def told_error(document: Json) -> bool:
    """Return whether a document tells of an error: as OpenAI does, as older vLLM does, or as a framework's own page."""
    if document.get("error"):
        return True
    if document.get("object") in _ERROR_KINDS or document.get("type") in _ERROR_KINDS:
        return True
    is_part = "choices" in document or "usage" in document or "id" in document
    return not is_part and any(document.get(name) for name in _SAYS_WHY)


class AnswerShape:
    """Gives the parts of one answer the canonical name `model_id`, one id and one time of creation.

    The id is `answer_id`, or else the one that the provider gave first, or one of ours. Most chunks of a stream differ
    in one text where `differs_in_texts`. Members that are `dropped` say nothing to clients.
    """

    whole_kind = "chat.completion"
    chunk_kind = "chat.completion.chunk"
    id_prefix = "chatcmpl-"
    differs_in_texts = True

    def __init__(self, model_id: str, answer_id: str | None = None) -> None:
        self._model_id = model_id
        self._identity = answer_id
        self._created: int | None = None
        self._choices: dict[int, _Choice] = {}
        self.dropped: frozenset[str] = frozenset()

    @property
    def identity(self) -> str | None:
        """The id of every part; None until there is one."""
        return self._identity

    def whole(self, document: Json) -> Json:
        """Return the chat completion of a document, which is changed; raises NotAnAnswer and ToldError."""
        self._frame(document, self.whole_kind)
        choices = document.get("choices")
        if type(choices) is not list:
            raise NotAnAnswer
        document["choices"] = [self._whole_choice(place, choice) for place, choice in enumerate(choices)]
        return document

    def chunk(self, document: Json) -> Json:
        """Return the chunk of a document, which is changed; raises NotAnAnswer and ToldError."""
        self._frame(document, self.chunk_kind)
        choices = document.get("choices")
        if choices is not None and type(choices) is not list:
            raise NotAnAnswer
        given = choices or []
        if None in given:
            given = [choice for choice in given if choice is not None]
        document["choices"] = [self._choice(place, choice) for place, choice in enumerate(given)]
        if type(document.get("usage")) not in _OBJECT_OR_NULL:
            document["usage"] = None
        return document

    def parted(self, choice: Any) -> Iterator[Json]:
        """Yield the choices of the chunks that come to a choice of a whole answer; raises NotAnAnswer."""
        if type(choice) is not dict or type(choice.get("message")) is not dict:
            raise NotAnAnswer
        delta, reason = choice.pop("message"), choice.pop("finish_reason", None)
        calls = delta.get("tool_calls")
        if type(calls) is list:
            delta["tool_calls"] = [{**call, "index": place} for place, call in enumerate(calls)]
        yield {**choice, "delta": delta, "finish_reason": None}
        yield {"index": choice["index"], "delta": {}, "finish_reason": reason}

    def end(self) -> None:
        """Note the end of a stream; raises NotAnAnswer if a call has no name."""
        for choice in self._choices.values():
            choice.calls.check()

    def _frame(self, document: Json, kind: str) -> None:
        if told_error(document):
            raise ToldError(document)
        document.pop("error", None)
        for name in self.dropped:
            document.pop(name, None)
        identity, created = document.get("id"), document.get("created")
        if self._identity is None:
            self._identity = identity if type(identity) is str and identity else f"{self.id_prefix}{uuid4().hex}"
        if self._created is None:
            self._created = created if type(created) is int and created > 0 else int(time.time())
        document |= {"id": self._identity, "object": kind, "model": self._model_id}
        if type(created) is not int or created <= 0:
            document["created"] = self._created

    def _whole_choice(self, place: int, choice: Any) -> Any:
        return _whole_choice(place, choice)

    def _choice(self, place: int, choice: Any) -> Json:
        if type(choice) is not dict:
            raise NotAnAnswer
        index = choice.get("index")
        if type(index) is not int or index < 0:
            index = choice["index"] = place
        delta = choice.get("delta")
        if delta is None:
            delta = choice["delta"] = {}
        if type(delta) is not dict or (len(self._choices) == MOST_CHOICES and index not in self._choices):
            raise NotAnAnswer
        known = self._choices.get(index)
        if known is None:
            known = self._choices[index] = _Choice()
        known.shape(delta)
        reason = choice["finish_reason"] = choice.get("finish_reason") or None
        if reason is not None:
            known.calls.check()
        if type(choice.get("logprobs")) not in _OBJECT_OR_NULL:
            choice["logprobs"] = None
        return choice


class _Choice:
    """One choice of a stream, as far as it has come."""

    def __init__(self) -> None:
        self.calls = Calls()
        self._has_role = False

    def shape(self, delta: Json) -> None:
        """Change a delta into what accumulators add up."""
        if "role" in delta:
            # Some providers repeat it in each chunk, and accumulators would append it.
            if self._has_role or type(delta["role"]) is not str:
                del delta["role"]
            else:
                self._has_role = bool(delta["role"])
        if type(delta.get("content")) is list:
            _flatten(delta)
        calls = delta.get("tool_calls")
        if calls is not None:
            delta["tool_calls"] = self.calls.shaped(calls)
            if not delta["tool_calls"]:
                del delta["tool_calls"]


def _whole_choice(place: int, choice: Any) -> Any:
    if type(choice) is not dict:
        return choice
    if type(choice.get("index")) is not int:
        choice["index"] = place
    if choice.get("finish_reason") == "":
        choice["finish_reason"] = None
    message = choice.get("message")
    if type(message) is dict:
        if not message.get("role"):
            message["role"] = "assistant"
        _flatten(message)
        calls = message.get("tool_calls")
        if type(calls) is list:
            message["tool_calls"] = [whole_call(call) for call in calls]
    return choice


def _flatten(message: Json) -> None:
    """Write a content in parts, as Mistral's reasoning models send it, as the texts that clients read."""
    content = message.get("content")
    if type(content) is not list:
        return
    said, thought = list[str](), list[str]()
    for part in content:
        match part:
            case str() | {"type": "text", "text": str()}:
                said.append(part if isinstance(part, str) else part["text"])
            case {"type": "thinking", "thinking": [*steps]}:
                thought += [step["text"] for step in steps if type(step) is dict and type(step.get("text")) is str]
    message["content"] = "".join(said)
    if thought:
        message.setdefault("reasoning_content", "".join(thought))
