"""Files that chats name by their ids: the policy is asked about each, and their bytes go to the provider."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from http import HTTPStatus
from json import dumps
from typing import Final

from starlette.requests import Request

from server.api.files.media_types import IMAGES, is_text, media_type
from server.api.files.store import FileStore, is_file_id
from server.api.models.asked import Attached
from server.api.models.inputs import BYTES_OF_A_TOKEN
from server.authz.contract.errors import PolicyUnavailable
from server.authz.request_authorization import Gate
from server.fairness.shares import FairShares, NoRoom
from server.http.disconnects import WhileConnected
from server.http.errors import ApiError, invalid
from server.http.pagination import missing_reference
from server.http.request_state import gate_of
from server.inference.attachments import SENT, Attachments, NotSent
from server.inference.file_parts import NamedFile
from server.inference.members import Edit, Found
from server.storage.blobs.store import BlobMissing, BlobsUnavailable
from server.storage.database.database import DatabaseUnavailable
from server.storage.records.record import Record

MOST_OF_ONE: Final = 20 * 1024 * 1024
"""Bytes of one file that a chat names."""

MOST_OF_ALL: Final = 50 * 1024 * 1024
"""Bytes of all files that a chat names; one that is named twice counts twice."""


class ChatFiles:
    """Reads files of `store` for chats."""

    def __init__(self, store: FileStore) -> None:
        self._store = store
        self._turns = FairShares(SENT)

    async def attached(self, request: Request, found: Found) -> Attached:
        """Return the files that a body names.

        Raises the 404 of one that is missing or that the caller may not read, the 400 of one that is to be an image and
        is none, and the 413 of files that are too large.
        """
        named = [file for file in found.files if is_file_id(file.id)]
        others = [file for file in found.files if not is_file_id(file.id)]
        # No provider takes an image by its id in a chat.
        for image in (file for file in others if file.detail is not None):
            raise missing_reference(image.place, image.id)
        foreign = next(iter(others), None)
        if not named:
            return Attached(foreign=foreign)
        gate, places = gate_of(request.scope), {file.id: file.place for file in reversed(named)}
        # Many questions to the policy, and nothing is spent yet.
        async with WhileConnected(request.receive):
            records = await self._readable(gate, places)
        _check_images(named, records)
        _check_sizes(named, records)
        sources = [StoredBytes(self._store, gate, records[file.id], file.place) for file in named]
        attachments = Attachments(sources, self._turns)
        edits = [_edit(file, records[file.id], attachments.mark(number)) for number, file in enumerate(named)]
        return Attached(attachments, edits, sum(_tokens(records[file.id]) for file in named), foreign)

    async def check(self, gate: Gate, places: Mapping[str, str]) -> None:
        """Raise the 404 of a file that is missing or that the caller may not read; `places` has those of their ids."""
        found = await self._store.records.readable(gate, [*places])
        for identity, place in places.items():
            if identity not in found:
                raise missing_reference(place, identity)

    async def _readable(self, gate: Gate, places: Mapping[str, str]) -> dict[str, Record]:
        found = await self._store.records.readable(gate, [*places])
        whole = {record.id: record for record in await self._store.records.whole([*found.values()])}
        for identity, place in places.items():
            if identity not in whole:
                raise missing_reference(place, identity)
        return whole


class StoredBytes:
    """The bytes of one file that a body names at `place`, for the caller of `gate`, who may read it."""

    def __init__(self, store: FileStore, gate: Gate, record: Record, place: str) -> None:
        self._store = store
        self._gate = gate
        self._record = record
        self._place = place

    @property
    def size(self) -> int:
        """The number of bytes."""
        size: int = self._record.body["bytes"]
        return size

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield the bytes in pieces; raises NotSent, with the 404 for a file that was deleted since."""
        try:
            reading = await self._store.open(self._record)
            left = self.size
            try:
                while piece := await reading.read():
                    left -= len(piece)
                    if left < 0:
                        break
                    yield piece
            finally:
                await reading.close()
            _check_whole(self._record.id, left)
        except BlobMissing as fault:
            raise NotSent(await self._reason(fault)) from None
        except (BlobsUnavailable, NoRoom) as fault:
            raise NotSent(fault) from None

    async def _reason(self, fault: BlobMissing) -> Exception:
        try:
            there = await self._store.records.readable(self._gate, [self._record.id])
        except (DatabaseUnavailable, NoRoom, PolicyUnavailable) as other:
            return other
        return fault if there else missing_reference(self._place, self._record.id)


def _check_whole(identity: str, left: int) -> None:
    if left:
        raise BlobMissing(f"`{identity}` has changed while it was read")


def _check_images(named: Sequence[NamedFile], records: Mapping[str, Record]) -> None:
    for file in named:
        if file.detail is not None and _kind(records[file.id]) not in IMAGES:
            sentence = f"the file `{file.id}` is no image: {', '.join(IMAGES)} are; name it in an `input_file`"
            raise invalid(sentence, file.place, "invalid_value")


def _check_sizes(named: Sequence[NamedFile], records: Mapping[str, Record]) -> None:
    total = 0
    for file in named:
        size = records[file.id].body["bytes"]
        total += size
        if size > MOST_OF_ONE:
            raise _too_large(
                f"the file `{file.id}` is larger than the {MOST_OF_ONE} bytes of a file in a chat", file.place
            )
        if total > MOST_OF_ALL:
            raise _too_large(f"the files of this chat have more than {MOST_OF_ALL} bytes together", file.place)


def _too_large(sentence: str, place: str) -> ApiError:
    return ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"{sentence}; send a smaller one, or its text", param=place)


def _kind(record: Record) -> str:
    return media_type(record.body["filename"], record.body["content_type"])


def _tokens(record: Record) -> int:
    """Return an estimate of the tokens of a file of text; 0 for any other, whose bytes say little about them."""
    size: int = record.body["bytes"]
    return size // BYTES_OF_A_TOKEN if is_text(_kind(record)) else 0


def _edit(file: NamedFile, record: Record, mark: str) -> Edit:
    """Return the edit that puts a file's bytes in the place of its id."""
    filename = record.body["filename"]
    if file.detail is not None:
        return file.start, file.end, dumps({"url": f"data:{_kind(record)};base64,{mark}", "detail": file.detail})
    sent = {"filename": file.filename or filename, "file_data": f"data:{_kind(record)};base64,{mark}"}
    return file.start, file.end, dumps(sent)
