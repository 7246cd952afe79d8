"""Checks that several kinds of bodies share, and the sentences that refuse a body.

They may run in a worker process, so this module imports the standard library and `server.json_input` alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from server.json_input.strict import InvalidJson, Json

MOST_KEYS: Final = 16
LONGEST_KEY: Final = 64
LONGEST_VALUE: Final = 512
"""Characters, as those of a key."""


@dataclass(frozen=True, slots=True)
class NewMetadata:
    """The body of a change to nothing but the metadata."""

    metadata: dict[str, str]


_SHAPE: Final = f"must be an object of at most {MOST_KEYS} texts, or null"


def metadata_of(body: Json, place: str = "metadata") -> dict[str, str]:
    """Return the metadata in `body`, empty where it is absent or null; raises InvalidJson with the wrong place."""
    metadata = body.get("metadata")
    if metadata is None:
        return {}
    if type(metadata) is not dict or len(metadata) > MOST_KEYS:
        raise wrong(place, _SHAPE)
    for name, value in metadata.items():
        if not 0 < len(name) <= LONGEST_KEY or "\0" in name:
            raise wrong(place, f"has a key that is not 1 to {LONGEST_KEY} characters long, or holds a NUL")
        if type(value) is not str or len(value) > LONGEST_VALUE or "\0" in value:
            raise wrong(f"{place}.{name}", f"must be a text of at most {LONGEST_VALUE} characters without a NUL")
    return metadata


def check_values(values: list[Any], place: str, most: int) -> None:
    """Raise InvalidJson where the values of a list hold more than `most` values together, at any depth.

    A value costs those who read it more than its bytes.
    """
    count = 0
    for index, value in enumerate(values):
        waiting = [value]
        while waiting and count <= most:
            count += len(waiting)
            waiting = [
                child
                for holder in waiting
                if type(holder) is dict or type(holder) is list
                for child in (holder.values() if type(holder) is dict else holder)
            ]
        if count > most:
            raise wrong(
                f"{place}[{index}]", f"brings the values of `{place}` to more than {most}; upload them as a file"
            )


def known_members(body: Json, names: Iterable[str], place: str = "") -> None:
    """Raise InvalidJson for a member of `body`, the value at `place`, that is none of `names`."""
    others = sorted(body.keys() - {*names})
    if others:
        where = f"{place}.{short(others[0])}" if place else short(others[0])
        raise InvalidJson(f"`{where}` is not known here; leave it out", where, "unknown_parameter")


def short(text: str) -> str:
    """Return the beginning of a client's text, which may be long."""
    return text if len(text) <= LONGEST_KEY else f"{text[:LONGEST_KEY]}…"


def wrong(place: str, demand: str) -> InvalidJson:
    """Return the refusal of a wrong value at `place`."""
    return InvalidJson(f"`{place}` {demand}", place, "invalid_value")


def missing(place: str) -> InvalidJson:
    """Return the refusal of a body without a value at `place`."""
    return InvalidJson(f"the body has no `{place}`", place, "missing_required_parameter")


def text_at(body: dict[str, Any], name: str, place: str, longest: int | None = None) -> str:
    """Return the text in a member, which must be present; `longest` is in characters."""
    if name not in body:
        raise missing(f"{place}.{name}" if place else name)
    value = body[name]
    if type(value) is not str:
        raise wrong(f"{place}.{name}" if place else name, "must be a text")
    if longest is not None and not 0 < len(value) <= longest:
        raise wrong(f"{place}.{name}" if place else name, f"must be a text of 1 to {longest} characters")
    return value
