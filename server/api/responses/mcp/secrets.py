"""Credentials of servers of tools, which no text of theirs may bring back to a caller, into a record or to a model."""

from __future__ import annotations

import re
from base64 import b64decode
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from json import dumps
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from server.json_input.strict import Json
from server.mcp.messages import CUT

SHORTEST: Final = 8
"""Characters of a text that is taken for a secret; shorter ones are words that stand anywhere."""

SHORTEST_IN_PATH: Final = 16
"""Characters of a part of a path that is taken for one."""

MOST_FORMS: Final = 128
"""Texts that are looked for, whole values first."""

_HIDDEN: Final = "********"
_PARTS: Final = re.compile(r"[\s,;]+")


class Secrets:
    """The credentials that one server is sent: in headers, each part of a value included, and in its address."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        whole = (*headers.values(), *_in_address(url))
        parts = chain.from_iterable(map(_parts_of, headers.values()))
        # A header of 16 KB has thousands of parts, of which only so many are made ready.
        forms = islice(_all_forms((*whole, *parts)), MOST_FORMS)
        # A secret may hold another one.
        self._all = sorted(forms, key=len, reverse=True)
        self._beginnings = {secret[:SHORTEST] for secret in self._all}
        self._starred = {beginning for beginning in self._beginnings if "*" in beginning}
        self._in_order = sorted(self._all)

    def __bool__(self) -> bool:
        """Return whether there is any."""
        return bool(self._all)

    def hidden(self, text: str) -> str:
        """Return a text of the server without any of them, and without the beginning of one at which it was cut."""
        if len(text) < SHORTEST:
            return text
        # A list of tools may hold tens of thousands of texts, and nearly all of them have no part of any.
        begun = {beginning for beginning in self._beginnings if beginning in text}
        if not begun:
            return text
        # What stands in the place of one may complete the beginning of another.
        begun |= self._starred
        for secret in self._all:
            if len(secret) <= len(text) and secret[:SHORTEST] in begun:
                text = text.replace(secret, _HIDDEN)
        kept, mark, rest = text.rpartition(CUT)
        return self._ended(begun, kept) + mark + rest if mark else self._ended(begun, text)

    def without(self, tools: Sequence[Json]) -> list[Json]:
        """Return tools as their server lists them, without any of them.

        A tool whose name has one is left out: it could be called by that name alone.
        """
        return [self._in(tool) for tool in tools if self.hidden(tool["name"]) == tool["name"]]

    def _in(self, value: Any) -> Any:
        match value:
            case str():
                return self.hidden(value)
            case list():
                return [self._in(each) for each in value]
            case dict():
                return {self.hidden(name): self._in(each) for name, each in value.items()}
        return value

    def _ended(self, begun: Iterable[str], text: str) -> str:
        """Return a text without the beginning of a secret at its end; those that it may be have `begun` so."""
        first, cut = max(0, len(text) - len(self._all[0])), len(text)
        for beginning in begun:
            start = text.find(beginning, first)
            while 0 <= start < cut:
                if self._is_beginning(text[start:]):
                    cut = start
                start = text.find(beginning, start + 1)
        return text if cut == len(text) else text[:cut] + _HIDDEN

    def _is_beginning(self, text: str) -> bool:
        """Return whether a secret begins with the text: if so, the next one in their order does."""
        place = bisect_left(self._in_order, text)
        return place < len(self._in_order) and self._in_order[place].startswith(text)


def _parts_of(value: str) -> Iterator[str]:
    """Yield the parts of a header that a server may repeat alone: a token behind its scheme, a cookie, a password."""
    scheme, _, rest = value.partition(" ")
    if scheme.lower() == "basic":
        yield from _of_basic(rest.strip())
    for part in _PARTS.split(value):
        yield part
        yield part.partition("=")[2]


def _of_basic(credentials: str) -> Iterator[str]:
    try:
        told = b64decode(credentials, validate=True).decode()
    except ValueError:
        return
    yield told
    yield told.partition(":")[2]


def _in_address(url: str) -> Iterator[str]:
    parts = urlsplit(url)
    for _, value in parse_qsl(parts.query):
        yield value
    yield parts.query
    for part in parts.path.split("/"):
        if len(part) >= SHORTEST_IN_PATH:
            yield part
            yield unquote(part)


def _all_forms(secrets: Iterable[str]) -> Iterator[str]:
    """Yield the forms of all of them, each once."""
    known = set[str]()
    for secret in dict.fromkeys(secrets):
        for form in _forms(secret):
            if form not in known:
                known.add(form)
                yield form


def _forms(secret: str) -> Iterator[str]:
    """Yield a secret as a text may have it: as it is, in JSON, and in an address."""
    secret = secret.strip()
    if len(secret) >= SHORTEST:
        yield secret
        yield dumps(secret)[1:-1]
        yield quote(secret, safe="")
