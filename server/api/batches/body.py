"""The body of a request for a batch.

The check may run in a worker process, so this module imports the standard library, `server.json_input` and modules
that import no more than these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from server.http.body_checks import known_members, metadata_of, missing, text_at, wrong
from server.json_input.body_parser import BodyParser
from server.json_input.strict import Document, Json

WINDOW: Final = "24h"
"""The one window in which a batch may be asked to be answered."""

ENDPOINTS: Final = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses")
"""The routes that the lines of a batch may ask for."""

LEAST_LIFETIME: Final = 3600
MOST_LIFETIME: Final = 30 * 24 * 3600
"""Seconds after which the files that a batch makes may expire."""

_LONGEST_ID: Final = 256
_EXPIRES: Final = "output_expires_after"
_MEMBERS: Final = ("input_file_id", "endpoint", "completion_window", "metadata", _EXPIRES)


@dataclass(frozen=True, slots=True)
class CreateBatch:
    """A batch to be made; `lifetime` is that of the files that it makes, in seconds, None for the usual one."""

    input_file_id: str
    endpoint: str
    metadata: dict[str, str] | None
    lifetime: int | None


def read_create(document: Document) -> Json:
    """Return the members of `CreateBatch`; raises InvalidJson."""
    body = document.members
    known_members(body, _MEMBERS)
    endpoint = text_at(body, "endpoint", "")
    if endpoint not in ENDPOINTS:
        raise wrong("endpoint", f"must be one of {', '.join(f'`{name}`' for name in ENDPOINTS)}")
    if text_at(body, "completion_window", "") != WINDOW:
        raise wrong("completion_window", f"must be `{WINDOW}`")
    return {
        "input_file_id": text_at(body, "input_file_id", "", _LONGEST_ID),
        "endpoint": endpoint,
        "metadata": None if body.get("metadata") is None else metadata_of(body),
        "lifetime": _lifetime(body.get(_EXPIRES)),
    }


def _lifetime(value: Any) -> int | None:
    if value is None:
        return None
    if type(value) is not dict:
        raise wrong(_EXPIRES, "must be an object with `anchor` and `seconds`")
    known_members(value, ("anchor", "seconds"), _EXPIRES)
    for name in ("anchor", "seconds"):
        if name not in value:
            raise missing(f"{_EXPIRES}.{name}")
    if value["anchor"] != "created_at":
        raise wrong(f"{_EXPIRES}.anchor", "must be `created_at`")
    seconds = value["seconds"]
    if type(seconds) is not int or not LEAST_LIFETIME <= seconds <= MOST_LIFETIME:
        raise wrong(f"{_EXPIRES}.seconds", f"must be a whole number from {LEAST_LIFETIME} to {MOST_LIFETIME}")
    return seconds


CREATE_BATCH: Final = BodyParser(read_create, CreateBatch)
