"""`inline::wordllama`: embeddings by the model that the package `wordllama` carries, without a network.

A text's embedding is the mean of those of its tokens, divided by its length. With `dimensions` it is the beginning of
the whole one, divided by its length: the model was trained for that.
"""

from __future__ import annotations

import asyncio
import logging
import os
from array import array
from collections.abc import Iterator, Sequence
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from server.background.faults import log_fault
from server.fairness.threads import in_thread
from server.inference.answers.vectors import Vector, as_base64, as_numbers, written
from server.inference.provider import (
    ChatRequest,
    ChatStream,
    Counted,
    Fault,
    HealthStatus,
    Kind,
    Pieces,
    ProviderFailed,
    ProviderHealth,
    Wanted,
)
from server.json_input.strict import Document, InvalidJson, Json, Why

if TYPE_CHECKING:
    # The processes that read large bodies import this module, and little else.
    from server.inference.providers.vector_answers import VectorRoom
    from server.json_input.reader import Reader

LONGEST: Final = 128 * 1024
"""Bytes of one text, as UTF-8."""

MOST_BYTES: Final = 1024 * 1024
"""Bytes of all texts of one request."""

BATCH: Final = 16 * 1024
"""Bytes of texts that are embedded in one turn, unless one text has more."""

RELOAD_SECONDS: Final = 10.0
"""Seconds after a load that failed, in which no other is tried."""

_MOST_TEXTS: Final = 64
_IDS_AT_ONCE: Final = 2048
_PACKAGE: Final = "wordllama"

_log: Final = logging.getLogger("ostiary.inference")


class WordLlamaVectors:
    """Makes embeddings of what `reader` reads of each request; the model is loaded when it is first needed."""

    def __init__(self, provider_id: str, reader: Reader, room: VectorRoom) -> None:
        self._provider_id = provider_id
        self._reader = reader
        self._room = room
        self._loading: asyncio.Future[_Model] | None = None
        self._failed_at: float | None = None

    async def start(self) -> None:
        """Do nothing; the model is loaded when it is first needed."""

    async def close(self) -> None:
        """Do nothing; the model goes with the process."""

    async def health(self) -> ProviderHealth:
        """Return that it is well, unless its model could not be loaded."""
        if self._failed_at is None:
            return ProviderHealth(HealthStatus.OK)
        return ProviderHealth(HealthStatus.ERROR, "it can't load its model")

    async def complete(self, request: ChatRequest) -> Pieces:
        """Return the embeddings."""
        wanted = request.wanted or Wanted(1)
        try:
            found = await self._reader.look(request.payload, look_for_texts)
        except InvalidJson as refusal:
            fault = Fault.BUSY if refusal.why is Why.BUSY else Fault.REQUEST
            raise ProviderFailed(fault, refusal.message, code=refusal.code, param=refusal.param) from None
        model = await self._model()
        size = wanted.dimensions or wanted.full or model.dimensions
        if size > model.dimensions:
            sentence = f"`dimensions` must be at most {model.dimensions}, which is what the model has"
            raise ProviderFailed(Fault.REQUEST, sentence, code="invalid_value", param="dimensions")
        vectors, tokens = list[Vector](), 0
        for batch in _batches(found["sizes"], found["texts"]):
            made = await in_thread(model.embedded, batch, size)
            vectors += made.vectors
            tokens += made.tokens
        make = partial(_answer, request.model_id, wanted, vectors, tokens)
        return await self._room.made(wanted, size, make)

    async def stream(self, request: ChatRequest) -> ChatStream:
        """Raise, since embeddings are not streamed."""
        raise ProviderFailed(Fault.REQUEST, "embeddings are not streamed")

    async def _model(self) -> _Model:
        """Return the model, which is loaded once; raises ProviderFailed."""
        loop = asyncio.get_running_loop()
        if self._loading is None:
            if self._failed_at is not None and loop.time() - self._failed_at < RELOAD_SECONDS:
                raise self._unusable()
            self._loading = asyncio.ensure_future(asyncio.to_thread(_load))
        loading = self._loading
        try:
            model = await asyncio.shield(loading)
        except Exception as fault:  # noqa: BLE001 - whatever a damaged package raises, it is of no use
            if self._loading is loading:
                self._loading, self._failed_at = None, loop.time()
                log_fault(_log, f"the provider `{self._provider_id}` can't load its model", fault)
            raise self._unusable() from None
        self._failed_at = None
        return model

    def _unusable(self) -> ProviderFailed:
        sentence = f"the provider `{self._provider_id}` can't load its model"
        return ProviderFailed(
            Fault.PROVIDER, sentence, code="server_error", retry_after=RELOAD_SECONDS, kind=Kind.UNREACHABLE
        )


def look_for_texts(document: Document) -> Json:
    """Return the texts, in UTF-8 behind each other, and their sizes; raises InvalidJson. May run in another process."""
    given = document.members["input"]
    inputs = given if type(given) is list else [given]
    texts, total = list[bytes](), 0
    for place, text in enumerate(inputs):
        where = f"input[{place}]" if inputs is given else "input"
        if type(text) is not str:
            raise InvalidJson("the model takes texts, not token ids, in `input`", "input", "invalid_value")
        texts.append(text.encode(errors="replace"))
        if len(texts[-1]) > LONGEST:
            # Clients look for the words about the context.
            sentence = f"`{where}` has more than {LONGEST} bytes: this model's maximum context length is exceeded"
            raise InvalidJson(sentence, where, "context_length_exceeded")
        total += len(texts[-1])
        if total > MOST_BYTES:
            sentence = f"the texts in `input` have more than {MOST_BYTES} bytes in all; divide them among requests"
            raise InvalidJson(sentence, "input", "invalid_value")
    return {"sizes": [*map(len, texts)], "texts": b"".join(texts)}


def _batches(sizes: Sequence[int], texts: bytes) -> Iterator[list[str]]:
    """Yield the texts in batches, each of which is embedded in a few milliseconds."""
    batch, held, start = list[str](), 0, 0
    for size in sizes:
        if batch and (held + size > BATCH or len(batch) == _MOST_TEXTS):
            yield batch
            batch, held = [], 0
        batch.append(texts[start : start + size].decode())
        held += size
        start += size
    yield batch


class _Made:
    """The embeddings of some texts, and the number of their tokens."""

    def __init__(self, vectors: list[Vector], tokens: int) -> None:
        self.vectors = vectors
        self.tokens = tokens


class _Model:
    """The numbers of each token, and the tokenizer; used by threads."""

    def __init__(self, table: Any, tokenizer: Any) -> None:
        self._table = table
        self._tokenizer = tokenizer
        self.dimensions = int(table.shape[1])

    def embedded(self, texts: list[str], size: int) -> _Made:
        """Return the embeddings of the texts, of `size` numbers each."""
        encoded = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        vectors, tokens = list[Vector](), 0
        for each in encoded:
            ids = each.ids
            tokens += len(ids)
            vectors.append(self._mean(ids, size))
        return _Made(vectors, tokens)

    def _mean(self, ids: list[int], size: int) -> Vector:
        table = self._table
        total: Any = sum(
            table[ids[start : start + _IDS_AT_ONCE], :size].sum(axis=0) for start in range(0, len(ids), _IDS_AT_ONCE)
        )
        length = float((total * total).sum()) ** 0.5 if ids else 0.0
        vector = array("f")
        vector.frombytes((total / length).tobytes())
        return vector


def _answer(model_id: str, wanted: Wanted, vectors: list[Vector], tokens: int) -> Counted:
    write = as_base64 if wanted.base64 else as_numbers
    found = ((index, vector, write(vector)) for index, vector in enumerate(vectors))
    return written(found, model_id, wanted, {"prompt_tokens": tokens, "total_tokens": tokens})


def _load() -> _Model:
    """Load the model out of its package, and out of nothing else; blocks for some tenths of a second."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # each thread here has a turn; others would take none
    from wordllama import WordLlama

    folder = _folder()
    assert folder is not None  # noqa: S101 - it was imported above
    loaded = WordLlama.load(cache_dir=folder, disable_download=True)
    loaded.tokenizer.no_padding()
    return _Model(loaded.embedding, loaded.tokenizer)


@cache
def tokenizer_file() -> Path | None:
    """Return the file of the model's tokenizer; None where the package isn't there."""
    folder = _folder()
    return None if folder is None else folder / "tokenizers" / "l2_supercat_tokenizer_config.json"


def model_files() -> list[Path]:
    """Return the files that tell the model from another one; none where the package isn't there."""
    folder, tokenizer = _folder(), tokenizer_file()
    return [] if folder is None or tokenizer is None else [*sorted((folder / "weights").glob("*")), tokenizer]


def _folder() -> Path | None:
    """Return the folder of the package, which isn't imported for that."""
    spec = find_spec(_PACKAGE)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent
