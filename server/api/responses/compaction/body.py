"""The body of a request for a compaction, and a look at the items that are to be compacted.

The checks may run in a worker process, so this module imports the standard library, `server.json_input` and modules
that import no more than these.
"""

from __future__ import annotations

from typing import Final

from server.api.models.asked_shields import check_unshielded
from server.api.responses.body import MOST_ITEMS, built_response, read_response
from server.json_input.body_parser import BodyParser
from server.json_input.strict import Document, Json

_READ: Final = ("model", "input", "previous_response_id", "instructions", "prompt_cache_key")


def read_compaction(document: Document) -> Json:
    """Return what `read_response` returns of a body for a compaction, which is never stored; raises InvalidJson."""
    check_unshielded(document.members)
    body = {name: value for name, value in document.members.items() if name in _READ}
    return read_response(Document({**body, "store": False}, document.raw))


COMPACTION: Final = BodyParser(read_compaction, built_response)


def read_said_by_users(document: Document) -> Json:
    """Return the places of the messages of users among `items`."""
    items = document.members["items"]
    places = [place for place, item in enumerate(items) if item["type"] == "message" and item["role"] == "user"]
    return {"places": places[:MOST_ITEMS]}
