"""Deliberate mistakes about the reading of files, each of which the suite must notice."""

from __future__ import annotations

from tests.mutation.mistake import Mistake

CONFINEMENT = "server/extraction/confinement.py"
SYSTEM_CALLS = "server/extraction/system_calls.py"
LANDLOCK = "server/extraction/landlock.py"
EXTRACTOR = "server/extraction/extractor.py"
CHILD = "server/extraction/child.py"
CUTTER = "server/extraction/cutter.py"
GRAPHEMES = "server/extraction/graphemes.py"
FRAMES = "server/extraction/frames.py"
PACKAGE = "server/extraction/formats/package.py"
XML = "server/extraction/formats/xml.py"
PDF = "server/extraction/formats/pdf.py"
TEXTS = "server/extraction/texts.py"
CHARSETS = "server/extraction/charsets.py"
MAIL = "server/extraction/formats/mail.py"
RTF = "server/extraction/formats/rtf.py"
OPEN_DOCUMENT = "server/extraction/formats/opendocument.py"
EPUB = "server/extraction/formats/epub.py"

EXTRACTION_MISTAKES = (
    Mistake("the filter permits every call", SYSTEM_CALLS, "0x00050000 | errno.EPERM", "0x7FFF0000"),
    Mistake("the filter permits programs", SYSTEM_CALLS, '"getpid": (39, 172),', '"getpid": (59, 221),'),
    Mistake(
        "nothing confines a file",
        CHILD,
        '{"walls": confine(order.parent)}',
        '{"walls": ["files", "network", "processes"]}',
    ),
    Mistake("walls are not tried", CONFINEMENT, "if not _succeeds(reaches))", ")"),
    Mistake("sockets with a path are not tried", CONFINEMENT, "        os.stat(sys.executable)", "        raise"),
    Mistake(
        "memory of a file is not limited",
        CONFINEMENT,
        "        (resource.RLIMIT_AS, MEMORY, MEMORY),\n",
        "",
    ),
    Mistake("Landlock leaves all files", LANDLOCK, "(1 << max(bits for", "(0 << max(bits for"),
    Mistake(
        "a process that is not confined is not reported", EXTRACTOR, "and len(known) < len(WALLS):", "and not WALLS:"
    ),
    Mistake("a file without text is whole", CHILD, "    if not found:\n", "    if found is None:\n"),
    Mistake(
        "a piece has more tokens than its size",
        CUTTER,
        "if measured.count > self._size and reach > 1:",
        "if reach < 1:",
    ),
    Mistake(
        "marks are cut from their letters", GRAPHEMES, "or category(after) in _MARKS:", "or category(after) == _MARKS:"
    ),
    Mistake("a process may send any number of tokens", FRAMES, "or not 0 < tokens <= most_tokens:", "or tokens < 0:"),
    Mistake("a process may send any text for a place", FRAMES, "or end - start != len(text)", ""),
    Mistake(
        "a part is unpacked whatever its size",
        PACKAGE,
        "if self._left < 0:\n                        break",
        "if self._left == 0:\n                        break",
    ),
    Mistake(
        "a directory is read whatever its size",
        PACKAGE,
        "    _check_directory(file.getbuffer())\n",
        "    file.getbuffer()\n",
    ),
    Mistake("one of two parts with one name is read", PACKAGE, "or name.lower() in self._doubled:", "or not name:"),
    Mistake(
        "entities are declared",
        XML,
        "    parser.StartDoctypeDeclHandler = _refuse\n    parser.EntityDeclHandler = _refuse\n",
        "",
    ),
    Mistake(
        "a PDF file of pictures is whole",
        PDF,
        "if notes.pages_without_text == pages:",
        "if notes.pages_without_text > pages:",
    ),
    Mistake("a text of no charset is taken for UTF-8", TEXTS, '{_UTF_8: "strict", ', "{"),
    Mistake("a wrong charset is never noticed", TEXTS, "self._characters * _MOST_WRONG)", "self._characters)"),
    Mistake("every name is one of a charset", CHARSETS, "found = _KNOWN.get(told) or", "found = told or"),
    Mistake(
        "the charset that an upload names is forgotten",
        "server/api/files/routes.py",
        'described["charset"] = form.charset',
        'described["charset"] = "utf-8"',
    ),
    Mistake("a part of a mail in no charset is left out", MAIL, "    except WrongCharset:\n", "    except KeyError:\n"),
    Mistake("groups of RTF have no depth", RTF, "if len(self._outer) >= DEEPEST_ELEMENT:", "if self._fonts is None:"),
    Mistake("hidden text of RTF is shown", RTF, "hidden=number != 0)", "hidden=number == 0)"),
    Mistake("deleted text of a document is shown", OPEN_DOCUMENT, '("tracked-changes", "forms", ', '("forms", '),
    Mistake("an encrypted document is read", OPEN_DOCUMENT, "found = found or name", "found = found and name"),
    Mistake("a locked page of a book is read", EPUB, "if page in locked:", "if page is locked:"),
    Mistake("a page of a book is read again and again", EPUB, "yield from dict.fromkeys(", "yield from list("),
)
