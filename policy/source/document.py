"""YAML documents as a tree of nodes with their places; PyYAML's own object construction is never used."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeAlias, cast

import yaml
from yaml.constructor import SafeConstructor

from policy.source.diagnostics import Findings, InvalidDocument, Span, quoted
from policy.source.gc_pause import collector_at_rest
from policy.source.text import SIZE_LIMIT, checked, place, read_text, refusal

DEPTH_LIMIT: Final = 64
"""Deepest nesting of lists and mappings."""

NODE_LIMIT: Final = 250_000
"""Most nodes in a document, those that aliases repeat counted each time."""

_FINDING_LIMIT: Final = 100
_LONGEST_NUMBER: Final = 64


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value: `text` as written (escapes resolved), `value` as YAML 1.1 defines it (`no` is False).

    `quoted` says that it stands in quotes or in a block, so that `value` is `text`. Dates stay text.
    """

    text: str
    value: str | int | float | bool | None
    quoted: bool
    span: Span


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    items: tuple[Node, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Entry:
    """One value of a mapping, with the place of its key."""

    key_span: Span
    node: Node


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys, all of them text, with their values, in the order written."""

    entries: dict[str, Entry]
    span: Span


Node: TypeAlias = Scalar | Sequence | Mapping


def read_document(path: Path, name: str | None = None) -> Mapping:
    """Return the tree of the file at `path`; `name` is what diagnostics call it (default: the path as given).

    Raises `InvalidDocument` for a file that can't be read, and as `parse_document` does.
    """
    name = str(path) if name is None else name
    return parse_document(read_text(path, name), name)


@collector_at_rest()
def parse_document(text: str, name: str) -> Mapping:
    """Return the tree of one YAML document whose top level is a mapping; diagnostics call it `name`.

    Raises `InvalidDocument` for bad YAML, control characters, tabs that indent, duplicate or non-text keys, merge keys,
    tags, several documents, and anything beyond `SIZE_LIMIT`, `DEPTH_LIMIT` or `NODE_LIMIT`; what aliases repeat counts
    each time.
    """
    text = checked(text, name)
    try:
        root = _Composer(text, name).document()
    except yaml.MarkedYAMLError as error:
        raise _broken(error, text, name) from error
    except yaml.YAMLError as error:
        raise refusal("invalid-yaml", Span(name, 1, 1), "this isn't valid YAML") from error
    if not isinstance(root, Mapping):
        what = "is empty" if root is None else "is a list" if isinstance(root, Sequence) else "is a single value"
        raise refusal("not-a-mapping", Span(name, 1, 1), f"the file {what}", "write `key: value` lines")
    return root


_Start: TypeAlias = yaml.ScalarEvent | yaml.SequenceStartEvent | yaml.MappingStartEvent


@dataclass(frozen=True, slots=True)
class _Anchored:
    """The value that an alias repeats: the numbers of its nodes, their characters, and the levels below the first."""

    node: Node
    size: int
    length: int
    height: int


def _length(node: Node) -> int:
    """Return the number of characters of a scalar; those of lists and mappings are counted one by one."""
    return len(node.text) if isinstance(node, Scalar) else 0


class _Composer:
    """Builds the tree from the parser's events, so that every limit holds before memory is used."""

    def __init__(self, text: str, name: str) -> None:
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=yaml.CSafeLoader)
        self._name = name
        self._findings = Findings()
        self._anchors: dict[str, _Anchored | None] = {}
        self._nodes = 0
        self._characters = 0
        self._deepest = 0

    def document(self) -> Node | None:
        root: Node | None = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    message, hint = "a second document starts here", "write one document per file"
                    raise refusal("several-documents", self._span(event), message, hint)
                root = self._node(next(self._events), depth=1)
        self._findings.raise_errors()
        return root

    def _node(self, event: yaml.Event, depth: int) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._aliased(event, depth)
        start = cast(_Start, event)  # the parser yields no other event where a value is due
        if start.tag is not None:
            self._error("tag", event, "a tag (`!…`) stands here", "remove it: quotes make a text")
        self._count(1, len(start.value) if isinstance(start, yaml.ScalarEvent) else 0, depth, event)
        if start.anchor is None:
            return self._content(start, depth)
        before, deepest, length = self._nodes, self._deepest, self._characters
        self._anchors[start.anchor], self._deepest = None, depth
        node = self._content(start, depth)
        length = self._characters - length + _length(node)
        self._anchors[start.anchor] = _Anchored(node, self._nodes - before + 1, length, self._deepest - depth)
        self._deepest = max(deepest, self._deepest)
        return node

    def _content(self, start: _Start, depth: int) -> Node:
        if isinstance(start, yaml.ScalarEvent):
            return self._scalar(start)
        if isinstance(start, yaml.SequenceStartEvent):
            return self._sequence(start, depth)
        return self._mapping(start, depth)

    def _scalar(self, event: yaml.ScalarEvent) -> Scalar:
        quoted = bool(event.style)
        return Scalar(event.value, event.value if quoted else plain_value(event.value), quoted, self._span(event))

    def _sequence(self, start: yaml.Event, depth: int) -> Sequence:
        items = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        return Sequence(tuple(items), self._span(start))

    def _mapping(self, start: yaml.Event, depth: int) -> Mapping:
        entries: dict[str, Entry] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            node = self._node(next(self._events), depth + 1)
            if self._usable(key, event) and isinstance(key, Scalar):
                if key.text in entries:
                    first = entries[key.text].key_span.line
                    self._error("duplicate-key", event, f"{quoted(key.text)} is written twice", f"see line {first}")
                else:
                    entries[key.text] = Entry(key.span, node)
        return Mapping(entries, self._span(start))

    def _usable(self, key: Node, event: yaml.Event) -> bool:
        if not isinstance(key, Scalar):
            self._error("non-text-key", event, "a key must be a text", "a list or mapping can't be a key")
        elif key.text == "<<" and not key.quoted:
            self._error("merge-key", event, "merge keys (`<<`) are not supported", "write the keys out")
        elif key.value is None:
            self._error("non-text-key", event, "a key is missing here", "write `key: value`")
        elif not isinstance(key.value, str):
            kind = "a boolean" if isinstance(key.value, bool) else "a number"
            self._error("non-text-key", event, f"the key {quoted(key.text)} is {kind} in YAML", "write it in quotes")
        else:
            return True
        return False

    def _aliased(self, event: yaml.AliasEvent, depth: int) -> Node:
        anchor = event.anchor or ""
        if anchor not in self._anchors:
            hint = "a text that starts with `*` needs quotes"
            raise refusal("unknown-alias", self._span(event), f"no anchor is called {quoted(anchor)}", hint)
        target = self._anchors[anchor]
        if target is None:
            raise refusal("recursive-alias", self._span(event), f"the alias {quoted('*' + anchor)} contains itself")
        self._count(target.size, target.length, depth + target.height, event)
        return target.node

    def _count(self, nodes: int, characters: int, depth: int, event: yaml.Event) -> None:
        self._nodes += nodes
        self._characters += characters
        if depth > self._deepest:
            self._deepest = depth
        if depth > DEPTH_LIMIT:
            raise refusal("too-deep", self._span(event), f"lists and mappings are nested more than {DEPTH_LIMIT} deep")
        if self._nodes > NODE_LIMIT:
            message = f"the document has more than {NODE_LIMIT:,} values, counting what aliases repeat"
            raise refusal("too-many-values", self._span(event), message)
        if self._characters > SIZE_LIMIT:
            message = f"the document has more than {SIZE_LIMIT // 2**20} MiB of text, counting what aliases repeat"
            raise refusal("too-large", self._span(event), message)

    def _error(self, code: str, event: yaml.Event, message: str, hint: str) -> None:
        self._findings.error(code, self._span(event), message, hint)
        if len(self._findings.diagnostics) >= _FINDING_LIMIT:
            self._findings.raise_errors()

    def _span(self, event: yaml.Event) -> Span:
        return _span(event.start_mark, self._name)


_CONSTRUCTOR: Final = SafeConstructor()
_CONSTRUCTORS: Final = {
    "tag:yaml.org,2002:bool": _CONSTRUCTOR.construct_yaml_bool,
    "tag:yaml.org,2002:int": _CONSTRUCTOR.construct_yaml_int,
    "tag:yaml.org,2002:float": _CONSTRUCTOR.construct_yaml_float,
    "tag:yaml.org,2002:null": _CONSTRUCTOR.construct_yaml_null,
}


def plain_value(text: str) -> str | int | float | bool | None:
    """Return what YAML 1.1 makes of the unquoted `text`; dates, and numbers of more than 64 characters, stay text."""
    if len(text) > _LONGEST_NUMBER:
        return text
    if text.isdigit() and text.isascii() and text[0] != "0":
        return int(text)
    for tag, pattern in yaml.SafeLoader.yaml_implicit_resolvers.get(text[:1], ()):
        if pattern.match(text):
            construct = _CONSTRUCTORS.get(tag)
            if construct is None:
                return text
            try:
                value: str | int | float | bool | None = construct(yaml.ScalarNode(tag, text))
            except ValueError:  # `0b_` looks like a number to the resolver and isn't one
                return text
            return value
    return text


_VALUES_HERE: Final = "mapping values are not allowed"
_INDENTED: Final = re.compile(r"( *)(?:- +)?[^\s#'\"{\[][^:]*:(.*)")

_YAML_HINTS: Final = (
    (_VALUES_HERE, "a text that holds `: ` or ends in `:` needs quotes"),
    ("while scanning an alias", "a text that starts with `*` needs quotes"),
    ("while scanning an anchor", "a text that starts with `&` needs quotes"),
    ("cannot start any token", "a text that starts with `@`, `%` or a back-quote needs quotes"),
    ("unknown escape character", "in double quotes a backslash starts an escape: use single quotes"),
    ("unexpected end of stream", "a quote that opens must close"),
    ("could not find expected ':'", "write `key: value`"),
    ("did not find expected key", "check the indentation of this line and the ones above"),
    ("did not find expected '-' indicator", "check the indentation of this line and the ones above"),
    ("did not find expected ',' or ']'", "separate the values by commas and close the list with `]`"),
    ("did not find expected ',' or '}'", "separate the entries by commas and close the mapping with `}`"),
)


def _broken(error: yaml.MarkedYAMLError, text: str, name: str) -> InvalidDocument:
    problem = error.problem or "it can't be read"
    story = f"{error.context or ''} {problem}"
    hint = next((hint for fragment, hint in _YAML_HINTS if fragment in story), "")
    if _VALUES_HERE in story and error.problem_mark and _is_too_deep(text.splitlines(), error.problem_mark.line):
        hint = "the key above has a value already; begin this one right below it"
    marks, end = [error.problem_mark, error.context_mark], len(text.rstrip())
    # An unclosed value, or one without its colon, is reported where it starts.
    if "expected ':'" in problem:
        marks.reverse()
    mark = next((mark for mark in marks if mark is not None and mark.index < end), None)
    span = _span(mark, name) if mark else place(text, max(0, end - 1), name)
    return refusal("invalid-yaml", span, f"this isn't valid YAML: {problem}", hint)


def _is_too_deep(lines: list[str], number: int) -> bool:
    """Return whether a line, counted from 0, is a key that is indented below one that has a value already."""
    this = _INDENTED.fullmatch(lines[number]) if number < len(lines) else None
    above = _INDENTED.fullmatch(lines[number - 1]) if number else None
    if this is None or above is None:
        return False
    return len(this[1]) > len(above[1]) and bool(above[2].strip()) and above[2].strip()[0] not in "|>&#"


class _Mark(Protocol):
    """The part that both of PyYAML's kinds of mark share; they count from 0."""

    line: int
    column: int


def _span(mark: _Mark | None, name: str) -> Span:
    return Span(name, mark.line + 1, mark.column + 1) if mark else Span(name, 1, 1)
