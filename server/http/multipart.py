"""Reading a form (`multipart/form-data`) as it comes in: what its parts are called, and their bytes in pieces."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from server.http.errors import ApiError, invalid
from server.http.form_names import UnreadableName, decoded_words, extended_name

SLICE: Final = 32 * 1024
"""Bytes that are parsed in one go, during which no other request is served."""

MOST_HEADERS: Final = 8
LONGEST_HEADER: Final = 4 * 1024
"""The most headers of a part, and the most bytes of each."""

_MOST_BOUNDARIES: Final = 16
_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_DISPOSITION: Final = re.compile(
    rb'form-data(?:[ \t]*;[ \t]*[^\s;="]+=(?:"(?:[^"\\]|\\.)*"|[^\s;"]*))*[ \t]*', re.IGNORECASE
)
_QUOTED: Final = re.compile(rb'"(?:[^"\\]|\\.)*"')

# It would log a line for each broken form.
logging.getLogger("python_multipart.multipart").setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class PartBegins:
    """A part: `filename` is None for a plain field, and neither text can be trusted to be more than text."""

    name: str
    filename: str | None
    content_type: str | None


@dataclass(frozen=True, slots=True)
class PartEnds:
    """The part that began last is whole."""


PartEvent: TypeAlias = PartBegins | bytes | PartEnds
"""One event of a form: a part begins, has a piece of content, or ends."""


class FormReader:
    """Reads one form. What is not a well-formed form is the ApiError that says so."""

    def __init__(self, content_type: str) -> None:
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data":
            raise ApiError(415, "send the file as `Content-Type: multipart/form-data`")
        boundary = options.get(b"boundary", b"")
        if not _BOUNDARY.fullmatch(boundary.decode("latin-1")):
            raise _malformed("its `Content-Type` has no usable `boundary`")
        self._delimiter = b"--" + boundary
        self._delimiters = 0
        self._events: list[PartEvent] = []
        self._head = _Head()
        self._complete = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._part_begins,
                "on_header_field": lambda data, start, end: self._head.name.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._head.value.extend(data[start:end]),
                "on_header_end": self._header_ends,
                "on_headers_finished": self._head_ends,
                "on_part_data": lambda data, start, end: self._events.append(data[start:end]),
                "on_part_end": lambda: self._events.append(PartEnds()),
                "on_end": self._ends,
            },
            max_header_count=MOST_HEADERS,
            max_header_size=LONGEST_HEADER,
        )

    def feed(self, piece: bytes) -> list[PartEvent]:
        """Return the events of at most `SLICE` more bytes of the body."""
        # No content holds its own boundary; looking at each such place would cost more than everything else.
        self._delimiters += piece.count(self._delimiter)
        if self._delimiters > _MOST_BOUNDARIES:
            raise _malformed("it has too many parts, or a content that holds the boundary")
        try:
            self._parser.write(piece)
        except FormParserError:
            raise _malformed("the head of a part is broken or too large") from None
        events, self._events = self._events, []
        return events

    def finish(self) -> None:
        """End the form with the body; to be called when the body is over."""
        if not self._complete:
            raise _malformed("it ends in the middle")

    def _part_begins(self) -> None:
        self._head = _Head()

    def _header_ends(self) -> None:
        self._head.take()

    def _head_ends(self) -> None:
        self._events.append(self._head.read())

    def _ends(self) -> None:
        self._complete = True


@dataclass(slots=True)
class _Head:
    """The headers of a part, as far as they have come."""

    name: bytearray = field(default_factory=bytearray)
    value: bytearray = field(default_factory=bytearray)
    headers: dict[bytes, bytes] = field(default_factory=dict)

    def take(self) -> None:
        name = bytes(self.name).lower()
        if name in self.headers:
            raise _malformed("a header of a part comes twice")
        self.headers[name] = bytes(self.value).strip(b" \t")
        self.name.clear()
        self.value.clear()

    def read(self) -> PartBegins:
        disposition = self.headers.get(b"content-disposition", b"")
        options = _named(disposition)
        if self.headers.get(b"content-transfer-encoding", b"binary").lower() not in (b"7bit", b"8bit", b"binary"):
            raise _malformed("a part has a `Content-Transfer-Encoding`; send it as it is")
        content_type = self.headers.get(b"content-type")
        return PartBegins(
            _text(options[b"name"]),
            _filename(disposition, options.get(b"filename")),
            None if content_type is None else content_type.decode("latin-1"),
        )


def _named(disposition: bytes) -> dict[bytes, bytes]:
    """Return the parameters, each of which is there once; `name` is one of them."""
    if _DISPOSITION.fullmatch(disposition):
        _, options = parse_options_header(disposition)
        names = [part.partition(b"=")[0].strip().lower() for part in _QUOTED.sub(b"", disposition).split(b";")]
        if b"name" in options and len(names) == len({*names}):
            return options
    raise _malformed("a part does not say in its `Content-Disposition` what it is called")


def _filename(disposition: bytes, plain: bytes | None) -> str | None:
    """Return the name of a file, of which the extended form counts where there are both."""
    try:
        extended = extended_name(disposition)
        return extended if extended is not None or plain is None else decoded_words(_text(plain))
    except UnreadableName as fault:
        raise _malformed(str(fault)) from None


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise _malformed("a name in it is not UTF-8") from None


def _malformed(what: str) -> ApiError:
    return invalid(f"the body is not a form that can be read: {what}")
