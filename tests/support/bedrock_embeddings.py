"""Embedding models of the stand-in for Bedrock, which refuse what Titan, Nova and Cohere refuse, in their words.

After "Amazon Titan Text Embeddings" and "Cohere Embed" of Bedrock's user guide, and Nova's "Complete embeddings request
and response schema", as of 2026-11.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from json import dumps
from typing import Any

PURPOSES_OF_NOVA = ("GENERIC_INDEX", "GENERIC_RETRIEVAL", "TEXT_RETRIEVAL", "CLASSIFICATION", "CLUSTERING")
PURPOSES = ("search_document", "search_query", "classification", "clustering")
REFORMAT = "please reformat your input and try again."


@dataclass
class Told:
    """The parts of answers with embeddings that a test may change."""

    counts: bool = True
    """Whether the head of an answer tells its tokens."""
    instead: list[bytes] = field(default_factory=list)
    """Bodies in the place of the next answers."""
    by_type: bool = True
    """Whether Cohere's embeddings are told by their type."""


def embedded(model: str, asked: dict[str, Any], told: Told) -> tuple[bytes, int | None, str]:
    """The body of an answer, the tokens of its head, and what is wrong with the request."""
    if "nova" in model:
        return _embedded_by_nova(asked, told)
    is_titan = ".titan-" in f".{model}"
    wrong = next(_faults_of_titan(model, asked) if is_titan else _faults_of_cohere(model, asked), "")
    texts = [asked["inputText"]] if is_titan and not wrong else asked.get("texts", [])
    tokens = sum(len(text.split()) for text in texts) if told.counts else None
    if told.instead:
        return told.instead.pop(0), tokens, wrong
    if wrong:
        return b"", None, wrong
    found = [numbers(text, size_of(model, asked)) for text in texts]
    if is_titan:
        return dumps({"embedding": found[0], "inputTextTokenCount": 99} | _again(model, found[0])).encode(), tokens, ""
    kind = "embeddings_by_type" if told.by_type else "embeddings_floats"
    shown = {"float": found} if told.by_type else found
    return dumps({"id": "x", "texts": texts, "response_type": kind, "embeddings": shown}).encode(), tokens, ""


def _embedded_by_nova(asked: dict[str, Any], told: Told) -> tuple[bytes, int | None, str]:
    wrong = next(_faults_of_nova(asked), "")
    if wrong:
        return b"", None, wrong
    params = asked["singleEmbeddingParams"]
    text = params["text"]["value"]
    tokens = len(text.split()) if told.counts else None
    if told.instead:
        return told.instead.pop(0), tokens, ""
    found = numbers(text, params.get("embeddingDimension", 3072))
    shown = {"embeddings": [{"embeddingType": "TEXT", "embedding": found}], "requestId": "x"}
    return dumps(shown).encode(), tokens, ""


def numbers(text: str, size: int) -> list[float]:
    """The embedding of a text: no other one has the same."""
    return [len(text) + 0.5, *(float(ord(letter)) for letter in text[: size - 1]), *[0.25] * (size - 1 - len(text))]


def size_of(model: str, asked: dict[str, Any]) -> int:
    """The numbers of an embedding."""
    if "titan-embed-text-v2" in model:
        return int(asked.get("dimensions", 1024))
    if "titan-embed-image" in model:
        return int(asked.get("embeddingConfig", {}).get("outputEmbeddingLength", 1024))
    if "cohere.embed-v4" in model:
        return int(asked.get("output_dimension", 1536))
    return 1024 if "cohere" in model else 1536


def _again(model: str, vector: list[float]) -> dict[str, Any]:
    return {"embeddingsByType": {"float": vector}} if "-v2" in model else {}


def _faults_of_titan(model: str, asked: dict[str, Any]) -> Iterator[str]:
    known = {"inputText"}
    if "-v2" in model:
        known |= {"dimensions", "normalize", "embeddingTypes"}
    if "-image-" in model:
        known |= {"embeddingConfig", "inputImage"}
    for name in asked.keys() - known:
        yield f"Malformed input request: #: extraneous key [{name}] is not permitted, {REFORMAT}"
    text = asked.get("inputText")
    if not isinstance(text, str) or not text:
        yield f"Malformed input request: #/inputText: expected type: String, {REFORMAT}"
    elif len(text.split()) > 8192:
        yield f"400 Bad Request: Too many input tokens. Max input tokens: 8192, request input token count: {len(text)}"
    if size_of(model, asked) not in (256, 384, 512, 1024, 1536):
        yield "400 Bad Request: dimensions"


def _faults_of_nova(asked: dict[str, Any]) -> Iterator[str]:
    for name in asked.keys() - {"schemaVersion", "taskType", "singleEmbeddingParams"}:
        yield f"Malformed input request: #: extraneous key [{name}] is not permitted, {REFORMAT}"
    if asked.get("taskType") != "SINGLE_EMBEDDING":
        yield f"Malformed input request: #/taskType: is not a valid enum value, {REFORMAT}"
    params = asked.get("singleEmbeddingParams", {})
    for name in params.keys() - {"embeddingPurpose", "embeddingDimension", "text"}:
        yield f"Malformed input request: #/singleEmbeddingParams: extraneous key [{name}] is not permitted, {REFORMAT}"
    if params.get("embeddingPurpose") not in PURPOSES_OF_NOVA:
        yield f"Malformed input request: #/singleEmbeddingParams/embeddingPurpose: is no valid enum value, {REFORMAT}"
    if params.get("embeddingDimension", 3072) not in (256, 384, 1024, 3072):
        yield f"Malformed input request: #/singleEmbeddingParams/embeddingDimension: is no valid enum value, {REFORMAT}"
    text = params.get("text", {})
    if text.get("truncationMode") not in ("START", "END", "NONE"):
        yield f"Malformed input request: #/singleEmbeddingParams/text/truncationMode: is required, {REFORMAT}"
    if len(text.get("value", "")) > 8192 and text["truncationMode"] == "NONE":
        wrong = f"#/singleEmbeddingParams/text/value: expected maxLength: 8192, actual: {len(text['value'])}"
        yield f"Malformed input request: {wrong}, {REFORMAT}"


def _faults_of_cohere(model: str, asked: dict[str, Any]) -> Iterator[str]:
    known = {"texts", "input_type", "embedding_types", "truncate"}
    if "-v4" in model:
        known |= {"output_dimension", "max_tokens"}
    for name in asked.keys() - known:
        yield f"Malformed input request: #: extraneous key [{name}] is not permitted, {REFORMAT}"
    texts = asked.get("texts")
    if not isinstance(texts, list) or not 1 <= len(texts) <= 96:
        yield f"Malformed input request: #/texts: expected maximum item count: 96, {REFORMAT}"
    elif "-v3" in model:
        for place, text in enumerate(texts):
            if len(text) > 2048:
                wrong = f"#/texts/{place}: expected maxLength: 2048, actual: {len(text)}"
                yield f"Malformed input request: {wrong}, {REFORMAT}"
    if asked.get("input_type") not in PURPOSES:
        yield f"Malformed input request: #/input_type: is not a valid enum value, {REFORMAT}"
