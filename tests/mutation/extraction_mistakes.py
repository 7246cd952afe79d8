"""Deliberate mistakes about the reading of files, each of which the suite must notice."""

from __future__ import annotations

from tests.mutation.mistake import Mistake

CONFINEMENT = "server/extraction/confinement.py"
SYSTEM_CALLS = "server/extraction/system_calls.py"
LANDLOCK = "server/extraction/landlock.py"
EXTRACTOR = "server/extraction/extractor.py"
CHILD_PROCESS = "server/extraction/child_process.py"
CHILD = "server/extraction/child.py"
CUTTER = "server/extraction/cutter.py"
GRAPHEMES = "server/extraction/graphemes.py"
TOKENS = "server/extraction/tokens.py"
FRAMES = "server/extraction/frames.py"
TEXTS = "server/extraction/texts.py"
HTML = "server/extraction/formats/html.py"
PACKAGE = "server/extraction/formats/package.py"
XML = "server/extraction/formats/xml.py"
PDF = "server/extraction/formats/pdf.py"

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
    Mistake(
        "a processor of a file is not limited",
        CONFINEMENT,
        "cpu_seconds, cpu_seconds + 1),",
        "9999, 9999),",
    ),
    Mistake("Landlock leaves all files", LANDLOCK, "(1 << max(bits for", "(0 << max(bits for"),
    Mistake(
        "a process that is not confined is not reported", EXTRACTOR, "and len(known) < len(WALLS):", "and not WALLS:"
    ),
    Mistake(
        "a process that hangs is waited for",
        EXTRACTOR,
        "if self._left <= 0 and not reading.done():",
        "if self._left > 0 and reading.done():",
    ),
    Mistake(
        "a process is left behind",
        EXTRACTOR,
        "            await asyncio.wait({feeding})\n            await self._end(child)\n",
        "",
    ),
    Mistake(
        "a fault of a file's source is passed over",
        EXTRACTOR,
        "            self._feeding.result()\n",
        "            pass\n",
    ),
    Mistake("a file without text is whole", CHILD, "    if not found:\n", "    if found is None:\n"),
    Mistake("a text has no end", CHILD, "if most is not None and length > most:", "if most == length:"),
    Mistake(
        "a piece has more tokens than its size",
        CUTTER,
        "if measured.count > self._size and reach > 1:",
        "if reach < 1:",
    ),
    Mistake("a piece ends where the one before it ended", CUTTER, "self._cut + 1)", "self._start + 1)"),
    Mistake(
        "rows are cut",
        CUTTER,
        "        if self.rows:\n            row = self._text.rfind",
        "        if self.rows is None:\n            row = self._text.rfind",
    ),
    Mistake(
        "marks are cut from their letters", GRAPHEMES, "or category(after) in _MARKS:", "or category(after) == _MARKS:"
    ),
    Mistake(
        "a piece goes back to the beginning of the one before",
        CUTTER,
        "first = max(last - shared, self._start + 1)",
        "first = self._start + 1",
    ),
    Mistake(
        "tokens are counted up to the model's limit",
        TOKENS,
        "        self._tokenizer.no_truncation()  #",
        "        self._tokenizer.enable_truncation(64)  #",
    ),
    Mistake("a process may send any number of tokens", FRAMES, "or not 0 < tokens <= most_tokens:", "or tokens < 0:"),
    Mistake("a process may send any text for a place", FRAMES, "or end - start != len(text)", ""),
    Mistake(
        "a file may be binary behind its beginning",
        TEXTS,
        "elif not mark and _is_binary(",
        "elif mark < 0 and _is_binary(",
    ),
    Mistake("a file of any charset is Windows-1252", TEXTS, "and not _is_utf8(head):", "and _is_utf8(head):"),
    Mistake("scripts are text", HTML, 'frozenset(("script", "style", "template"))', 'frozenset(("style", "template"))'),
    Mistake(
        "markup without an end is kept", HTML, "if len(self.rawdata) > _LONGEST:", "if not self.rawdata and _LONGEST:"
    ),
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
    Mistake("elements are inside each other without end", XML, "if depth > DEEPEST_ELEMENT:", "if depth < 0:"),
    Mistake(
        "a PDF file of pictures is whole",
        PDF,
        "if notes.pages_without_text == pages:",
        "if notes.pages_without_text > pages:",
    ),
    Mistake("an encrypted PDF file is damaged", PDF, "    if not readable:\n", "    if readable is None:\n"),
)
