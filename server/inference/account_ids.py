"""Ids by which a body asks for something that a provider keeps: in its account, in a cache, or on its disks.

All callers share the account of a provider, so an id of one caller would serve another. An id counts wherever it
stands, and however its name is written. The look may run in a worker process, so this module imports the standard
library alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

FILE_ID: Final = "file_id"
AUDIO_ID: Final = "audio.id"
VOICE_ID: Final = "voice.id"
ADDRESS: Final = "content.url"

ACCOUNT_IDS: Final[Mapping[str, str]] = {
    FILE_ID: (
        '`file_id` is read in one place, `{"type": "file", "file": {"file_id": …}}` in a message\'s `content`; '
        "name the file there, or send it as `file_data`"
    ),
    AUDIO_ID: (
        "`audio.id` is not passed on, since it names an answer in the provider's account, which all callers share; "
        "send the answer's `transcript` as the message's `content`"
    ),
    VOICE_ID: (
        "`voice.id` is not passed on, since it names a voice in the provider's account, which all callers share; "
        "name one of the provider's own voices"
    ),
    ADDRESS: (
        "an address in a message begins with `https:`, `http:` or `data:`, since others are read in the provider's "
        "account or on its disks; send what is there as a `data:` URL"
    ),
    "uuid": (
        "`uuid` is not passed on, since it names an entry of the provider's cache, which all callers share; "
        "send what it stands for, and leave `uuid` out"
    ),
    **{
        name: (
            f"`{name}` is not passed on, since it names something in the provider's account, which all callers share; "
            "send what it stands for, or leave it out"
        )
        for name in ("cached_content", "container", "conversation_id", "file_uri", "response_id", "vector_store_id")
    },
}
"""The names that `allow_members` may let pass where an account is one caller's own, and the error for each."""

_SPELLINGS: Final[Mapping[str, str]] = {
    "audioid": AUDIO_ID,
    "cachedcontent": "cached_content",
    "cachedcontents": "cached_content",
    "container": "container",
    "containerid": "container",
    "containerids": "container",
    "conversationid": "conversation_id",
    "fileid": FILE_ID,
    "fileids": FILE_ID,
    "fileuri": "file_uri",
    "fileuris": "file_uri",
    "multimodaluuids": "uuid",
    "previousresponseid": "response_id",
    "responseid": "response_id",
    "s3location": "file_uri",
    "uuid": "uuid",
    "uuids": "uuid",
    "vectorstoreid": "vector_store_id",
    "vectorstoreids": "vector_store_id",
    "voiceid": VOICE_ID,
}
"""Members whose values are ids, as `plainly` writes their names."""

_HOLDERS: Final[Mapping[str, str]] = {
    "audio": AUDIO_ID,
    "inputaudio": AUDIO_ID,
    "outputaudio": AUDIO_ID,
    "voice": VOICE_ID,
}
"""Members in which `id` is such an id."""

_ADDRESSES: Final = ("url", "urls", "uri", "uris", "filedata")
_DEEPER: Final = frozenset({dict, list})
_TEXTS_TOO: Final = _DEEPER | {str}
_SCHEMES: Final = frozenset({"http", "https", "data"})
_FILES_OF_GEMINI: Final = "generativelanguage.googleapis.com"
_LONGEST_HEAD: Final = 256
_LONGEST_ENDING: Final = 16


def plainly(name: str) -> str:
    """Return a name as routers may read it, however it is written."""
    return name.casefold().replace("_", "").replace("-", "")


def ids_of(name: str, value: Any, *, addresses: bool = True) -> Iterator[str]:
    """Yield the keys of ACCOUNT_IDS that a member asks for, by its own name or inside of its value, at any depth.

    Without `addresses`, those of an unusual scheme pass.
    """
    # Each name is made plain once, since it may be as long as the body, and stand for as many values.
    waiting: list[tuple[str, Any]] = [(plainly(name), value)]
    while waiting:
        plain, value = waiting.pop()
        told = _SPELLINGS.get(plain)
        # Clients write null for what they leave out; where a file is named, it is refused as any other wrong id.
        if told is not None and (value is not None or told == FILE_ID):
            yield told
        if type(value) is str:
            if addresses and plain.endswith(_ADDRESSES) and _is_elsewhere(value):
                yield ADDRESS
        elif type(value) is dict:
            waiting += [(plainly(inner), each) for inner, each in value.items()]
            if plain in _HOLDERS and _has_id(value):
                yield _HOLDERS[plain]
        elif type(value) is list:
            # The values of a list stand under its name; texts matter where it is that of an address.
            searched = _TEXTS_TOO if addresses and plain.endswith(_ADDRESSES) else _DEEPER
            waiting += [(plain, each) for each in value if type(each) in searched]


def _has_id(holder: Mapping[str, Any]) -> bool:
    return any(plainly(name) in ("id", "ids") and value is not None for name, value in holder.items())


def _is_elsewhere(address: str) -> bool:
    """Return whether an address is none that a provider fetches from the network, and no data either.

    Without a scheme it is base64, which has no full stop, or a path. Gemini reads addresses of its own files by itself.
    """
    start = address[:_LONGEST_HEAD].lstrip().casefold()
    scheme, colon, rest = start.partition(":")
    if colon:
        return scheme not in _SCHEMES or (scheme != "data" and _FILES_OF_GEMINI in rest)
    return "." in start or "." in address[-_LONGEST_ENDING:]
