"""The texts of requests to models, and of their answers, each with its place, so that a masked one can be put back."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from json import dumps, loads
from typing import Any, Final

from server.inference.provider import Task
from server.safety.shield import Said

_TEXTS: Final = frozenset({"text", "input_text", "output_text", "refusal", "reasoning_text", "summary_text"})
"""The types of parts of messages that hold nothing but text."""

_WORDS: Final = frozenset(
    {
        "finish_reason",
        "id",
        "index",
        "model",
        "native_finish_reason",
        "object",
        "provider",
        "role",
        "service_tier",
        "stop_reason",
        "system_fingerprint",
        "tool_call_id",
        "type",
    }
)
"""Members that hold a word of a protocol and no text; what else stands in one is checked all the same."""

_WORD: Final = re.compile(r"[A-Za-z0-9_.:/@+-]{0,256}")
_UNREAD: Final = frozenset({"logprobs", "usage"})
"""Members of answers that hold numbers, or the tokens of a text that is checked."""

_SETTINGS: Final = frozenset(
    {
        "audio",
        "encoding_format",
        "metadata",
        "modalities",
        "model",
        "prompt_cache_key",
        "prompt_cache_retention",
        "reasoning_effort",
        "safety_identifier",
        "service_tier",
        "stream",
        "stream_options",
        "user",
        "verbosity",
    }
)
"""Members of requests that reach no model as text."""

_OF_TASKS: Final = {Task.CHAT: "messages", Task.TEXT: "prompt", Task.EMBEDDING: "input"}


class Unreadable(Exception):
    """Raised for something that no shield reads; `param` is its place."""

    def __init__(self, param: str) -> None:
        super().__init__(param)
        self.param = param


@dataclass(frozen=True, slots=True)
class Slot:
    """A text in a document: what holds it, under which key, and whether a model has made it.

    `path` is the same for the pieces of one text in the chunks of a stream.
    """

    holder: Any
    key: str | int
    by_model: bool = False
    path: str = ""

    @property
    def text(self) -> str:
        """The text."""
        text: str = self.holder[self.key]
        return text

    @property
    def said(self) -> Said:
        """The text with its speaker."""
        return Said(self.text, self.by_model)


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts of a document. `beside` are those that have no place of their own, such as names in schemas."""

    document: Any
    slots: Sequence[Slot]
    beside: Sequence[Said] = ()

    @property
    def said(self) -> list[Said]:
        """Every text, those with a place last."""
        return [*self.beside, *(slot.said for slot in self.slots)]

    def put_back(self, masked: Sequence[str]) -> bool:
        """Put masked texts into their places, in the order of `said`; return whether each has one."""
        count = len(self.beside)
        if len(masked) != count + len(self.slots) or any(
            text != said.text for text, said in zip(masked, self.beside, strict=False)
        ):
            return False
        for slot, text in zip(self.slots, masked[count:], strict=True):
            slot.holder[slot.key] = text
        return True

    def written(self) -> bytes:
        """Return the document as JSON."""
        return dumps(self.document, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def request_texts(payload: bytes, task: Task) -> Texts:
    """Return the texts of a request; raises Unreadable for what no shield reads, such as an image or token ids."""
    document = loads(payload)
    name = _OF_TASKS[task]
    beside = [
        Said(text) for member, value in document.items() if member not in _SETTINGS | {name} for text in _all(value)
    ]
    if task is Task.CHAT:
        return Texts(document, [*_messages(document[name])], beside)
    given = document[name]
    if type(given) is str:
        return Texts(document, [Slot(document, name)], beside)
    if type(given) is not list or not all(type(text) is str for text in given):
        raise Unreadable(name)
    return Texts(document, [Slot(given, place) for place in range(len(given))], beside)


def answer_texts(text: bytes) -> Texts:
    """Return the texts of an answer: every one that reaches the caller."""
    document = loads(text)
    return Texts(document, [*_slots(document, "", by_model=True)])


def chunk_texts(document: Any) -> list[Slot]:
    """Return the texts of one chunk of a stream, with paths that the pieces of one text share."""
    return [*_slots(document, "", by_model=True)]


def _messages(messages: Any) -> Iterator[Slot]:
    for place, message in enumerate(messages):
        content = message.get("content")
        for index, part in enumerate(content if type(content) is list else ()):
            if type(part) is not dict or part.get("type") not in _TEXTS:
                raise Unreadable(f"messages[{place}].content[{index}]")
        if message.get("audio") is not None:
            raise Unreadable(f"messages[{place}].audio")
        yield from _slots(message, "", by_model=message.get("role") in ("assistant", "model"))


def _slots(value: Any, path: str, *, by_model: bool) -> Iterator[Slot]:
    """Yield the places of all texts in a value, without words of the protocol."""
    waiting: list[tuple[Any, str]] = [(value, path)]
    while waiting:
        holder, path = waiting.pop()
        named = _named(holder, path)
        inner: list[tuple[Any, str]] = []
        for key, each, below in named:
            if type(each) is str:
                if not (key in _WORDS and _WORD.fullmatch(each)):
                    yield Slot(holder, key, by_model, below)
            elif type(each) in (dict, list) and key not in _UNREAD:
                inner.append((each, below))
        waiting += reversed(inner)


def _named(holder: Any, path: str) -> Iterator[tuple[Any, Any, str]]:
    if type(holder) is dict:
        for key, value in holder.items():
            yield key, value, f"{path}.{key}"
        return
    for place, value in enumerate(holder):
        number = value.get("index", place) if type(value) is dict else place
        yield place, value, f"{path}.{number}"


def _all(value: Any) -> Iterator[str]:
    """Yield every text in a value, and the names of members of objects."""
    if type(value) is str:
        yield value
    elif type(value) is dict:
        yield "\n".join(value)
        for inner in value.values():
            yield from _all(inner)
    elif type(value) is list:
        for inner in value:
            yield from _all(inner)
