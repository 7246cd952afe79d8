"""Parts of a file that no message may show: values of secrets; user names, passwords and queries in addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Final

import yaml

from policy.source.document import DEPTH_LIMIT

Places = dict[int, list[tuple[int, int]]]
"""Line (from 0) to the columns that are hidden: the first one, and the one behind the last."""

_LARGEST: Final = 2_000_000
"""Characters of a file that is read as YAML for this; a larger one is masked line by line."""

_WORDS: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_SECRET: Final = frozenset(
    {
        *{
            "apikey",
            "authorization",
            "bearer",
            "cookie",
            "credential",
            "key",
            "pass",
            "passphrase",
            "passwd",
            "password",
        },
        *{"pwd", "secret", "token"},
    }
)
_MISSPELT: Final = ("authorization", "credential", "passphrase", "password", "secret", "token")
"""Words that a misspelt one is taken for."""

_KEYS: Final = ("api_key", "api_token", "access_key_id", "client_secret", "name_key", "password", "secret_access_key")
"""Keys of the configuration that hold secrets: what looks like one of them is taken for a misspelling of it."""

_MEASURES: Final = frozenset({"max", "min", "num", "number", "count", "allow", "send", "verify", "require", "use"})
_PLAIN: Final = frozenset({"true", "false", "yes", "no", "null", "~"})
_LONGEST_KEY: Final = 80
_PLACE: Final = r"\$\{(?:env\.[A-Za-z_][A-Za-z0-9_]*(?::[=+])?|file:[^{}\n]+)\}"
_CERTAIN: Final = re.compile(_PLACE)
"""A value that says where the secret is, and no more: a variable, or a file."""

_BY_LINE: Final = re.compile(
    r"""(?<![\w-])(?P<key>[\w-]+)(?:["']\s*:\s*|\s*:\s+)(?=\S)"""
    rf"""(?=(?P<certain>{_PLACE}(?=[\s,}}\]]|$))"""
    r"""|(?P<closed>"(?:[^"\\]|\\.)*"|'(?:[^']|'')*')|(?P<open>[^\s,}\]]*))"""
)
"""A key with its value in a line that is no YAML; where an open one ends can't be told."""

_SCHEME: Final = r"[a-z][a-z0-9+.-]{0,20}://"
_ADDRESS: Final = re.compile(
    rf"""(?:(?:url|uri|endpoint|hosts?|address)["']?\s*:\s+\[?["']?(?:{_SCHEME})?|{_SCHEME})([^\s"'<>{{][^\s"'<>]*)""",
    re.IGNORECASE,
)
_QUERY: Final = re.compile(r"""[?&][\w.-]+=([^\s"'<>&]+)""")


def is_secret(key: str, value: str = "") -> bool:
    """Return whether the value of `key` may be a secret; `value` is what the file says there."""
    if not _names_a_secret(key) or value.lower() in _PLAIN:
        return False
    return not (key.endswith("s") and value.isdigit())


@lru_cache(maxsize=4096)
def _names_a_secret(key: str) -> bool:
    words = [word.lower() for word in _WORDS.findall(key[-_LONGEST_KEY:])]
    if not words or words[0] in _MEASURES:
        return False
    last = words[-1].removesuffix("s")
    if {last, words[-1]} & _SECRET or words[-2:] == ["key", "id"]:
        return True
    return bool(
        get_close_matches(last[:_LONGEST_KEY], _MISSPELT, n=1, cutoff=0.85)
        or (len(key) < _LONGEST_KEY and get_close_matches(key.lower(), _KEYS, n=1, cutoff=0.8))
    )


def secret_places(text: str) -> Places:
    """Return the places of the values of secrets in a file; after a YAML error, the rest is guessed line by line."""
    found: Places = {}
    reached = 0
    if len(text) <= _LARGEST:
        reached = _of_yaml(text, found)
    for number, line in enumerate(text.split("\n")):
        if number >= reached:
            found.setdefault(number, []).extend(_guessed(line))
    return found


def _guessed(line: str) -> Iterator[tuple[int, int]]:
    """Yield the columns of possible secrets in a line that couldn't be parsed."""
    for written in _BY_LINE.finditer(line):
        if written["certain"] is None and is_secret(written["key"], written["open"] or ""):
            if written["closed"] is None:
                yield written.start("open"), len(line)
                return
            yield written.span("closed")


def hidden_in_addresses(line: str) -> Iterator[tuple[int, int]]:
    """Yield the columns of user names, passwords, queries and fragments in the addresses of a line."""
    for found in _ADDRESS.finditer(line):
        start, address = found.start(1), found[1].rstrip(",}]")
        before = max(address.rfind("@"), 0)
        yield start, start + before
        behind = min((at for at in (address.find("?"), address.find("#")) if at >= before), default=len(address))
        yield start + behind + 1, start + len(address)
    for found in _QUERY.finditer(line):
        yield found.start(1), found.start(1) + len(found[1].rstrip(",}]"))


def _of_yaml(text: str, found: Places) -> int:
    """Add the places of a file's secrets; return the line up to which it could be parsed."""
    reached = 0
    parents: list[list[Any]] = []  # for each open collection: whether it is secret, and its key if one was read
    lines = text.split("\n")
    try:
        events: Iterator[Any] = yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        for event in events:
            reached = int(event.start_mark.line)
            if len(parents) > DEPTH_LIMIT:
                return reached
            if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                parents.append([_inherits(parents, ""), None, isinstance(event, yaml.MappingStartEvent)])
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                parents.pop()
                _value_read(parents)
            elif isinstance(event, yaml.ScalarEvent):
                _scalar(event, parents, lines, found)
            elif isinstance(event, yaml.AliasEvent):
                _value_read(parents)
    except yaml.YAMLError:
        return reached
    return len(lines)


def _scalar(event: Any, parents: list[list[Any]], lines: list[str], found: Places) -> None:
    if parents and parents[-1][2] and parents[-1][1] is None:
        parents[-1][1] = event.value
        return
    if _inherits(parents, event.value) and not _CERTAIN.fullmatch(event.value):
        _add(event, lines, found)
    _value_read(parents)


def _inherits(parents: list[list[Any]], value: str) -> bool:
    """Return whether the current value stands below the key of a secret."""
    if not parents:
        return False
    secret, key, _ = parents[-1]
    return secret or (key is not None and is_secret(key, value))


def _value_read(parents: list[list[Any]]) -> None:
    if parents:
        parents[-1][1] = None


def _add(event: Any, lines: list[str], found: Places) -> None:
    start, end = event.start_mark, event.end_mark
    for number in range(start.line, min(end.line, len(lines) - 1) + 1):
        line = lines[number]
        first = start.column if number == start.line else len(line) - len(line.lstrip())
        last = end.column if number == end.line else len(line)
        if event.style in ("|", ">") and number == start.line:
            continue  # the indicator of a block scalar
        if last > first:
            found.setdefault(number, []).append((first, last))
