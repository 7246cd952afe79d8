"""The texts of requests to models, and of their answers, as far as there are few enough of them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from json import loads
from typing import Any, Final, TypeVar

from server.inference.provider import Task
from server.json_input.signs import has_few_signs
from server.safety.hidden import KNOWN_NAMES, UNREAD_MEMBERS, is_unread, names_in, token_texts, unescaped
from server.safety.images import MOST_IMAGES, Image, image_of
from server.safety.shield import Said
from server.safety.slots import Slot, Texts

MOST_TEXTS: Final = 20_000
"""Texts of one request or answer, each of which is looked at several times for each shield."""

MOST_SIGNS: Final = 200_000
"""Brackets, braces, commas and texts of the JSON of one."""

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

_WORD: Final = re.compile(r"[A-Za-z0-9_.:-]{0,128}")
_LONGEST_WORD: Final = 256
_MODEL: Final = re.compile(r"[A-Za-z0-9_.:/@+-]{0,256}")
_ROLES: Final = frozenset({"assistant", "developer", "function", "model", "system", "tool", "user"})
_SOURCES: Final = frozenset({"developer", "function", "system", "tool"})
_TOKENS: Final = frozenset({"logprobs", "prompt_logprobs"})
_SPECIAL: Final = _TOKENS | UNREAD_MEMBERS

_SETTINGS: Final = frozenset(
    {
        "audio",
        "encoding_format",
        "metadata",
        "model",
        "modalities",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "stream",
        "stream_options",
        "user",
    }
)
"""Members of requests that reach no model as text."""

_LEVELS: Final = frozenset({"default", "high", "low", "max", "medium", "minimal", "none", "xhigh"})
"""Values of `reasoning_effort` and `verbosity`, which templates write into prompts; any other one is a text."""

_GRADED: Final = frozenset({"reasoning_effort", "verbosity"})

_OF_TASKS: Final = {Task.CHAT: "messages", Task.TEXT: "prompt", Task.EMBEDDING: "input"}


class Unreadable(Exception):
    """Raised for something that no shield reads; `param` is its place."""

    def __init__(self, param: str) -> None:
        super().__init__(param)
        self.param = param


class TooManyTexts(Exception):
    """Raised for a document with more parts than shields look at; the message says what of it is too many."""


T = TypeVar("T")


def request_texts(payload: bytes, task: Task) -> Texts:
    """Return the texts of a request.

    Raises TooManyTexts, and Unreadable for what no shield reads, such as an image or token ids.
    """
    document = _read(payload)
    name = _OF_TASKS[task]
    _check_members(document)
    beside = _few(
        Said(text)
        for member, value in document.items()
        if not (member in _SETTINGS or member == name or _is_level(member, value))
        for text in _all(value)
    )
    if task is Task.CHAT:
        texts = _with_hidden(document, _messages(document[name]), beside)
        images = [*_images(document[name])]
        if not images:
            return texts
        if len(images) > MOST_IMAGES:
            raise Unreadable(images[MOST_IMAGES][0])
        return replace(texts, images=[Said("", image=image) for _, image in images], image_place=images[0][0])
    given = document[name]
    if type(given) is str:
        return _with_hidden(document, [Slot(document, name)], beside)
    if type(given) is not list or not all(type(text) is str for text in given):
        raise Unreadable(name)
    return _with_hidden(document, (Slot(given, place) for place in range(len(given))), beside)


def answer_texts(text: bytes) -> Texts:
    """Return the texts of an answer: every one that reaches the caller.

    Raises TooManyTexts, and Unreadable for what no shield reads.
    """
    document = _read(text)
    return _with_hidden(document, _slots(document, "", by_model=True), ())


def chunk_texts(document: Any) -> list[Slot]:
    """Return the texts of one chunk of a stream, with paths that the pieces of one text share; raises Unreadable."""
    return [*_slots(document, "", by_model=True)]


class _Aside(list[str]):
    """Holds a text that has no place of its own in a document, such as names of members."""


def _read(raw: bytes) -> Any:
    if not has_few_signs(raw, MOST_SIGNS):
        raise TooManyTexts(f"{MOST_SIGNS} brackets, commas and texts of its JSON")
    return loads(raw)


def _few(found: Iterable[T]) -> list[T]:
    some = [*islice(found, MOST_TEXTS + 1)]
    if len(some) > MOST_TEXTS:
        raise TooManyTexts(f"{MOST_TEXTS} texts")
    return some


def _with_hidden(document: Any, found: Iterable[Slot], beside: Sequence[Said]) -> Texts:
    """Return texts, with those that have no place, and what escapes stand for, beside them."""
    slots = _few(found)
    placed = [slot for slot in slots if type(slot.holder) is not _Aside]
    aside = [slot.said for slot in slots if type(slot.holder) is _Aside]
    spoken = [slot.said for slot in placed]
    plain = ((unescaped(said.text), said) for said in (*beside, *spoken))
    hidden = [Said(text, said.by_model) for text, said in plain if text is not None]
    return Texts(document, placed, _few((*beside, *aside, *hidden, *spoken)))


def _is_level(member: str, value: Any) -> bool:
    return member in _GRADED and type(value) is str and value in _LEVELS


def _check_members(document: Any) -> None:
    """Raise Unreadable for a member that asks for, or brings, something other than text."""
    if document.get("modalities") not in (None, [], ["text"]):
        raise Unreadable("modalities")
    for member, value in document.items():
        if member != "audio" and is_unread(member, value):
            raise Unreadable(member)


def _messages(messages: Any) -> Iterator[Slot]:
    for place, message in enumerate(messages):
        content, seen = message.get("content"), set[int]()
        for index, part in enumerate(content if type(content) is list else ()):
            if message.get("role") == "user" and type(part) is dict and image_of(part) is not None:
                seen.add(id(part))
                continue
            is_plain = type(part) is dict and type(part.get("type")) is str and part["type"] in _TEXTS
            if not is_plain or any(is_unread(name, value) for name, value in part.items()):
                raise Unreadable(f"messages[{place}].content[{index}]")
        for name, value in message.items():
            if is_unread(name, value):
                raise Unreadable(f"messages[{place}].{name}")
        role = message.get("role")
        is_source = type(role) is str and role in _SOURCES
        for slot in _slots(message, "", by_model=role in ("assistant", "model"), given=True, without=seen):
            yield replace(slot, is_source=True) if is_source else slot


def _images(messages: Any) -> Iterator[tuple[str, Image]]:
    """Yield the images of the user, each with its place."""
    for place, message in enumerate(messages):
        content = message.get("content") if message.get("role") == "user" else None
        for index, part in enumerate(content if type(content) is list else ()):
            image = image_of(part) if type(part) is dict else None
            if image is not None:
                yield f"messages[{place}].content[{index}]", image


def _slots(
    value: Any, path: str, *, by_model: bool, given: bool = False, without: Collection[int] = ()
) -> Iterator[Slot]:
    """Yield the places of all texts in a value, without words of the protocol; raises Unreadable.

    A caller has `given` the value, or else a provider has. Objects of the ids `without` are passed over.
    """
    waiting: list[tuple[Any, str]] = [(value, path)]
    while waiting:
        holder, path = waiting.pop()
        inner: list[tuple[Any, str]] = []
        for key, each in _members(holder):
            kind = type(each)
            if key in _SPECIAL and each is not None:
                yield from _special(holder, key, f"{path}.{key}", by_model=by_model)
            elif kind is str:
                if key not in _WORDS or not _is_word(key, each):
                    yield Slot(holder, key, by_model, f"{path}.{key}")
            elif (kind is dict or kind is list) and id(each) not in without:
                number = each.get("index", key) if kind is dict and type(key) is int else key
                inner.append((each, f"{path}.{number}"))
        if type(holder) is dict and not holder.keys() <= KNOWN_NAMES:
            names = names_in(holder, given=given)
            if names:
                yield Slot(_Aside([names]), 0, by_model, f"{path}#{names}")
        waiting += reversed(inner)


def _special(holder: Any, key: str, path: str, *, by_model: bool) -> Iterator[Slot]:
    """Yield the texts of tokens; raises Unreadable for a member that holds none."""
    if key in _TOKENS:
        for number, text in enumerate(token_texts(holder[key], _said_in(holder))):
            yield Slot(_Aside([text]), 0, by_model, f"{path}#{number}")
    elif is_unread(key, holder[key]):
        raise Unreadable(path)


def _members(holder: Any) -> Iterable[tuple[Any, Any]]:
    return holder.items() if type(holder) is dict else enumerate(holder)


def _is_word(key: Any, value: str) -> bool:
    """Return whether a value of one of `_WORDS` is a word of the protocol in its place."""
    return len(value) <= _LONGEST_WORD and _is_short_word(key, value)


@lru_cache(maxsize=1024)
def _is_short_word(key: Any, value: str) -> bool:
    if key == "role":
        return value in _ROLES
    return (_MODEL if key == "model" else _WORD).fullmatch(value) is not None


def _said_in(choice: Any) -> Any:
    """Return the text of a choice, whole or in a chunk, which its tokens come to."""
    said = choice.get("message") or choice.get("delta")
    return said.get("content") if type(said) is dict else choice.get("text")


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
