"""PDF: the text of each page. Pages that are pictures have none; the notes say how many those are."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pkgutil import walk_packages
from typing import Final

import pypdf
from pypdf.errors import LimitReachedError

import server.extraction.charsets  # noqa: F401 - decoders that pypdf looks up
from server.extraction.incoming import Incoming, Notes
from server.extraction.limits import MOST_PAGES
from server.extraction.pieces import Code, Unreadable
from server.extraction.texts import clean

for _module in walk_packages(pypdf.__path__, "pypdf."):  # what it imports later could not be loaded behind the walls
    with suppress(ImportError):  # those of packages that pypdf can do without
        import_module(_module.name)

_KEPT_PAGES: Final = 16
_DAMAGED: Final = "the file is damaged: it can't be read as a PDF file"
_TOO_LARGE: Final = "a part of the file becomes far larger when it is unpacked than such files are"
_NO_TEXT: Final = "no text was found in the file; if it was scanned, let a program for text recognition read it first"


def texts(file: Incoming, notes: Notes) -> Iterator[str]:
    """Yield the text of a file, page by page; raises Unreadable."""
    logging.disable(logging.CRITICAL)
    reader, pages = _opened(file)
    notes.pages = pages
    damaged = 0
    for number in range(pages):
        text, whole = _page_text(reader, number)
        damaged += not whole
        if number % _KEPT_PAGES == 0:
            reader.resolved_objects.clear()  # or the file would be in memory twice
        if text.strip():
            yield clean(text) + "\n\n"
        else:
            notes.pages_without_text += 1
    if notes.pages_without_text == pages:
        raise Unreadable(Code.INVALID_FILE, _DAMAGED if damaged else _NO_TEXT)


def _opened(file: Incoming) -> tuple[pypdf.PdfReader, int]:
    whole = file.whole()
    try:
        reader = pypdf.PdfReader(whole)
        readable = not reader.is_encrypted or reader.decrypt("") != pypdf.PasswordType.NOT_DECRYPTED
        pages = len(reader.pages) if readable else 0
    except LimitReachedError:
        raise Unreadable(Code.INVALID_FILE, _TOO_LARGE) from None
    except (MemoryError, RecursionError, ImportError):
        raise
    except Exception:  # noqa: BLE001 - of a damaged file, pypdf may raise anything
        raise Unreadable(Code.INVALID_FILE, _DAMAGED) from None
    if not readable:
        raise Unreadable(Code.INVALID_FILE, "the file is encrypted; remove its password first")
    if pages > MOST_PAGES:
        raise Unreadable(Code.INVALID_FILE, f"the file has more than {MOST_PAGES:,} pages")
    return reader, pages


def _page_text(reader: pypdf.PdfReader, number: int) -> tuple[str, bool]:
    """Return the text of a page, and whether it could be read; a page that is too large fails the file."""
    try:
        return reader.pages[number].extract_text(), True
    except LimitReachedError:
        raise Unreadable(Code.INVALID_FILE, _TOO_LARGE) from None
    except (MemoryError, ImportError):
        raise
    except Exception:  # noqa: BLE001 - of a damaged page, pypdf may raise anything
        return "", False
