"""The members of a request for embeddings that this server reads; the provider reads the others.

The checks may run in a worker process, so this module imports the standard library, `server.json_input` and modules
that import no more than these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from server.api.models.asked_shields import check_unshielded
from server.api.models.inputs import inputs_of
from server.api.models.request_body import ModelBody, built, check_spelling, cost_told, read_model
from server.http.body_checks import missing, wrong
from server.json_input.body_parser import BodyParser
from server.json_input.strict import Document, InvalidJson, Json

OWN: Final = frozenset({"dimensions", "encoding_format", "input", "input_type"})
"""Members that chats haven't got."""

_READ_HERE: Final = frozenset({"model", "input", "encoding_format", "dimensions", "stream"})
_FORMATS: Final = ("float", "base64")


@dataclass(frozen=True, slots=True)
class EmbeddingsBody(ModelBody):
    """The body of a request for `count` embeddings, in base64 or as numbers; `dimensions` may be None."""

    count: int = 1
    base64: bool = False
    dimensions: int | None = None


def read_embeddings(document: Document) -> Json:
    """Return the members of an EmbeddingsBody; raises InvalidJson with the place of what is wrong."""
    return _read(document)[0]


def read_costed_embeddings(document: Document) -> Json:
    """Return what `read_embeddings` returns, and the cost."""
    told, tokens = _read(document)
    return told | {"cost": cost_told(tokens, tokens)}


def _read(document: Document) -> tuple[Json, int]:
    body = document.members
    check_spelling(body, _READ_HERE)
    check_unshielded(body)
    told = read_model(document, OWN)
    if "input" not in body:
        raise missing("input")
    inputs = inputs_of(body["input"], "input", may_be_empty=False)
    form = body.get("encoding_format", "float")
    if form not in (*_FORMATS, None):
        raise wrong("encoding_format", "must be `float` or `base64`")
    dimensions = body.get("dimensions")
    if dimensions is not None and (type(dimensions) is not int or dimensions < 1):
        raise wrong("dimensions", "must be a whole number above 0")
    if body.get("stream"):
        raise InvalidJson("embeddings are not streamed; leave `stream` out", "stream", "unsupported_parameter")
    return {**told, "count": inputs.count, "base64": form == "base64", "dimensions": dimensions}, inputs.tokens


def embeddings_body(cost: Json | None = None, found: Json | None = None, **members: Any) -> EmbeddingsBody:
    """Return the body of which a check has returned these members."""
    return EmbeddingsBody(**members, **built(cost, found))


EMBEDDINGS: Final = BodyParser(read_embeddings, embeddings_body)
COSTED_EMBEDDINGS: Final = BodyParser(read_costed_embeddings, embeddings_body)
"""As `EMBEDDINGS`, with the cost."""
