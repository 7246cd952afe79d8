"""Texts and other content that stand where a plain walk over a document does not look, or in a form that it can't read.

Escapes inside of texts, the tokens that go with an answer, names of members, and members that hold pictures, sounds or
numbers in the place of texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

UNREAD_MEMBERS: Final = frozenset(
    {
        "audio",
        "audio_url",
        "audios",
        "b64_json",
        "image",
        "image_url",
        "image_urls",
        "images",
        "input_audio",
        "mm_data",
        "multi_modal_data",
        "prompt_embeds",
        "prompt_token_ids",
        "video",
        "video_url",
        "videos",
    }
)
"""Members that hold something other than text: pictures, sounds, vectors or numbers of tokens."""

_ESCAPE: Final = re.compile(r"(?:\\u[0-9a-fA-F]{4})+")
KNOWN_NAMES: Final = frozenset(
    {
        "annotations",
        "arguments",
        "cache_control",
        "call_id",
        "choices",
        "content",
        "created",
        "custom",
        "data",
        "delta",
        "encrypted_content",
        "end_index",
        "finish_reason",
        "format",
        "function",
        "function_call",
        "id",
        "index",
        "input",
        "logprobs",
        "matched_stop",
        "message",
        "model",
        "name",
        "native_finish_reason",
        "obfuscation",
        "object",
        "prefix",
        "provider",
        "reasoning",
        "reasoning_content",
        "reasoning_details",
        "refusal",
        "role",
        "service_tier",
        "signature",
        "start_index",
        "stop_reason",
        "summary",
        "system_fingerprint",
        "text",
        "thinking",
        "title",
        "token_ids",
        "tool_call_id",
        "tool_calls",
        "type",
        "url",
        "url_citation",
        "usage",
    }
)
"""Names of members that protocols give in messages; any other one is a text, since a caller may write it there."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")


def is_unread(name: Any, value: Any) -> bool:
    """Return whether a member holds something that no shield reads."""
    return name in UNREAD_MEMBERS and value not in (None, "", [], {})


def unescaped(text: str) -> str | None:
    """Return a text with the characters that its escapes of JSON stand for; None if it has none.

    Arguments of calls are JSON in a text: who reads them sees the characters.
    """
    if "\\u" not in text:
        return None
    plain = _ESCAPE.sub(_characters, text)
    return None if plain == text else plain


def whole_characters(text: str) -> str:
    """Return a text in which two halves of a character, which came in two pieces, are one."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def token_texts(logprobs: Any, said: Any) -> Iterator[str]:
    """Yield the texts that the tokens of an answer come to, and the tokens that it might have had.

    Tokens that come to the text `said`, which is checked itself, are left out.
    """
    chosen, others = list[str](), list[str]()
    for entry in _entries(logprobs):
        _add(entry, chosen, others)
    for text in ("".join(chosen), "\n".join(others)):
        if text and text != said:
            yield text


def _entries(logprobs: Any) -> Iterator[Any]:
    """Yield the places in probabilities: a list of them, or lists by their names."""
    for value in logprobs.values() if type(logprobs) is dict else [logprobs]:
        yield from value if type(value) is list else [value]


def _add(entry: Any, chosen: list[str], others: list[str]) -> None:
    """Add the tokens of one place: an object with a `token` and others like it, the token, or others by their names."""
    if type(entry) is str:
        chosen.append(entry)
        return
    told = entry if type(entry) is dict else {}
    token, tops = told.get("token"), told.get("top_logprobs")
    if type(token) is str:
        chosen.append(token)
        others += [text for top in (tops if type(tops) is list else ()) if (text := _token(top)) != token]
        return
    others += [_token(value) or name for name, value in told.items()]


def _token(told: Any) -> str:
    """Return the token that an object tells; empty where it tells none."""
    found = (told.get("token"), told.get("decoded_token")) if type(told) is dict else ()
    return next((text for text in found if type(text) is str), "")


def _characters(found: re.Match[str]) -> str:
    return bytes.fromhex(found[0].replace("\\u", "")).decode("utf-16-be", "replace")


def names_in(holder: dict[str, Any], *, given: bool) -> str:
    """Return the names of members that may say something, one a line; `given` if a caller has written them.

    A provider's own names are plain words. What its model writes as a name is part of a text.
    """
    names = (name for name in holder if name not in KNOWN_NAMES)
    return "\n".join(names if given else (name for name in names if not _NAME.fullmatch(name)))
