"""Hostile archives and XML: each ends soon, with one sentence."""

from __future__ import annotations

import io
import os
import stat
import struct
import zlib
from collections.abc import Callable
from time import process_time
from zipfile import ZIP_LZMA, ZipFile, ZipInfo

import pytest

from server.extraction.formats.office import texts
from server.extraction.incoming import Incoming, Notes
from server.extraction.pieces import Code, Unreadable
from tests.support.documents import archive, docx, package, paragraph, relations
from tests.support.extraction import extracted

RELATIONS = relations(("r1", "officeDocument", "word/document.xml"))
DOCUMENT = b"<w:document>" + paragraph("words").encode() + b"</w:document>"
LARGER = "far larger when it is unpacked"
DAMAGED = "the file is damaged"


def refusal(data: bytes) -> Unreadable:
    """Return why a file has no text, found in this process."""
    descriptor = os.memfd_create("file")
    try:
        os.write(descriptor, data)
        os.lseek(descriptor, 0, os.SEEK_SET)
        started = process_time()
        with pytest.raises(Unreadable) as refused:
            for _ in texts(Incoming(descriptor, "a.docx"), Notes()):
                pass
        assert process_time() - started < 10
    finally:
        os.close(descriptor)
    return refused.value


def inflating(prefix: bytes, megabytes: int) -> bytes:
    """Return deflated bytes of which each megabyte costs a kilobyte."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = packer.compress(prefix) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes([32]) * 1_000_000) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + block * megabytes + packer.flush()


def raw_archive(*members: tuple[str, bytes, int, int], place: int | None = None) -> bytes:
    """Return an archive of members as they are: a name, packed bytes, the size that is claimed, and the flags.

    The checksums of small ones are right. With `place`, the directory says that every member begins there.
    """
    out, directory = bytearray(), bytearray()
    for name, packed, size, flags in members:
        start = len(out) if place is None else place
        checksum = zlib.crc32(zlib.decompress(packed, -15)) if len(packed) < _SMALL else 0
        fixed = struct.pack("<HHHHIIIHH", flags, 8, 0, 0, checksum, len(packed), size, len(name), 0)
        out += b"PK\x03\x04" + struct.pack("<H", 20) + fixed + name.encode() + packed
        directory += b"PK\x01\x02" + struct.pack("<HH", 20, 20) + fixed
        directory += struct.pack("<HHHII", 0, 0, 0, 0, start) + name.encode()
    count = len(members)
    end = struct.pack("<HHHHIIH", 0, 0, count & 0xFFFF, count & 0xFFFF, len(directory), len(out), 0)
    return bytes(out + directory + b"PK\x05\x06" + end)


def deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def lzma_archive() -> bytes:
    file = io.BytesIO()
    with ZipFile(file, "w", ZIP_LZMA) as made:
        made.writestr("_rels/.rels", RELATIONS)
    return file.getvalue()


def symbolic_link() -> ZipInfo:
    link = ZipInfo("word/document.xml")
    link.create_system = 3
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    return link


def doubled() -> bytes:
    """Return an archive with two members of one name, of which a reader could take either."""
    name, other = "word/document.xml", "word/documenX.xml"
    return archive([("_rels/.rels", RELATIONS), (name, DOCUMENT), (other, DOCUMENT)]).replace(
        other.encode(), name.encode()
    )


def zip64(members: int, size: int) -> bytes:
    """Return an archive whose directory, by the wide records behind it, is of this size."""
    end = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, members, members, size, 0)
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, 4, 1)
    return b"PK\x03\x04" + end + locator + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, 46, 0, 0)


BOMB = inflating(b"<w:document>", 600)
_SMALL = 10_000
RELATIONS_MEMBER = ("_rels/.rels", deflate(RELATIONS.encode()), len(RELATIONS), 0)
LAUGHS = "<!DOCTYPE x [<!ENTITY a 'ha'>" + "".join(f"<!ENTITY a{n} '&a;&a;'>" for n in range(9)) + "]><x>&a8;</x>"

HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "large when unpacked": (
        lambda: raw_archive(RELATIONS_MEMBER, ("word/document.xml", BOMB, 600_000_012, 0)),
        LARGER,
    ),
    "a size that is too small": (lambda: raw_archive(RELATIONS_MEMBER, ("word/document.xml", BOMB, 100, 0)), DAMAGED),
    "members in one place": (lambda: raw_archive(*[RELATIONS_MEMBER] * 500, place=0), DAMAGED),
    "100,000 members": (lambda: raw_archive(*[("a", b"\x03\x00", 0, 0)] * 100_000, place=0), "10,000 parts"),
    "20,000 members": (lambda: raw_archive(*[("a", b"\x03\x00", 0, 0)] * 20_000), "10,000 parts"),
    "members in wide numbers": (lambda: zip64(10**15, 10**15), "10,000 parts"),
    "a large directory": (lambda: zip64(1, 10**15), DAMAGED),
    "a directory of nothing": (lambda: zip64(1, 46), DAMAGED),
    "an encrypted member": (
        lambda: raw_archive(RELATIONS_MEMBER, ("word/document.xml", deflate(DOCUMENT), len(DOCUMENT), 1)),
        "encrypted",
    ),
    "another way of packing": (lzma_archive, DAMAGED),
    "a name twice": (doubled, DAMAGED),
    "a symbolic link": (lambda: archive([("_rels/.rels", RELATIONS), (symbolic_link(), "/etc/passwd")]), DAMAGED),
    "a way out": (
        lambda: archive({"_rels/.rels": relations(("r1", "officeDocument", "../../word/../etc/passwd"))}),
        "archive",
    ),
    "a part that is not there": (lambda: archive({"_rels/.rels": RELATIONS}), DAMAGED),
    "archives in archives": (lambda: archive({"a.zip": archive({"b.zip": b"x"})}), "archive"),
    "an empty archive": (lambda: archive({}), "archive"),
    "cut short": (lambda: docx(paragraph("words"))[:-30], DAMAGED),
    "damaged": (lambda: docx(paragraph("words " * 500)).replace(b"PK\x03\x04", b"PK\x03\x05"), DAMAGED),
    "no XML": (lambda: package("word/document.xml", {"word/document.xml": "words"}), "XML"),
    "XML in a charset of its own": (
        lambda: package("word/document.xml", {"word/document.xml": "<?xml version='1.0' encoding='rot13'?><x/>"}),
        "XML",
    ),
    "entities": (lambda: package("word/document.xml", {"word/document.xml": LAUGHS}), "entities"),
    "a document type outside": (
        lambda: package("word/document.xml", {"word/document.xml": "<!DOCTYPE x SYSTEM 'http://127.0.0.1/'><x/>"}),
        "document type",
    ),
    "entities in relations": (lambda: archive({"_rels/.rels": LAUGHS}), "entities"),
    "1,000,000 elements inside each other": (lambda: docx("<w:p>" * 1_000_000), "inside each other"),
}


def test_the_archives_are_as_they_should_be_but_for_one_thing() -> None:
    for size in (len(DOCUMENT), 10 * 2**28):  # a size that is too large does no harm
        good = raw_archive(RELATIONS_MEMBER, ("word/document.xml", deflate(DOCUMENT), size, 0))
        assert extracted(good, "a.docx").text == "words"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_with_a_sentence(name: str) -> None:
    make, words = HOSTILE[name]
    refused = refusal(make())
    assert words in refused.message
    assert refused.code is (Code.UNSUPPORTED_FILE if words == "archive" else Code.INVALID_FILE)


def test_names_that_lead_elsewhere_are_never_opened() -> None:
    members = [("/etc/passwd", "no"), ("../../no", "no"), ("_rels/.rels", RELATIONS), ("word/document.xml", DOCUMENT)]
    assert extracted(archive(members), "a.docx").text == "words"


@pytest.mark.skipif(os.environ.get("OSTIARY_NIGHTLY") != "1", reason="takes seconds of a processor")
def test_a_text_that_is_referred_to_again_and_again_has_an_end() -> None:
    """A small file would become terabytes: the process is out of its share, and says so."""
    book = package(
        "xl/workbook.xml",
        {
            "xl/_rels/workbook.xml.rels": relations(("r1", "worksheet", "s.xml"), ("r2", "sharedStrings", "t.xml")),
            "xl/workbook.xml": '<workbook xmlns:r="r"><sheets><sheet name="a" r:id="r1"/></sheets></workbook>',
            "xl/t.xml": "<sst><si><t>" + "word " * 5000 + "</t></si></sst>",
            "xl/s.xml": "<worksheet>" + '<row><c t="s"><v>0</v></c></row>' * 1_000_000 + "</worksheet>",
        },
    )
    code, message = extracted(book, "a.xlsx").refused
    assert (code, message) == (Code.INVALID_FILE, "the file has more than 67,108,864 characters of text")
