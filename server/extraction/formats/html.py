"""HTML: the text that a browser would show, without scripts and styles.

Markup of any length goes through: a tag or comment that is longer than `_LONGEST` is passed over to its end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from html import unescape
from html.parser import HTMLParser
from itertools import chain
from typing import Final

from server.extraction.charsets import charset_named
from server.extraction.formats.flow import CELL, LINE, PARAGRAPH, WORD, Flow
from server.extraction.incoming import Incoming, Notes
from server.extraction.kinds import HEAD, charset_of_xml
from server.extraction.pieces import Code, Unreadable
from server.extraction.texts import clean, decoded

_LONGEST: Final = 64 * 1024
_AT_ONCE: Final = 32 * 1024
_KEPT: Final = 64

_HIDDEN: Final = frozenset(("script", "style", "template"))
_PARAGRAPHS: Final = frozenset(
    (
        *("p", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "pre", "table", "ul", "ol", "dl", "title", "figure"),
        *("section", "article", "header", "footer", "main", "hr"),
    )
)
_LINES: Final = frozenset(
    (
        *("div", "li", "tr", "br", "dt", "dd", "option", "caption", "figcaption", "form", "fieldset", "legend"),
        *("nav", "address"),
    )
)
_CELLS: Final = frozenset(("td", "th"))
_CHARSET: Final = re.compile(rb"""<meta[^>]{0,256}?charset\s{0,8}=\s{0,8}["']?\s{0,8}([\w.:-]{1,40})""", re.I)


def texts(file: Incoming, notes: Notes) -> Iterator[str]:
    """Return the text of a file; raises Unreadable."""
    del notes
    return page_texts(file.blocks(), file.charset)


def page_texts(blocks: Iterator[bytes], told: str | None = None) -> Iterator[str]:
    """Return the text of a page, in the charset that it is said to be in or else names; raises Unreadable."""
    first = next(blocks, b"")
    if not first:
        return iter(())
    charset = told or _charset_within(first[:HEAD])
    return html_texts(decoded(chain((first,), blocks), charset))


def _charset_within(head: bytes) -> str | None:
    """Return the charset that a page names, None if it names none that can be read."""
    found = _CHARSET.search(head)
    named = charset_of_xml(head) or ("" if found is None else found[1].decode("ascii", "ignore"))
    charset = charset_named(named)
    # The page could not be read in ASCII if it were UTF-16.
    return charset if charset is None or not charset.startswith("utf") or b"\x00" in head[:2] else None


def html_texts(markup: Iterable[str]) -> Iterator[str]:
    """Yield the text that HTML has, in parts; raises Unreadable."""
    page = _Page()
    try:
        for block in markup:
            for start in range(0, len(block), _AT_ONCE):
                page.take(block[start : start + _AT_ONCE])
                if text := clean(page.flow.taken()):
                    yield text
        page.close()
    except ValueError:  # a number of more digits than Python converts
        raise Unreadable(Code.INVALID_FILE, "the file is damaged: its HTML can't be read") from None
    if text := clean(page.flow.taken()):
        yield text


class _Page(HTMLParser):
    """Collects the text of a page in `flow`."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.flow = Flow()
        self._hidden = 0
        self._verbatim = 0
        self._until = ""

    def take(self, markup: str) -> None:
        """Read more of the page."""
        if self._until:
            markup = self.rawdata + markup
            self.rawdata = ""
            end = markup.find(self._until)
            if end < 0:
                self.rawdata = markup[-len(self._until) :]
                return
            markup, self._until = markup[end + len(self._until) :], ""
        self.feed(markup)
        if len(self.rawdata) > _LONGEST:
            self._pass_over()

    def close(self) -> None:
        """Read what is left of the page, unless it belongs to what is passed over."""
        if self._until:
            self.rawdata = ""
        super().close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notice what the tag means for the text that follows, and the description of a picture."""
        if tag in _HIDDEN:
            self._hidden += 1
        self._break(tag)
        if tag == "pre":
            self._verbatim += 1
        if tag == "img":
            self.handle_data(next((f" {value} " for name, value in attrs if name == "alt" and value), ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take a tag with a slash at its end for an opening one, as HTML does, unless it would hide the rest."""
        if tag not in _HIDDEN:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        """Notice what the end of an element means for the text that follows."""
        if tag in _HIDDEN:
            self._hidden = max(0, self._hidden - 1)
        if tag == "pre":
            self._verbatim = max(0, self._verbatim - 1)
        self._break(tag)

    def handle_data(self, data: str) -> None:
        """Take text; blanks in a row are one, but in preformatted text."""
        if self._hidden or not data:
            return
        if self._verbatim:
            self.flow.show(data)
            return
        words = data.split()
        if data[0].isspace():
            self.flow.widen(WORD)
        if words:
            self.flow.show(" ".join(words))
            if data[-1].isspace():
                self.flow.widen(WORD)

    def parse_html_declaration(self, i: int) -> int:
        """Read a declaration; one that nothing knows is a comment, as in a browser."""
        try:
            return super().parse_html_declaration(i)
        except AssertionError:
            return self.parse_bogus_comment(i)

    def _break(self, tag: str) -> None:
        if tag in _PARAGRAPHS:
            self.flow.widen(PARAGRAPH)
        elif tag in _LINES:
            self.flow.widen(LINE)
        elif tag in _CELLS:
            self.flow.widen(CELL)

    def _pass_over(self) -> None:
        """Give up what is too long to wait for: the content of a script, or a tag or comment up to its end.

        Text waits where a reference may go on, and is shown but for its last characters.
        """
        if self.cdata_elem is None and not self.rawdata.startswith("<"):
            self.handle_data(unescape(self.rawdata[:-_KEPT]))
        if self.cdata_elem is not None or not self.rawdata.startswith("<"):
            self.rawdata = self.rawdata[-_KEPT:]
            return
        self._until = "-->" if self.rawdata.startswith("<!--") else ">"
        self.rawdata = self.rawdata[-len(self._until) :]
