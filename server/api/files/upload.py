"""Reading an upload: a form with one file, which goes to its store while it comes in."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.types import Receive

from server.api.files.filenames import plain_name
from server.api.files.store import Upload
from server.http.errors import ApiError, ClientGone, invalid
from server.http.multipart import SLICE, FormReader, PartBegins, PartEnds, PartEvent
from server.json_input.strict import InvalidJson, parse_json

PURPOSES: Final = ("assistants", "batch", "evals", "fine-tune", "user_data", "vision")
"""The purposes that an upload may have."""

FORM_BYTES: Final = 64 * 1024
"""Bytes of a form beside its file: boundaries, heads and fields."""

STALL_SECONDS: Final = 30.0
"""Seconds for which a client may send nothing of an upload."""

GRACE_SECONDS: Final = 60.0
SLOWEST: Final = 16 * 1024
"""Bytes per second that a client must send on average, after the first `GRACE_SECONDS`."""

LEAST_LIFETIME: Final = 3600
MOST_LIFETIME: Final = 30 * 24 * 3600
"""Seconds after which a file may expire."""

_LIFETIMES: Final = {"batch": MOST_LIFETIME}
"""Seconds after which files expire whose uploads don't say it, by purpose; others are kept for good."""

_LONGEST_FIELD: Final = 64
_LONGEST_JSON: Final = 256
_NUMBER: Final = re.compile("[0-9]{1,9}")
_MEDIA_TYPE: Final = re.compile(r"[a-z0-9!#$&^_.+-]{1,63}/[a-z0-9!#$&^_.+-]{1,63}")
_CHARSET: Final = re.compile(
    r""";[ \t]{0,8}charset=["']?([a-z][a-z0-9_.:+-]{0,39})["']?[ \t]{0,8}(?:;|$)""", re.IGNORECASE
)
_ANCHOR: Final = "expires_after[anchor]"
_SECONDS: Final = "expires_after[seconds]"
_EXPIRES: Final = "expires_after"
_FIELDS: Final = ("purpose", _ANCHOR, _SECONDS, _EXPIRES)
_CLOSE: Final = {"Connection": "close"}


@dataclass(frozen=True, slots=True)
class UploadForm:
    """The fields of an upload; `lifetime` is in seconds, None if the file does not expire.

    `charset` is what the content type says of a text, None if it says nothing.
    """

    filename: str
    content_type: str | None
    charset: str | None
    purpose: str
    lifetime: int | None


class UploadTurns:
    """Lets one upload after the other have more of its bytes, so that other requests get a turn between them.

    Else many uploads at once would each hand over what has come in the meantime, all in one turn.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def enter(self) -> None:
        """Return when it is this one's turn."""
        async with self._lock:
            await asyncio.sleep(0)


async def read_upload(request: Request, upload: Upload, most: int, lane: UploadTurns) -> UploadForm:
    """Write the form's file of 1 to `most` bytes to `upload`, and return the form's fields.

    Raises the ApiError that says what is wrong, BlobsUnavailable, StorageExceeded, and ClientGone.
    """
    headers = request.headers
    if headers.get("content-encoding", "identity") != "identity":
        raise ApiError(415, "send the body without `Content-Encoding`; compressed ones are not read")
    reader = FormReader(headers.get("content-type", ""))
    least = int(headers.get("content-length", "0")) - FORM_BYTES
    if least > most:
        raise _too_large(most)
    await upload.check_room(max(1, least))
    form = _Form(upload, most)
    async for piece in _slices(request.receive, most, lane):
        for event in reader.feed(piece):
            await form.take(event)
    reader.finish()
    return form.described()


async def _slices(receive: Receive, most: int, lane: UploadTurns) -> AsyncIterator[bytes]:
    """Yield the body in pieces that are quickly parsed. A client that is too slow is told so; waiting for us is not
    slow.
    """
    size, waited, more = 0, 0.0, True
    while more:
        await lane.enter()
        allowed = min(STALL_SECONDS, GRACE_SECONDS + size / SLOWEST - waited)
        began = time.monotonic()
        try:
            async with asyncio.timeout(allowed):
                message = await receive()
        except TimeoutError:
            raise ApiError(408, "the upload came too slowly, and nothing of it is kept", headers=_CLOSE) from None
        waited += time.monotonic() - began
        if message["type"] == "http.disconnect":
            raise ClientGone
        part, more = message.get("body", b""), message.get("more_body", False)
        size += len(part)
        if size > most + FORM_BYTES:
            raise _too_large(most)
        for start in range(0, len(part), SLICE):
            yield part[start : start + SLICE]
            await asyncio.sleep(0)  # other requests come first


class _Form:
    """The parts of an upload as they come; each may come once, in any order."""

    def __init__(self, upload: Upload, most: int) -> None:
        self._upload = upload
        self._most = most
        self._file: PartBegins | None = None
        self._filename = ""
        self._fields: dict[str, str] = {}
        self._current = ""
        self._value = b""

    async def take(self, event: PartEvent) -> None:
        """Go on with what comes next; raises the ApiError that says what is wrong with it."""
        match event:
            case PartBegins():
                self._begin(event)
            case PartEnds():
                self._end()
            case _ if self._current == "file":
                if self._upload.size + len(event) > self._most:
                    raise _too_large(self._most)
                await self._upload.write(event)
            case _:
                self._value += event
                if len(self._value) > (_LONGEST_JSON if self._current == _EXPIRES else _LONGEST_FIELD):
                    raise invalid(f"`{self._current}` is too long", self._current, "invalid_value")

    def described(self) -> UploadForm:
        """Return the fields of the whole form; raises the ApiError that tells which is missing."""
        if self._file is None:
            raise invalid("the form has no `file`", "file", "missing_required_parameter")
        if not self._upload.size:
            raise invalid("`file` is empty", "file", "invalid_value")
        if "purpose" not in self._fields:
            raise invalid("the form has no `purpose`", "purpose", "missing_required_parameter")
        media_type, _, parameters = (self._file.content_type or "").partition(";")
        media_type = media_type.strip().lower()
        charset = _CHARSET.search(f";{parameters}")
        return UploadForm(
            self._filename,
            media_type if _MEDIA_TYPE.fullmatch(media_type) else None,
            None if charset is None else charset[1].lower(),
            self._fields["purpose"],
            self._lifetime(),
        )

    def _begin(self, part: PartBegins) -> None:
        name = part.name
        if name not in ("file", *_FIELDS):
            shown = name if len(name) <= _LONGEST_FIELD else f"{name[:_LONGEST_FIELD]}…"
            raise invalid(f"`{shown}` is not known here; leave it out", shown, "unknown_parameter")
        if name in self._fields or (name == "file" and self._file is not None):
            raise invalid(f"`{name}` comes twice", name, "invalid_value")
        if (name == "file") is not (part.filename is not None):
            wanted = "must be a file, with a `filename`" if name == "file" else "must be a field, not a file"
            raise invalid(f"`{name}` {wanted}", name, "invalid_value")
        if part.filename is not None:
            self._file, self._filename = part, plain_name(part.filename)
        self._current, self._value = name, b""

    def _end(self) -> None:
        if self._current == "file":
            return
        value = self._value.decode("utf-8", "replace")
        self._fields[self._current] = value
        if self._current == "purpose" and value not in PURPOSES:
            known = ", ".join(f"`{purpose}`" for purpose in PURPOSES)
            raise invalid(f"`purpose` must be one of {known}", "purpose", "invalid_value")

    def _expiry(self) -> tuple[str | None, str | None]:
        """Return the anchor and the seconds, from two fields or from one."""
        anchor, seconds, both = (self._fields.get(name) for name in (_ANCHOR, _SECONDS, _EXPIRES))
        if both is None or both == "null":
            return anchor, seconds
        if anchor is not None or seconds is not None:
            raise invalid(f"`{_EXPIRES}` comes twice", _EXPIRES, "invalid_value")
        return _in_one(both)

    def _lifetime(self) -> int | None:
        anchor, seconds = self._expiry()
        if anchor is None and seconds is None:
            return _LIFETIMES.get(self._fields["purpose"])
        if anchor != "created_at":
            raise invalid(f"`{_ANCHOR}` must be `created_at`", _ANCHOR, "invalid_value")
        if seconds is None or not _NUMBER.fullmatch(seconds) or not LEAST_LIFETIME <= int(seconds) <= MOST_LIFETIME:
            demand = f"must be a whole number from {LEAST_LIFETIME} to {MOST_LIFETIME}"
            raise invalid(f"`{_SECONDS}` {demand}", _SECONDS, "invalid_value")
        return int(seconds)


def _in_one(text: str) -> tuple[str | None, str | None]:
    """Return the two values of an `expires_after` that comes as one field of JSON; raises the ApiError about it."""
    try:
        found = parse_json(text.encode()).members
    except InvalidJson:
        found = {}
    if found.keys() != {"anchor", "seconds"} or type(found["seconds"]) is not int:
        demand = "must be an object of JSON with `anchor` and `seconds`, or two fields"
        raise invalid(f"`{_EXPIRES}` {demand}", _EXPIRES, "invalid_value")
    return str(found["anchor"]), str(found["seconds"])


def _too_large(most: int) -> ApiError:
    return ApiError(413, f"the file is larger than {most} bytes", param="file")
