"""Embedding models of Bedrock: the bodies of their requests and answers, each family's own.

After Bedrock's user guide, "Amazon Titan Text Embeddings", "Amazon Titan Multimodal Embeddings G1" and "Cohere Embed",
and Nova's, "Complete embeddings request and response schema", as of 2026-11.
"""

from __future__ import annotations

import re
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from server.inference.answers.model_name import json_entries, json_members
from server.inference.answers.plain import NotAnAnswer, decoded, encoded
from server.inference.answers.vectors import BadVectors, Vector, as_base64
from server.inference.providers.bedrock.parts import NotConverse
from server.json_input.strict import Json

MOST_NUMBERS: Final = 3072
"""Numbers of an embedding of any of these models."""

_LONGEST_NUMBER: Final = 32
_ESCAPED: Final = 3
"""Bytes for each one of a text whose characters are all escaped."""

_AROUND: Final = 64 * 1024
_NUMBERS: Final = {int, float}
_PURPOSES: Final = {
    "search_document": "search_document",
    "document": "search_document",
    "passage": "search_document",
    "search_query": "search_query",
    "query": "search_query",
    "classification": "classification",
    "clustering": "clustering",
}

_PURPOSES_OF_NOVA: Final = {
    "search_document": "GENERIC_INDEX",
    "search_query": "TEXT_RETRIEVAL",
    "classification": "CLASSIFICATION",
    "clustering": "CLUSTERING",
}


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """One model, or models that are asked in one way.

    `sizes` are the numbers of dimensions that it can make, and `size_in` the path of the member that says which one;
    without it there is one size alone. A request has `most` texts, and `body` makes the request of some texts, for a
    purpose. `list_in` names the member of an answer that holds one embedding, or `many` of them, each `inside` of an
    object where it has such a member.
    """

    name: re.Pattern[str]
    sizes: tuple[int, ...]
    most: int
    body: Callable[[Sequence[str], str], Json]
    list_in: str
    many: bool = False
    inside: str = ""
    size_in: tuple[str, ...] = field(default=())

    def largest_answer(self, asked: int) -> int:
        """Return the bytes of an answer to a request of `asked` bytes: numbers and texts may come twice."""
        return self.most * max(self.sizes) * 2 * _LONGEST_NUMBER + _ESCAPED * asked + _AROUND


def _of_titan(texts: Sequence[str], _purpose: str) -> Json:
    return {"inputText": texts[0]}


def _of_cohere(texts: Sequence[str], purpose: str) -> Json:
    return {"texts": [*texts], "input_type": purpose, "embedding_types": ["float"]}


def _of_nova(texts: Sequence[str], purpose: str) -> Json:
    # What is too long is refused: an embedding of the beginning of a text looks like that of the whole.
    text = {"truncationMode": "NONE", "value": texts[0]}
    asked = {"embeddingPurpose": _PURPOSES_OF_NOVA[purpose], "text": text}
    return {"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": asked}


def _named(name: str) -> re.Pattern[str]:
    """Return the pattern for a name with or without what stands before it: an ARN, the region of a profile."""
    return re.compile(rf"(?:.*[./])?{re.escape(name)}")


MODELS: Final = (
    EmbeddingModel(
        _named("amazon.titan-embed-text-v2"), (1024, 512, 256), 1, _of_titan, "embedding", size_in=("dimensions",)
    ),
    EmbeddingModel(_named("amazon.titan-embed-text-v1"), (1536,), 1, _of_titan, "embedding"),
    EmbeddingModel(_named("amazon.titan-embed-g1-text"), (1536,), 1, _of_titan, "embedding"),
    EmbeddingModel(
        _named("amazon.titan-embed-image-v1"),
        (1024, 384, 256),
        1,
        _of_titan,
        "embedding",
        size_in=("embeddingConfig", "outputEmbeddingLength"),
    ),
    EmbeddingModel(
        _named("amazon.nova-2-multimodal-embeddings"),
        (3072, 1024, 384, 256),
        1,
        _of_nova,
        "embeddings",
        many=True,
        inside="embedding",
        size_in=("singleEmbeddingParams", "embeddingDimension"),
    ),
    EmbeddingModel(
        _named("cohere.embed-v4"),
        (1536, 1024, 512, 256),
        96,
        _of_cohere,
        "embeddings",
        many=True,
        size_in=("output_dimension",),
    ),
    EmbeddingModel(_named("cohere.embed-english-v3"), (1024,), 96, _of_cohere, "embeddings", many=True),
    EmbeddingModel(_named("cohere.embed-multilingual-v3"), (1024,), 96, _of_cohere, "embeddings", many=True),
)


@dataclass(frozen=True, slots=True)
class Batch:
    """One request of `count` texts."""

    payload: bytes
    count: int


@dataclass(frozen=True, slots=True)
class Embedded:
    """One embedding, with its text in the form that the caller wants."""

    vector: Vector
    text: bytes


def model_of(name: str) -> EmbeddingModel:
    """Return the model of a name; raises NotConverse for one that isn't known."""
    found = next((model for model in MODELS if model.name.match(name)), None)
    if found is None:
        raise NotConverse("is no embedding model of Titan, Nova or Cohere", "model", "invalid_value")
    return found


def batches_of(model: EmbeddingModel, body: Json, dimensions: int | None) -> list[Batch]:
    """Return the requests for the body of a request for embeddings, in the order of its texts; raises NotConverse."""
    given = body["input"]
    texts = [given] if type(given) is str else given
    if not all(type(text) is str for text in texts):
        raise NotConverse("must be a text or a list of texts, since token ids are those of another tokenizer", "input")
    # It would be refused as a whole, with words that tell nothing.
    blank = next((place for place, text in enumerate(texts) if not text.strip()), None)
    if blank is not None:
        raise NotConverse(f"must hold no blank text; number {blank} is one", "input", "invalid_value")
    purpose = _purpose(body.get("input_type"))
    if dimensions is not None and dimensions not in model.sizes:
        raise NotConverse(f"must be one of {', '.join(map(str, sorted(model.sizes)))}", "dimensions")
    parts = [texts[start : start + model.most] for start in range(0, len(texts), model.most)]
    return [Batch(encoded(_sized(model, model.body(part, purpose), dimensions)), len(part)) for part in parts]


def _purpose(given: Any) -> str:
    if given is None:
        return "search_document"
    if type(given) is not str or given not in _PURPOSES:
        raise NotConverse(f"must be one of {', '.join(f'`{name}`' for name in _PURPOSES)}", "input_type")
    return _PURPOSES[given]


def _sized(model: EmbeddingModel, body: Json, wanted: int | None) -> Json:
    """Return the body with the member that says how many numbers an embedding has."""
    if wanted is None or not model.size_in:
        return body
    *outer, name = model.size_in
    holder = body
    for each in outer:
        holder = holder.setdefault(each, {})
    holder[name] = wanted
    return body


def embeddings_in(model: EmbeddingModel, text: bytes, count: int, *, base64: bool) -> list[Embedded]:
    """Return the embeddings of an answer, which are `count`; raises NotAnAnswer and BadVectors."""
    found = list[Embedded]()
    for raw in _lists(model, text):
        found.append(_embedded(raw, base64=base64))
        time.sleep(0)  # others may need the interpreter, which a thread keeps for 5 ms otherwise
    if len(found) != count:
        raise BadVectors(f"answered with {len(found)} embeddings for {count} inputs")
    return found


def _lists(model: EmbeddingModel, text: bytes) -> Iterator[bytes]:
    """Yield the embeddings of an answer as they are written there."""
    start, end = _member(text, model.list_in)
    if not model.many:
        yield text[start:end]
        return
    if text.startswith(b"{", start):
        # By type, of which one was asked for.
        text = text[start:end]
        start, end = _member(text, "float")
    if not text.startswith(b"[", start):
        raise NotAnAnswer
    for place, behind in json_entries(text, start):
        yield _inside(text[place:behind], model.inside) if model.inside else text[place:behind]


def _inside(entry: bytes, name: str) -> bytes:
    if not entry.startswith(b"{"):
        raise NotAnAnswer
    start, end = _member(entry, name)
    return entry[start:end]


def _member(text: bytes, name: str) -> tuple[int, int]:
    found = [(start, end) for quoted, start, end in json_members(text) if quoted == b'"%b"' % name.encode()]
    if not found:
        raise NotAnAnswer
    return found[-1]


def _embedded(raw: bytes, *, base64: bool) -> Embedded:
    numbers = decoded(b'{"numbers":%b}' % raw)["numbers"]
    if type(numbers) is not list or not {*map(type, numbers)} <= _NUMBERS or len(numbers) > MOST_NUMBERS:
        raise BadVectors(f"answered with an embedding that is no list of up to {MOST_NUMBERS} numbers")
    try:
        vector = array("d", numbers)
    except OverflowError:
        raise BadVectors("answered with an embedding that holds a number of more than 32 bits") from None
    return Embedded(vector, as_base64(vector) if base64 else raw)
