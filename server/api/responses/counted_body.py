"""The body of a request that counts the tokens of an input.

The check may run in a worker process, so this module imports the standard library, `server.json_input` and modules
that import no more than these.
"""

from __future__ import annotations

from typing import Final

from server.api.models.asked_shields import check_unshielded
from server.api.responses.body import built_response, read_response
from server.json_input.body_parser import BodyParser
from server.json_input.strict import Document, Json

_OF_THE_ANSWER: Final = ("background", "store", "stream")
"""Members that say how an answer comes and what becomes of it."""


def read_counted(document: Document) -> Json:
    """Return what `read_response` returns of a body whose input is counted and not answered; raises InvalidJson."""
    check_unshielded(document.members)
    body = {name: value for name, value in document.members.items() if name not in _OF_THE_ANSWER}
    return read_response(Document({**body, "store": False}, document.raw))


COUNTED: Final = BodyParser(read_counted, built_response)
