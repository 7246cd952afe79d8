"""Embeddings of `inline::echo`: numbers that look random and are determined by the text alone.

Equal texts have equal embeddings, of length 1. With `dimensions` an embedding is the beginning of the whole one,
divided by its length. A token is a word, or a token id.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from functools import partial
from hashlib import sha256, shake_256
from json import dumps
from math import fsum, sqrt
from typing import TYPE_CHECKING, Any, Final

from server.inference.answers.vectors import Vector, as_base64, as_numbers, written
from server.inference.provider import ChatRequest, ChatStream, Counted, Fault, Pieces, ProviderFailed, Wanted
from server.json_input.strict import Document, InvalidJson, Json, Why

if TYPE_CHECKING:
    # The processes that read large bodies import this module, and little else.
    from server.inference.providers.vector_answers import VectorRoom
    from server.json_input.reader import Reader

DIMENSIONS: Final = 256
"""Numbers of an embedding where neither the model's metadata nor the request says how many."""

MOST_DIMENSIONS: Final = 3072
"""Numbers of an embedding."""

_MIDDLE: Final = 32767.5


class EchoVectors:
    """Makes embeddings of what `reader` reads of each request; large answers take turns in `room`."""

    def __init__(self, reader: Reader, room: VectorRoom) -> None:
        self._reader = reader
        self._room = room

    async def complete(self, request: ChatRequest) -> Pieces:
        """Return the embeddings."""
        wanted = request.wanted or Wanted(1)
        size = wanted.dimensions or wanted.full or DIMENSIONS
        if size > MOST_DIMENSIONS:
            sentence = f"`dimensions` must be at most {MOST_DIMENSIONS}"
            raise ProviderFailed(Fault.REQUEST, sentence, code="invalid_value", param="dimensions")
        try:
            found = await self._reader.look(request.payload, look_for_seeds)
        except InvalidJson as refusal:
            fault = Fault.BUSY if refusal.why is Why.BUSY else Fault.REQUEST
            raise ProviderFailed(fault, refusal.message, code=refusal.code, param=refusal.param) from None
        return await self._room.made(wanted, size, partial(_made, request.model_id, wanted, size, **found))

    async def stream(self, request: ChatRequest) -> ChatStream:
        """Raise, since embeddings are not streamed."""
        raise ProviderFailed(Fault.REQUEST, "embeddings are not streamed")


def look_for_seeds(document: Document) -> Json:
    """Return a digest of each input, and the number of tokens. May run in a worker process."""
    given = document.members["input"]
    inputs = given if type(given) is list and type(given[0]) is not int else [given]
    return {"seeds": [_seed(each) for each in inputs], "tokens": sum(map(_tokens, inputs))}


def _seed(given: Any) -> str:
    # As JSON, so that a text and token ids are never the same.
    return sha256(dumps(given).encode()).hexdigest()


def _tokens(given: Any) -> int:
    return len(given) if type(given) is list else len(given.split()) or 1


def _made(model_id: str, wanted: Wanted, size: int, seeds: list[str], tokens: int) -> Counted:
    found = _vectors(seeds, size, in_base64=wanted.base64)
    return written(found, model_id, wanted, {"prompt_tokens": tokens, "total_tokens": tokens})


def _vectors(seeds: list[str], size: int, *, in_base64: bool) -> Iterator[tuple[int, Vector, bytes]]:
    for index, seed in enumerate(seeds):
        vector = vector_of(seed, size)
        yield index, vector, as_base64(vector) if in_base64 else as_numbers(vector)


def vector_of(seed: str, size: int) -> Vector:
    """Return the first `size` numbers that a seed determines, divided by their length; 32 bits each."""
    # No number is 0, and a shorter digest is the beginning of a longer one.
    numbers = array("H", shake_256(seed.encode()).digest(2 * size))
    shifted = [number - _MIDDLE for number in numbers]
    length = sqrt(fsum(number * number for number in shifted))
    return array("f", [number / length for number in shifted])
