"""Checks of the lines of an input file, which run in the worker processes of `server.json_input`.

So this module imports the standard library and modules that import no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from server.api.models.request_body import LONGEST_NAME
from server.http.body_checks import wrong
from server.json_input.strict import Document, InvalidJson, Json, parse_json

LONGEST_LINE: Final = 10 * 1024 * 1024
"""Bytes of one line, as those of a JSON body."""

LONGEST_ID: Final = 512
"""Characters of a `custom_id`."""

MOST_TOGETHER: Final = 500
"""Lines that a worker process reports at a time."""

ENOUGH: Final = 256 * 1024
"""Bytes after which a worker process reports."""

INVALID_LINE: Final = "invalid_json_line"
TOO_LARGE: Final = "line_too_large"

_BLANKS: Final = b" \t\r\n"


@dataclass(slots=True)
class Found:
    """What is reported of some lines, as lists, so that it may cross a process as JSON.

    An item of `lines` is the number of a line, from 0, its `custom_id`, both ends of its body, and true where it asks
    for a stream. One of `errors` is the number of a line, a code, a sentence and a member. `blank` holds the numbers
    of blank lines, of which only the first of several in a row; `ends` is the number of the last line that is not
    blank, -1 if there is none. `models` are those that the lines ask for, or two of them. Places are counted from the
    beginning of the lines.
    """

    lines: list[tuple[int, str, int, int, bool]]
    errors: list[tuple[int, str, str, str | None]]
    blank: list[int]
    models: list[str]
    ends: int = -1


def look_at_lines(raw: bytes) -> Json:
    """Return what there is in the lines of `raw`, of which the first is the endpoint of the batch.

    `size`, in bytes, and `count` say how much was read: the rest is for another call. Line ends separate the lines.
    """
    begin = raw.index(b"\n") + 1
    endpoint = raw[: begin - 1].decode()
    found, place, number = Found([], [], [], []), begin, 0
    while place < len(raw) and place - begin < ENOUGH and len(found.lines) + len(found.errors) < MOST_TOGETHER:
        blank, place_behind = _blank_lines(raw, place)
        if blank:
            found.blank.append(number)
            place, number = place_behind, number + blank
            continue
        end = raw.find(b"\n", place)
        end = len(raw) if end < 0 else end
        found.ends = number
        _note(found, number, raw[place:end], place - begin, endpoint)
        place, number = end + 1, number + 1
    return {
        "lines": found.lines,
        "errors": found.errors,
        "blank": found.blank,
        "models": found.models,
        "ends": found.ends,
        "size": min(place, len(raw)) - begin,
        "count": number,
    }


def _blank_lines(raw: bytes, place: int) -> tuple[int, int]:
    """Return the number of blank lines from `place` on, and the place behind them."""
    if raw[place] not in _BLANKS:
        return 0, place
    ahead = raw[place:]
    blanks = ahead[: len(ahead) - len(ahead.lstrip(_BLANKS))]
    if place + len(blanks) == len(raw):
        return blanks.count(b"\n") + (not blanks.endswith(b"\n")), len(raw)
    return blanks.count(b"\n"), place + blanks.rfind(b"\n") + 1


def _note(found: Found, number: int, line: bytes, place: int, endpoint: str) -> None:
    try:
        document = _read(line)
        identity = _check(document.members, endpoint)
        spot = document.places({"body"})["body"]
    except MemoryError:
        sentence = "the line holds more values than the server reads"
        found.errors.append((number, TOO_LARGE, sentence, None))
        return
    except InvalidJson as fault:
        found.errors.append((number, fault.code or INVALID_LINE, fault.message, fault.param))
        return
    body = document.members["body"]
    if len(found.models) < 2 and body["model"] not in found.models:
        found.models.append(body["model"])
    found.lines.append((number, identity, place + spot.start, place + spot.end, body.get("stream") is True))


def _read(line: bytes) -> Document:
    """Return the object that a line means, read as a body of a request is; raises InvalidJson."""
    if len(line) > LONGEST_LINE:
        raise too_long()
    try:
        return parse_json(line)
    except InvalidJson as fault:
        sentence = fault.message.replace("the body", "the line").replace("at line 1 column", "at column")
        raise InvalidJson(sentence, code=INVALID_LINE) from None


def too_long() -> InvalidJson:
    """Return the refusal of a line that is too long."""
    return InvalidJson(f"the line is larger than {LONGEST_LINE} bytes", code=TOO_LARGE)


def _check(line: Json, endpoint: str) -> str:
    """Return the `custom_id` of a line; raise InvalidJson for one that is no request to the endpoint."""
    identity: str = _member(line, "custom_id")
    if type(identity) is not str or not 0 < len(identity) <= LONGEST_ID or "\0" in identity:
        raise wrong("custom_id", f"must be a text of 1 to {LONGEST_ID} characters without a NUL")
    if _member(line, "method") != "POST":
        raise InvalidJson("`method` must be `POST`", "method", "invalid_method")
    if _member(line, "url") != endpoint:
        raise InvalidJson(f"`url` must be `{endpoint}`, the endpoint of the batch", "url", "url_mismatch")
    body = _member(line, "body")
    if type(body) is not dict:
        raise wrong("body", "must be an object")
    model = _member(body, "model", "body.")
    if type(model) is not str or not 0 < len(model) <= LONGEST_NAME:
        raise wrong("body.model", f"must be a text of 1 to {LONGEST_NAME} characters")
    return identity


def _member(holder: Json, name: str, place: str = "") -> Any:
    if name not in holder:
        raise InvalidJson(f"the line has no `{place}{name}`", f"{place}{name}", "missing_required_parameter")
    return holder[name]
