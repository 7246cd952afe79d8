"""Hostile PDF files, pages, e-mails and texts: each ends soon, with a text or one sentence."""

from __future__ import annotations

import asyncio
import os
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from server.api.vector_stores.filling import LARGEST_FILE
from server.extraction import extractor
from server.extraction.limits import MOST_CPU_SECONDS
from server.extraction.pieces import Chunking, Code
from tests.support.documents import FONT, RESOURCES, deflated, pages, pdf, shown, stream
from tests.support.extraction import Extracted, extracted

NIGHTLY = pytest.mark.skipif(os.environ.get("OSTIARY_NIGHTLY") != "1", reason="takes seconds of a processor")
CATALOG = b"<< /Type /Catalog /Pages 2 0 R >>"
LARGE = "far larger when it is unpacked"
DAMAGED = "damaged"
NO_TEXT = "no text was found"


def chained(filters: int, size: int) -> bytes:
    """Return a stream that is packed again and again."""
    data = shown(b"words") + b" " * size
    for _ in range(filters):
        data = zlib.compress(data, 9)
    return stream(data, b"/Filter [" + b"/FlateDecode " * filters + b"]")


def tree(depth: int, width: int) -> bytes:
    """Return a tree of pages whose branches are the same ones."""
    branches = [
        b"<< /Type /Pages /Count 4 /Kids [" + b"%d 0 R " % (number + 3) * width + b"] >>" for number in range(depth)
    ]
    return pdf([CATALOG, *branches, b"<< /Type /Page >>"])


def forms_in_each_other() -> bytes:
    entries = b"/Type /XObject /Subtype /Form /BBox [0 0 1 1] /Resources << /XObject << /X 6 0 R >> >>"
    page = b"<< /Type /Page /Parent 2 0 R /Resources << /XObject << /X 6 0 R >> >> /Contents 5 0 R >>"
    objects = [CATALOG, b"<< /Type /Pages /Kids [4 0 R] /Count 1 >>", FONT, page, stream(b"/X Do " * 9)]
    return pdf([*objects, stream(b"/X Do " * 9, entries)])


def tables_in_a_ring() -> bytes:
    file = pdf(pages(stream(shown(b"words"))))
    return pdf(pages(stream(shown(b"words"))), trailer=b"/Prev %d" % file.rindex(b"xref\n0"))


PDFS: dict[str, tuple[Callable[[], bytes], str]] = {
    "a page far larger than the file": (lambda: pdf(pages(deflated(b" " * 80_000_000))), LARGE),
    "packed again and again": (lambda: pdf(pages(chained(12, 1_000_000))), "words"),
    "pages in themselves": (lambda: pdf([CATALOG, b"<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 5 >>"]), DAMAGED),
    "a tree with as many leaves as stars": (lambda: tree(30, 4), LARGE),
    "a deep tree": (lambda: tree(5000, 1), LARGE),
    "forms in themselves": (forms_in_each_other, NO_TEXT),
    "a length that is too large": (
        lambda: pdf(pages(b"<< /Length 99999999999 >>\nstream\nBT (x) Tj ET\nendstream")),
        LARGE,
    ),
    "tables in a ring": (tables_in_a_ring, "words"),
    "a stream of objects in itself": (
        lambda: (
            b"%PDF-1.7\n1 0 obj\n<< /Type /ObjStm /N 1 /First 4 /Length 20 /Extends 1 0 R >>\nstream\n1 0 << >>\n"
            b"endstream\nendobj\ntrailer << /Root 1 0 R >>\nstartxref\n0\n%%EOF"
        ),
        DAMAGED,
    ),
    "1,000,000 lists in each other": (lambda: pdf([b"[" * 1_000_000, *pages(stream(shown(b"x")))[1:]]), "nested"),
    "a number of objects that is not so": (
        lambda: b"%PDF-1.4\nxref\n0 999999999\ntrailer << /Root 1 0 R >>\nstartxref\n9\n%%EOF",
        LARGE,
    ),
    "only its beginning": (lambda: pdf(pages(stream(shown(b"words"))))[:100], DAMAGED),
    "only its end": (lambda: b"%PDF-1.4\n" + pdf(pages(stream(shown(b"words"))))[300:], DAMAGED),
    "noise": (lambda: b"%PDF-1.4\n" + bytes(range(256)) * 500, DAMAGED),
}


@pytest.mark.parametrize("name", PDFS)
def test_a_hostile_pdf_ends_with_a_text_or_a_sentence(name: str) -> None:
    make, words = PDFS[name]
    found = extracted(make(), "a.pdf")
    if words == "words":
        assert found.text == "words"
    else:
        assert found.refused[0] is Code.INVALID_FILE
        assert words in found.refused[1]


def mail(headers: bytes, body: bytes = b"words") -> bytes:
    return b"From: a\nDate: b\n" + headers + b"\n" + body


TEXTS: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "elements inside each other": ("a.html", lambda: b"<html>" + b"<div>" * 50_000 + b"words", "words"),
    "a comment without an end": ("a.html", lambda: b"<html>words<!--" + b"x" * 3_000_000, "words"),
    "tags without an end": ("a.html", lambda: b"<html>words " + b"<a " * 1_000_000, "words"),
    "values without an end": ("a.html", lambda: b"<html>words <a " + b"x='" * 999_999, "words"),
    "declarations without an end": ("a.html", lambda: b"<html>words " + b"<!" * 1_000_000, "words"),
    "a picture inside": ("a.html", lambda: b"<html><img src='data:" + b"QUJD" * 500_000 + b"'>words", "words"),
    "a script without an end": ("a.html", lambda: b"<html>words<script>" + b"</scrip " * 300_000, "words"),
    "a script": ("a.html", lambda: b"<html><script>" + b"</scrip " * 300_000 + b"</script>words", "words"),
    "references without an end": ("a.html", lambda: b"<html>" + b"&" * 1_000_000 + b" words", "&&&&&&"),
    "a number of 100,000 digits": ("a.html", lambda: b"<html>&#" + b"9" * 20_000 + b";", DAMAGED),
    "lists inside each other": ("a.json", lambda: b"[" * 1_000_000 + b"words", "[[[[[["),
    "backslashes": ("a.json", lambda: b"\\" * 1_000_001 + b"u00e9", "\\\\\\\\"),
    "a long cell": ("a.csv", lambda: b'a,"' + b"words\n" * 500_000, 'a,"words words'),
    "quotes": ("a.csv", lambda: b'"' * 1_000_000 + b",words", '""""""'),
    "parts inside each other": (
        "a.eml",
        lambda: mail(b"".join(b"Content-Type: multipart/x; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(3000))),
        "nested too deeply",
    ),
    "messages inside each other": ("a.eml", lambda: mail(b"Content-Type: message/rfc822\n\n" * 10_000), "nested"),
    "very many parts": (
        "a.eml",
        lambda: mail(b"Content-Type: multipart/mixed; boundary=b\n", b"--b\n\nx\n" * 2000),
        "more than 1000 parts",
    ),
    "a long header": ("a.eml", lambda: mail(b"Subject: " + b"=?utf-8?q?" * 100_000 + b"\n"), "words"),
    "very many headers": ("a.eml", lambda: mail(b"X: y\n" * 30_000), "words"),
    "an unknown charset": ("a.eml", lambda: mail(b"Content-Type: text/plain; charset=" + b"x" * 9999 + b"\n"), "words"),
}


def holds(found: Extracted, words: str) -> bool:
    return words in (found.text if found.refusal is None else found.refused[1])


@pytest.mark.parametrize("name", TEXTS)
def test_a_hostile_text_ends_with_a_text_or_a_sentence(name: str) -> None:
    filename, make, words = TEXTS[name]
    found = extracted(make(), filename, chunking=Chunking(100, 0))
    assert holds(found, words), found.refusal or found.text[:200]
    if found.refusal is None:
        assert not any("xxxxx" in piece.text or "QUJDQ" in piece.text for piece in found.pieces)


def test_a_file_that_takes_too_much_of_a_processor_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extractor, "cpu_limit", lambda size: 1)
    code, message = extracted(b"<html>" + b"<" * 5_000_000, "a.html").refused
    assert (code, message) == (Code.INVALID_FILE, "to read the file takes more than 1 s of a processor")


@NIGHTLY
def test_a_file_that_takes_too_much_memory_fails() -> None:
    headers = b"Content-Type: text/plain\nX: " + b"y" * 400_000_000 + b"\n"
    code, message = extracted(mail(headers), "a.eml").refused
    assert (code, message) == (Code.INVALID_FILE, "to read the file takes more than 1024 MB of memory")


def test_a_size_that_is_claimed_changes_no_bound() -> None:
    async def source() -> AsyncIterator[bytes]:
        yield b"words"

    async def run() -> list[str]:
        reading = extractor.Extractor().pieces(source(), 10 * 2**30, "a.txt", "", Chunking(), None)
        return [piece.text async for batch in reading for piece in batch]

    assert asyncio.run(run()) == ["words"]
    assert extractor.cpu_limit(10 * 2**30) == MOST_CPU_SECONDS
    # To count tokens takes up to 1.5 s a megabyte on a busy machine.
    assert extractor.cpu_limit(LARGEST_FILE) > LARGEST_FILE / 1_000_000 * 1.5


def test_a_file_with_more_pieces_than_a_store_takes_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extractor, "MOST_PIECES", 100)
    found = extracted(b"words " * 20_000, chunking=Chunking(100, 0))
    assert found.refused == (Code.INVALID_FILE, "the file has more than 100 pieces")


@NIGHTLY
@pytest.mark.timeout(600)
def test_pages_that_say_the_same_again_and_again_have_an_end() -> None:
    page = b"<< /Type /Page /Parent 2 0 R " + RESOURCES + b" /Contents 5 0 R >>"
    kids = b"<< /Type /Pages /Kids [" + b"4 0 R " * 15_000 + b"] /Count 15000 >>"
    data = pdf([CATALOG, kids, FONT, page, stream(shown(b"word " * 20_000))])
    assert extracted(data, "a.pdf").refused[0] is Code.INVALID_FILE


@NIGHTLY
@pytest.mark.timeout(900)
def test_a_gigabyte_streams_through_in_bounded_memory() -> None:
    def memory() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    async def source() -> AsyncIterator[bytes]:
        for _ in range(4000):
            yield b"The quick brown fox jumps over the lazy dog; it does so again. \n" * 4096

    async def run() -> tuple[int, int]:
        before, most, count = memory(), 0, 0
        async for batch in extractor.Extractor().pieces(source(), 2**30, "a.txt", "", Chunking(), None):
            count += len(batch)
            most = max(most, memory())
        return most - before, count

    grown, count = asyncio.run(run())
    assert grown < 100_000_000
    assert count > 600_000
