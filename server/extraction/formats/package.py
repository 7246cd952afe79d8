"""The parts of a file of Office, which is a ZIP archive: only those that are asked for are inflated, and never to disk.

What parts inflate to is limited by the size of the archive. Names lead to nothing but parts of it.
"""

from __future__ import annotations

import io
import posixpath
import zlib
from collections.abc import Iterator
from struct import error as StructError  # noqa: N812 - an exception
from struct import unpack_from
from typing import Final
from urllib.parse import unquote
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from server.extraction.formats.xml import attributes_of, read_xml
from server.extraction.limits import FREE_INFLATED, MOST_INFLATED, MOST_MEMBERS, RATIO
from server.extraction.pieces import Code, Unreadable

_LARGEST_DIRECTORY: Final = 8 * 1024 * 1024
_BLOCK: Final = 64 * 1024
_ENCRYPTED: Final = 0x1
_END: Final = b"PK\x05\x06"
_END_SIZE: Final = 22
_LONGEST_COMMENT: Final = 65_535
_END_64: Final = b"PK\x06\x06"
_LOCATOR_64: Final = b"PK\x06\x07"
_LOCATOR_64_SIZE: Final = 20
_END_64_SIZE: Final = 56
_MAIN: Final = "/officeDocument"
_FAULTS: Final = (
    BadZipFile,
    EOFError,
    KeyError,
    NotImplementedError,
    OSError,
    RuntimeError,
    StructError,
    ValueError,
    zlib.error,
)

DAMAGED: Final = "the file is damaged, or not what its beginning says"
ENCRYPTED: Final = "the file is encrypted; remove its password first"

_MIME_TYPE: Final = "mimetype"
_LONGEST_MIME_TYPE: Final = 128


class Package:
    """An archive of parts that refer to each other."""

    def __init__(self, file: io.BytesIO) -> None:
        _check_directory(file.getbuffer())
        try:
            self._archive = ZipFile(file)
        except _FAULTS:
            raise Unreadable(Code.INVALID_FILE, DAMAGED) from None
        members = self._archive.infolist()
        if len(members) > MOST_MEMBERS:
            raise _too_many_members()
        if any(member.flag_bits & _ENCRYPTED for member in members):
            raise Unreadable(Code.INVALID_FILE, ENCRYPTED)
        self._members = dict[str, ZipInfo]()
        self._doubled = set[str]()
        for member in members:
            name = member.filename.lower()
            if name in self._members:
                self._doubled.add(name)
            self._members[name] = member
        self._left = min(MOST_INFLATED, FREE_INFLATED + RATIO * file.getbuffer().nbytes)

    def has(self, name: str) -> bool:
        """Return whether there is such a part."""
        return name.lower() in self._members

    def media_type(self) -> str:
        """Return what the archive says it is, empty if it doesn't say it, as files of Microsoft's Office."""
        if not self.has(_MIME_TYPE):
            return ""
        said = next(self.blocks(_MIME_TYPE), b"")[:_LONGEST_MIME_TYPE]
        return said.decode("ascii", "ignore").strip().lower()

    def main(self) -> str:
        """Return the name of the part that the archive names as its main one, empty if there is none."""
        if not self.has("_rels/.rels"):
            return ""
        found = (target for kind, target in self.relations("").values() if kind.endswith(_MAIN))
        return next(found, "")

    def blocks(self, name: str) -> Iterator[bytes]:
        """Yield the content of a part in blocks; raises Unreadable if it isn't there, damaged, or too large."""
        member = self._members.get(name.lower())
        if member is None or name.lower() in self._doubled:
            raise Unreadable(Code.INVALID_FILE, DAMAGED)
        if member.compress_type not in (ZIP_STORED, ZIP_DEFLATED):  # the only ones of Office
            raise Unreadable(Code.INVALID_FILE, DAMAGED)
        try:
            with self._archive.open(member) as part:
                while block := part.read(_BLOCK):
                    self._left -= len(block)
                    if self._left < 0:
                        break
                    yield block
        except _FAULTS:
            raise Unreadable(Code.INVALID_FILE, DAMAGED) from None
        if self._left < 0:
            raise Unreadable(Code.INVALID_FILE, "the file becomes far larger when it is unpacked than such files are")

    def relations(self, part: str) -> dict[str, tuple[str, str]]:
        """Return the kind and the name of each part that a part refers to by an id; none outside of the archive."""
        folder, name = posixpath.split(part)
        relations = posixpath.join(folder, "_rels", f"{name}.rels")
        found = dict[str, tuple[str, str]]()
        if not self.has(relations):
            return found

        def start(tag: str, attributes: list[str]) -> None:
            if tag != "Relationship":
                return
            given = attributes_of(attributes)
            if given.get("TargetMode") != "External":
                target = unquote(given.get("Target", ""))
                found[given.get("Id", "")] = (given.get("Type", ""), resolved(folder, target))

        for _ in read_xml(self.blocks(relations), start):
            pass
        return found


def resolved(folder: str, target: str) -> str:
    """Return the name of the part that a part in a folder means by `target`; never one outside of the archive."""
    path = target if target.startswith("/") else f"{folder}/{target}"
    return posixpath.normpath(f"/{path}").lstrip("/")


def _check_directory(data: memoryview) -> None:
    """Raise Unreadable if the archive says that its directory has more members than may be, before that is read."""
    tail = bytes(data[-(_END_SIZE + _LONGEST_COMMENT) :])
    place = len(tail) - _END_SIZE
    if place < 0 or not tail.startswith(_END, place) or tail[-2:] != b"\x00\x00":
        place = tail.rfind(_END)
    if place < 0 or len(tail) - place < _END_SIZE:
        raise Unreadable(Code.INVALID_FILE, DAMAGED)
    members, size = unpack_from("<HI", tail, place + 10)
    before = len(data) - len(tail) + place - _LOCATOR_64_SIZE - _END_64_SIZE
    if before >= 0:
        end_64 = bytes(data[before : before + _END_64_SIZE + _LOCATOR_64_SIZE])
        if end_64.startswith(_LOCATOR_64, _END_64_SIZE) and end_64.startswith(_END_64):
            members, size = unpack_from("<QQ", end_64, 32)
    if members > MOST_MEMBERS:
        raise _too_many_members()
    if size > _LARGEST_DIRECTORY:
        raise Unreadable(Code.INVALID_FILE, DAMAGED)


def _too_many_members() -> Unreadable:
    return Unreadable(Code.INVALID_FILE, f"the file has more than {MOST_MEMBERS:,} parts")
