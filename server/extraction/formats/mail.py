"""E-mail: sender, receivers, date and subject, then the text of the message.

Of alternatives the plain one is taken, if it has text. Attachments are named and not read. Messages inside a message
are read to a limited depth.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from email import policy
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message
from email.parser import BytesParser
from typing import Final

from server.extraction.charsets import charset_named
from server.extraction.formats.html import page_texts
from server.extraction.incoming import Incoming, Notes
from server.extraction.limits import DEEPEST_MESSAGE, MOST_PARTS
from server.extraction.pieces import Code, Unreadable
from server.extraction.texts import WrongCharset, clean, decoded

_SHOWN: Final = ("From", "To", "Cc", "Date", "Subject")
_LONGEST_HEADER: Final = 4096
_LONGEST_NAME: Final = 256
_BLOCK: Final = 64 * 1024
_WRONG_CHARSET: Final = "a part of the e-mail is not UTF-8, and its charset is not said, not known or wrong"


def texts(file: Incoming, notes: Notes) -> Iterator[str]:
    """Yield the text of a file; raises Unreadable."""
    del notes
    message = BytesParser(policy=policy.compat32).parse(file.whole())
    yield from _Reader().message(message, 0)


class _Reader:
    """Reads one e-mail, and counts its parts."""

    def __init__(self) -> None:
        self._parts = 0

    def message(self, message: Message, depth: int) -> Iterator[str]:
        """Yield the headers and the text of a message that is inside of so many others."""
        for name in _SHOWN:
            value = _header(message, name)
            if value:
                yield f"{name}: {value}\n"
        yield "\n"
        yield from self._part(message, depth)

    def _part(self, part: Message, depth: int) -> Iterator[str]:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise Unreadable(Code.INVALID_FILE, f"the e-mail has more than {MOST_PARTS} parts")
        inner = part.get_payload()
        if isinstance(inner, list):
            yield from self._inner(
                part.get_content_type(), [each for each in inner if isinstance(each, Message)], depth
            )
        elif _is_attached(part):
            yield f"\nAttachment: {_name(part) or part.get_content_type()}\n"
        elif part.get_content_maintype() == "text":
            yield from _shown(part)
        else:
            yield f"\nAttachment: {_name(part) or part.get_content_type()}\n"

    def _inner(self, kind: str, parts: list[Message], depth: int) -> Iterator[str]:
        if kind == "multipart/alternative":
            best = _best(parts)
            parts = [] if best is None else [best]
        for part in parts:
            if kind == "message/rfc822":
                yield from self._message_inside(part, depth + 1)
            else:
                yield from self._part(part, depth)

    def _message_inside(self, message: Message, depth: int) -> Iterator[str]:
        yield "\n\n"
        if depth < DEEPEST_MESSAGE:
            yield from self.message(message, depth)
        else:
            yield f"Attachment: {_header(message, 'Subject') or 'a message'}\n"


def _best(parts: list[Message]) -> Message | None:
    """Return the plain one of alternatives that has text, else the first that isn't plain, else the first.

    One in an unknown charset counts as without text.
    """
    plain = [part for part in parts if part.get_content_type() == "text/plain"]
    for part in plain:
        with suppress(WrongCharset):
            if sum(1 for text in _shown(part) if text.strip()):  # all of it is read, since its end may be wrong
                return part
    return next((part for part in parts if part not in plain), parts[0] if parts else None)


def _is_attached(part: Message) -> bool:
    try:
        return part.get_content_disposition() == "attachment"
    except (MessageError, ValueError, LookupError):
        return True


def _shown(part: Message) -> Iterator[str]:
    """Yield the text of a part; none if it is no text, whatever it says. Raises WrongCharset."""
    payload = part.get_payload(decode=True)
    if not isinstance(payload, bytes):
        return
    try:
        named = part.get_content_charset()
    except (MessageError, ValueError, LookupError):
        named = None
    charset = charset_named(named) if named is not None else None
    blocks = (payload[start : start + _BLOCK] for start in range(0, len(payload), _BLOCK))
    is_page = part.get_content_subtype() == "html"
    try:
        yield from page_texts(blocks, charset) if is_page else decoded(blocks, charset)
    except WrongCharset:
        raise WrongCharset(Code.UNSUPPORTED_FILE, _WRONG_CHARSET) from None
    except Unreadable:
        return
    yield "\n"


def _name(part: Message) -> str:
    try:
        name = part.get_filename()
    except (MessageError, ValueError, LookupError):
        return ""
    return _decoded_words(name)[:_LONGEST_NAME] if name else ""


def _header(message: Message, name: str) -> str:
    """Return a header in one line; the first, if there are several."""
    wanted = name.lower()
    for found, value in message.raw_items():
        if found.lower() == wanted:
            return _decoded_words(str(value)[:_LONGEST_HEADER])
    return ""


def _decoded_words(value: str) -> str:
    """Return the value of a header in which encoded words are written out, and bytes that no header may have too."""
    if not value.isascii():
        raw = value.encode("utf-8", "surrogateescape")
        try:
            value = raw.decode()
        except UnicodeDecodeError:
            value = raw.decode("cp1252", "replace")
    with suppress(MessageError, ValueError, LookupError):
        value = str(make_header(decode_header(value)))
    return clean(" ".join(value.split()))
