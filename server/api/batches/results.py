"""The lines of the files that a batch makes."""

from __future__ import annotations

from json import dumps
from secrets import token_hex
from typing import Final, NamedTuple

from server.api.batches.usage import NOTHING, Usage
from server.http.errors import ApiError

EXPIRED: Final = "batch_expired"
CANCELLED: Final = "batch_cancelled"
INTERRUPTED: Final = "batch_interrupted"
FULL: Final = "insufficient_quota"
"""The codes of lines that have no answer: the window was over, the batch was cancelled, a server was stopped, the owner
may keep no more.
"""

REASONS: Final = {
    EXPIRED: "this line could not be answered before the window of the batch was over; send it again",
    CANCELLED: "the batch was cancelled before this line was answered",
    INTERRUPTED: "the server was stopped with this line under way: it may have been spent; send it again if needed",
    FULL: "there is no room for an answer within what you may keep; delete something, and send this line again",
}

# Clients divide the text into lines: nothing but the end of a line may look like one. Inside of a JSON text, the first
# two stand between values, and the others in strings.
_LINE_ENDS: Final = (
    (b"\n", b" "),
    (b"\r", b" "),
    ("\x85".encode(), b"\\u0085"),
    ("\u2028".encode(), b"\\u2028"),
    ("\u2029".encode(), b"\\u2029"),
)


class Result(NamedTuple):
    """The result of the line at `place`: one line of the output file, or of the error file if it `is_error`.

    `custom_id` is the name of the line, and `usage` what its answer tells of tokens.
    """

    place: int
    custom_id: str
    is_error: bool
    text: bytes
    usage: Usage = NOTHING


def answered(place: int, custom_id: str, status: int, request_id: str, body: bytes) -> Result:
    """Return the result of a line that was answered with a status, and a body of JSON."""
    for end, other in _LINE_ENDS:
        if end in body:
            body = body.replace(end, other)
    head = _head(custom_id)
    text = b'{%b,"response":{"status_code":%d,"request_id":%b,"body":%b},"error":null}\n' % (
        head,
        status,
        dumps(request_id).encode(),
        body or b"null",
    )
    return Result(place, custom_id, status >= 400, text)


def refused(place: int, custom_id: str, error: ApiError, request_id: str) -> Result:
    """Return the result of a line that is refused before it is begun."""
    return answered(place, custom_id, error.status, request_id, error.body)


def unanswered(place: int, custom_id: str, code: str) -> Result:
    """Return the result of a line that has no answer for the reason of that code."""
    error = dumps({"code": code, "message": REASONS[code]}, separators=(",", ":")).encode()
    return Result(place, custom_id, True, b'{%b,"response":null,"error":%b}\n' % (_head(custom_id), error))


def error_size(custom_id: str) -> int:
    """Return the bytes that the result of a line without an answer takes at most."""
    return _LONGEST + len(dumps(custom_id)) - len(dumps(""))


def _head(custom_id: str) -> bytes:
    return f'"id":"batch_req_{token_hex(16)}","custom_id":{dumps(custom_id)}'.encode()


_LONGEST: Final = max(len(unanswered(0, "", code).text) for code in REASONS)
