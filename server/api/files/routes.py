"""`/v1/files`: uploads, lists, metadata, contents, deletion."""

from __future__ import annotations

from json import dumps
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from policy.vocabulary import Action, type_of_record
from server.api.files.filenames import attachment
from server.api.files.store import FileStore, new_file_id
from server.api.files.upload import FORM_BYTES, PURPOSES, UploadTurns, read_upload
from server.http.api_route import ApiRoute, AskingRoute
from server.http.disconnects import WhileConnected
from server.http.errors import invalid
from server.http.pagination import frame_of, list_query, one_of_query, page_of
from server.http.request_state import gate_of, state_of
from server.http.responses import list_of_texts, send_piece
from server.storage.blobs.store import BlobMissing, BlobReading
from server.storage.records.record import Record

MOST_LISTED: Final = 10_000
"""Files on one page, and on one whose size isn't asked for."""

_FILE: Final = type_of_record("openai_files")
_MADE_HERE: Final = ("assistants_output", "batch_output", "fine-tune-results")
_LISTED: Final = frozenset({*PURPOSES, *_MADE_HERE})

# Types that no browser runs, whatever is inside; with `attachment` and `nosniff` beside them.
_HARMLESS: Final = frozenset(
    {
        "application/json",
        "application/jsonl",
        "application/pdf",
        "application/x-ndjson",
        "image/gif",
        "image/jpeg",
        "image/png",
        "image/webp",
        "text/csv",
        "text/markdown",
        "text/plain",
    }
)
_ANY: Final = "application/octet-stream"


class Files:
    """Stores files of at most `most_bytes`, and shows each to the callers that the policy permits."""

    def __init__(self, store: FileStore, most_bytes: int) -> None:
        self._store = store
        self._most_bytes = most_bytes
        self._lane = UploadTurns()

    def routes(self) -> list[ApiRoute]:
        """Return the routes of files."""
        return [
            AskingRoute("/v1/files", self.page, methods=["GET"], asks=[(Action.READ, _FILE)], name="files.list"),
            AskingRoute("/v1/files", self.create, methods=["POST"], asks=[(Action.CREATE, _FILE)], name="files.create"),
            AskingRoute(
                "/v1/files/{file_id}",
                self.retrieve,
                methods=["GET"],
                asks=[(Action.READ, _FILE)],
                name="files.retrieve",
            ),
            AskingRoute(
                "/v1/files/{file_id}",
                self.delete,
                methods=["DELETE"],
                asks=[(Action.DELETE, _FILE)],
                name="files.delete",
            ),
            AskingRoute(
                "/v1/files/{file_id}/content",
                self.content,
                methods=["GET"],
                asks=[(Action.READ, _FILE)],
                name="files.content",
            ),
        ]

    async def create(self, request: Request) -> Response:
        """Store a file; the policy is asked before its first byte is read."""
        identity = new_file_id()
        creation = await self._store.records.permit_create(gate_of(request.scope), made=[identity])
        # The room is given back last, once nothing of the upload is left.
        async with self._store.room(self._length(request)), self._store.uploading(identity, creation) as upload:
            form = await read_upload(request, upload, self._most_bytes, self._lane)
            described = {"filename": form.filename, "content_type": form.content_type, "purpose": form.purpose}
            if form.charset is not None:
                described["charset"] = form.charset
            record = await upload.keep(described, form.purpose, form.lifetime)
        return _answer(file_object(record))

    def _length(self, request: Request) -> int:
        """Return the bytes that the upload has at most."""
        length = request.headers.get("content-length")
        return self._most_bytes + FORM_BYTES if length is None else int(length)

    async def page(self, request: Request) -> Response:
        """Answer with a page of files, newest first unless the query says otherwise."""
        query = list_query(request, default=MOST_LISTED, most=MOST_LISTED)
        purpose = one_of_query(request, "purpose")
        if purpose is not None and purpose not in _LISTED:
            raise invalid(f"`purpose` must be one of {', '.join(sorted(_LISTED))}", "purpose", "invalid_value")
        page = await page_of(request, self._store.records, query, facet=purpose)
        return await list_of_texts(frame_of(page), (_json(file_object(record)) for record in page.records))

    async def retrieve(self, request: Request) -> Response:
        """Answer with the metadata of a file."""
        return _answer(file_object(await self._found(request)))

    async def content(self, request: Request) -> Response:
        """Answer with the bytes of a file."""
        record = await self._found(request)
        try:
            reading = await self._store.open(record)
        except BlobMissing:
            # It may have been deleted since its record was found.
            await self._found(request)
            raise
        return Content(record, reading)

    async def delete(self, request: Request) -> Response:
        """Remove a file."""
        identity = request.path_params["file_id"]
        await self._store.delete(gate_of(request.scope), identity)
        return _answer({"id": identity, "object": "file", "deleted": True})

    async def _found(self, request: Request) -> Record:
        return await self._store.records.get(gate_of(request.scope), request.path_params["file_id"])


class Content(Response):
    """The bytes of a file, to be saved and not to be looked at, no faster than the client reads them."""

    def __init__(self, record: Record, reading: BlobReading) -> None:
        kind = record.body["content_type"]
        headers = {
            "content-type": kind if kind in _HARMLESS else _ANY,
            "content-disposition": attachment(record.body["filename"]),
        }
        super().__init__(headers=headers)
        self.headers["content-length"] = str(reading.size)
        self._reading = reading

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the bytes, or for HEAD the headers alone."""
        try:
            async with WhileConnected(receive):
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                send = state_of(scope).send_piece
                while scope["method"] != "HEAD" and (piece := await self._reading.read()):
                    await send_piece(send, piece, more=True)
                await send_piece(send, b"", more=False)
        finally:
            await self._reading.close()


def file_object(record: Record) -> dict[str, Any]:
    """Return a file as clients know it. All of it is here, so there is nothing to wait for."""
    ends = {} if record.expires_at is None else {"expires_at": record.expires_at}
    return {
        "id": record.id,
        "object": "file",
        "bytes": record.body["bytes"],
        "created_at": record.created_at,
        **ends,
        "filename": record.body["filename"],
        "purpose": record.facet,
        "status": "processed",
    }


def _json(document: dict[str, Any]) -> bytes:
    return dumps(document, separators=(",", ":")).encode()


def _answer(document: dict[str, Any]) -> Response:
    return Response(_json(document), media_type="application/json")
