"""Embeddings that the server itself needs, asked for as the caller that it works for.

They go the way of `POST /v1/embeddings`: the policy lets the caller read the model, tokens are set aside and charged,
and usage is counted. Only the model itself is asked, never one of its `fallback` or `weights`: vectors of two models
can't be compared, and these vectors are kept.
"""

from __future__ import annotations

import sys
from array import array
from base64 import b64decode
from binascii import Error
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from json import dumps, loads
from math import isfinite
from pathlib import Path
from typing import Final

from server.api.models.asking import Asking
from server.api.models.catalogue import Catalogue, ProviderGone
from server.api.models.fingerprints import Fingerprints
from server.api.models.inputs import BYTES_OF_A_TOKEN, inputs_of
from server.api.models.model import Model
from server.api.models.request_body import MOST_COST, Cost, ModelBody
from server.api.models.routes import find_model, provider_gone
from server.authz.request_authorization import Gate
from server.http.errors import invalid
from server.inference.provider import Fault, Kind, Pieces, ProviderFailed, Task, Wanted
from server.storage.vectors.index import Vector

MOST_TEXTS: Final = 64
"""Texts that a provider is asked about in one request."""

MOST_BYTES: Final = 256 * 1024
"""Bytes of the texts of one request, unless one text has more."""

MOST_NUMBERS: Final = 64 * 1024
"""Numbers in the embeddings of one request, unless one embedding has more; reading them takes about a millisecond."""

_USUAL_DIMENSIONS: Final = 1024


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """A model that the caller may read, with the number of its dimensions and the most tokens of one text, where the
    configuration says them, and the file of its tokenizer, where the server has one. `fingerprint` tells it from
    another model that has its name later; None where that can't be known now.
    """

    model: Model
    dimensions: int | None
    most_tokens: int | None
    tokenizer: Path | None
    fingerprint: str | None = None

    @property
    def name(self) -> str:
        """The canonical name."""
        return self.model.name

    def check(self, text: str) -> None:
        """Raise the 400 for a text that the model would refuse or cut, as far as its size tells."""
        tokens = -(-len(text.encode(errors="replace")) // BYTES_OF_A_TOKEN)
        if self.most_tokens is not None and tokens > self.most_tokens:
            sentence = (
                f"the text has about {tokens} tokens, and the model `{self.name}` takes at most {self.most_tokens}: "
                "its maximum context length is exceeded"
            )
            raise invalid(sentence, "input", "context_length_exceeded")


class Embedder:
    """Makes embeddings for callers who pass their gate."""

    def __init__(self, asking: Asking, catalogue: Catalogue) -> None:
        self._asking = asking
        self._catalogue = catalogue
        self._fingerprints = Fingerprints()

    async def model(self, gate: Gate, name: str) -> EmbeddingModel:
        """Return the model of that name, which no other answers for; raise the 404 of one that is missing or that the
        caller may not read.
        """
        found = replace(await find_model(self._catalogue, gate, name), fallback=(), weights={})
        try:
            provider = self._catalogue.provider(found)
        except ProviderGone:
            raise provider_gone(name) from None
        fingerprint = await self._fingerprints.of(provider, found)
        return EmbeddingModel(found, found.dimensions, found.most_tokens, provider.tokenizer(), fingerprint)

    async def embed(self, gate: Gate, model: EmbeddingModel, texts: Sequence[str]) -> list[Vector]:
        """Return the embeddings of the texts, in their order; no text may be empty, or longer than the model takes.

        Raises the ApiError for what the model can't be asked, ProviderFailed, QuotaExceeded, CountersUnavailable and
        NoRoom.
        """
        vectors = list[Vector]()
        for batch in _batches(texts, model.dimensions or _USUAL_DIMENSIONS):
            vectors += await self._embedded(gate, model, batch)
            _check_lengths(vectors, model)
        return vectors

    async def _embedded(self, gate: Gate, model: EmbeddingModel, texts: Sequence[str]) -> list[Vector]:
        raw, body = _body(model.name, texts)
        asked = await self._asking.prepare(gate, raw, body, model.model, Task.EMBEDDING, partial(_wanted, len(texts)))
        return _vectors(await asked.answering.complete(asked.request), len(texts))


def _wanted(count: int, _body: ModelBody, model: Model) -> Wanted:
    return Wanted(count, base64=True, full=model.dimensions)


def _batches(texts: Sequence[str], dimensions: int) -> Iterator[list[str]]:
    """Yield the texts in as many requests as they need."""
    most = max(1, min(MOST_TEXTS, MOST_NUMBERS // dimensions))
    batch, held = list[str](), 0
    for text in texts:
        size = len(text.encode(errors="replace"))
        if batch and (len(batch) == most or held + size > MOST_BYTES):
            yield batch
            batch, held = [], 0
        batch.append(text)
        held += size
    if batch:
        yield batch


def _body(model: str, texts: Sequence[str]) -> tuple[bytes, ModelBody]:
    """Return the body of a request for embeddings, and what reading it would return."""
    begin, name = '{"model":', dumps(model)
    # The parsers of bodies refuse lone surrogates, and tokenizers can't take them.
    given = [text.encode(errors="replace").decode() for text in texts]
    raw = f'{begin}{name},"encoding_format":"base64","input":{dumps(given, ensure_ascii=False)}}}'.encode()
    tokens = min(inputs_of(given, "input", may_be_empty=False).tokens, MOST_COST)
    start = len(begin)
    body = ModelBody(model, start, start + len(name), cost=Cost(tokens, tokens))
    return raw, body


def _vectors(pieces: Pieces, count: int) -> list[Vector]:
    """Return the embeddings of an answer, in the order of their texts; raise ProviderFailed for others."""
    try:
        entries = loads(b"".join(pieces))["data"]
        if sorted(entry["index"] for entry in entries) != [*range(count)]:
            raise _odd("answered with embeddings whose indices are not those of the texts")
        ordered = sorted(entries, key=lambda entry: entry["index"])
        vectors = [_vector(entry["embedding"]) for entry in ordered]
    except (ValueError, LookupError, TypeError, Error):
        raise _odd("answered with something that is no list of embeddings") from None
    for vector in vectors:
        # A sum of numbers of 32 bits is finite unless one of them isn't.
        if not (isfinite(sum(vector)) and any(vector)):
            raise _odd("answered with an embedding that holds NaN or an infinity, or zeros alone")
    return vectors


def _vector(text: str) -> Vector:
    vector = array("f")
    vector.frombytes(b64decode(text, validate=True))
    if sys.byteorder == "big":
        vector.byteswap()
    return vector


def _check_lengths(vectors: Sequence[Vector], model: EmbeddingModel) -> None:
    lengths = {len(vector) for vector in vectors}
    if len(lengths) > 1:
        raise _odd("answered with embeddings of different lengths")
    if model.dimensions is not None and lengths != {model.dimensions}:
        raise _odd(
            f"answered with {min(lengths)} numbers an embedding, where the configuration says {model.dimensions}"
        )


def _odd(what: str) -> ProviderFailed:
    sentence = f"the provider of the embedding model {what}"
    return ProviderFailed(Fault.PROVIDER, sentence, code="server_error", spent=True, kind=Kind.BROKEN, hopeless=True)
