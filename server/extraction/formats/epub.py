"""EPUB: the pages of a book in the order in which they are read, each as HTML."""

from __future__ import annotations

from collections.abc import Iterator
from posixpath import dirname
from typing import Final
from urllib.parse import unquote

from server.extraction.formats.html import page_texts
from server.extraction.formats.package import DAMAGED, ENCRYPTED, Package, resolved
from server.extraction.formats.xml import attributes_of, read_xml
from server.extraction.pieces import Code, Unreadable

_CONTAINER: Final = "META-INF/container.xml"
_ENCRYPTION: Final = "META-INF/encryption.xml"
_PAGES: Final = frozenset(("application/xhtml+xml", "text/html", "text/x-oeb1-document"))


def book_texts(package: Package) -> Iterator[str]:
    """Yield the text of a book; raises Unreadable."""
    main = next((each.get("full-path") for each in _elements(package, _CONTAINER, "rootfile")), None)
    if not main:
        raise Unreadable(Code.INVALID_FILE, DAMAGED)
    locked = frozenset[str]()
    if package.has(_ENCRYPTION):
        named = _elements(package, _ENCRYPTION, "CipherReference")
        locked = frozenset(resolved("", unquote(each.get("URI", ""))) for each in named)
    for page in _pages(package, resolved("", main)):
        if page in locked:
            raise Unreadable(Code.INVALID_FILE, ENCRYPTED)
        yield from page_texts(package.blocks(page))
        yield "\n\n"


def _pages(package: Package, main: str) -> Iterator[str]:
    """Yield the names of the parts that are read one after the other, each once."""
    folder = dirname(main)
    items = {each.get("id"): each for each in _elements(package, main, "item")}
    named = (items.get(each.get("idref"), {}) for each in _elements(package, main, "itemref"))
    pages = (each for each in named if each.get("media-type", "").lower() in _PAGES)
    yield from dict.fromkeys(resolved(folder, unquote(each.get("href", ""))) for each in pages)


def _elements(package: Package, part: str, name: str) -> list[dict[str, str]]:
    """Return the attributes of all elements of a part with a name; raises Unreadable."""
    found = list[dict[str, str]]()

    def start(tag: str, attributes: list[str]) -> None:
        if tag == name:
            found.append(attributes_of(attributes))

    for _ in read_xml(package.blocks(part), start):
        pass
    return found
