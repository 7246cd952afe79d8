"""Bodies of `/v1/vector-io`: chunks that a caller puts into a store itself, and queries, in Llama Stack's forms.

The checks may run in a worker process, so this module imports the standard library, `server.json_input` and modules
that import no more than these.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from json import dumps
from math import isfinite
from typing import Any, Final

from server.api.vector_stores.search_body import MOST_RESULTS
from server.http.body_checks import LONGEST_KEY, LONGEST_VALUE, MOST_KEYS, known_members, missing, wrong
from server.json_input.body_parser import BodyParser
from server.json_input.strict import Document, InvalidJson, Json, Why

MOST_INSERTED: Final = 1000
"""Chunks of one request."""

MOST_INSERT_BYTES: Final = 768 * 1024
"""Bytes of the texts and the metadata of all chunks of one request."""

LARGEST_CHUNK: Final = 64 * 1024
"""Bytes of the text and the metadata of one chunk; a query returns up to 50 of them."""

LONGEST_CHUNK_ID: Final = 256
"""Characters of the id of a chunk, a document or a store."""

MOST_NUMBERS: Final = 16_384
"""Numbers of one vector."""

LARGEST: Final = 3.4028234663852886e38
"""The largest number of a vector, which has 32 bits."""

_USUAL_CHUNKS: Final = 3
_STORE_IDS: Final = ("vector_db_id", "vector_store_id")
_MODES: Final = ("vector", "keyword", "hybrid")
_RANKERS: Final = ("rrf", "weighted")
_CHUNK_MEMBERS: Final = (
    *("content", "metadata", "embedding", "chunk_id", "stored_chunk_id", "chunk_metadata", "mime_type"),
    *("embedding_model", "embedding_dimension"),
)


@dataclass(frozen=True, slots=True)
class NewChunk:
    """A chunk to be put in: `extra` is the JSON of what is shown with it again; `vector` is empty where it has none."""

    id: str
    document: str
    text: str
    attributes: dict[str, str | float | bool]
    extra: str
    vector: array[float]


@dataclass(frozen=True, slots=True)
class Insert:
    """The store, the chunks, and the embedding models that they name."""

    store: str
    chunks: Sequence[NewChunk]
    models: Sequence[str]


@dataclass(frozen=True, slots=True)
class Query:
    """The store, the text that is looked for, and how."""

    store: str
    text: str
    limit: int
    mode: str
    threshold: float
    ranker: str
    weight: float
    impact: float


def read_insert(document: Document) -> Json:
    """Return the members of an Insert, the vectors as bytes; raises InvalidJson with the place of what is wrong."""
    body = document.members
    known_members(body, (*_STORE_IDS, "chunks", "ttl_seconds"))
    store = _store(body)
    if body.get("ttl_seconds") is not None:
        raise wrong("ttl_seconds", "is not served; give the store an end by `expires_after`")
    given = body.get("chunks")
    if type(given) is not list or not 0 < len(given) <= MOST_INSERTED:
        raise wrong("chunks", f"must be a list of 1 to {MOST_INSERTED} chunks")
    vectors, chunks, models, whole = array("f"), list[Json](), set[str](), 0
    for place, chunk in enumerate(given):
        where = f"chunks[{place}]"
        if type(chunk) is not dict:
            raise wrong(where, "must be an object")
        known_members(chunk, _CHUNK_MEMBERS, where)
        vector = _vector(chunk, where)
        vectors.extend(vector)
        read = _chunk(chunk, where)
        size = _size(read)
        if size > LARGEST_CHUNK:
            raise wrong(where, f"has {size} bytes of text and metadata, and may have {LARGEST_CHUNK}; divide it")
        whole += size
        chunks.append({**read, "length": len(vector)})
        if chunk.get("embedding_model") is not None:
            models.add(_text(chunk, "embedding_model", where))
    if whole > MOST_INSERT_BYTES:
        sentence = f"the chunks have more than {MOST_INSERT_BYTES} bytes in all; divide them among requests"
        raise InvalidJson(sentence, "chunks", why=Why.TOO_COMPLEX)
    if sys.byteorder == "big":
        vectors.byteswap()
    return {"store": store, "chunks": chunks, "models": sorted(models), "vectors": vectors.tobytes()}


def insert(store: str, chunks: Sequence[Json], models: Sequence[str], vectors: bytes) -> Insert:
    """Return the value of what `read_insert` has returned."""
    numbers = array("f")
    numbers.frombytes(vectors)
    if sys.byteorder == "big":
        numbers.byteswap()
    made, place = list[NewChunk](), 0
    for chunk in chunks:
        length = chunk.pop("length")
        made.append(NewChunk(**chunk, vector=numbers[place : place + length]))
        place += length
    return Insert(store, made, models)


def read_query(document: Document) -> Json:
    """Return the members of a Query; raises InvalidJson with the place of what is wrong."""
    body = document.members
    known_members(body, (*_STORE_IDS, "query", "params"))
    store = _store(body)
    if "query" not in body:
        raise missing("query")
    params = body.get("params")
    params = {} if params is None else params
    if type(params) is not dict:
        raise wrong("params", "must be an object")
    known_members(params, ("max_chunks", "mode", "score_threshold", "ranker"), "params")
    limit = params.get("max_chunks", _USUAL_CHUNKS)
    if type(limit) is not int or not 0 < limit <= MOST_RESULTS:
        raise wrong("params.max_chunks", f"must be a whole number from 1 to {MOST_RESULTS}")
    mode = params.get("mode", "vector")
    if mode not in _MODES:
        raise wrong("params.mode", f"must be one of {', '.join(_MODES)}")
    threshold = params.get("score_threshold")
    return {
        "store": store,
        "text": _content(body["query"], "query"),
        "limit": limit,
        "mode": mode,
        "threshold": 0.0 if threshold is None else _part(threshold, "params.score_threshold"),
        **_ranker(params.get("ranker")),
    }


def _ranker(given: Any) -> Json:
    usual = {"ranker": "rrf", "weight": 0.5, "impact": 60.0}
    if given is None:
        return usual
    place = "params.ranker"
    if type(given) is not dict or given.get("type") not in _RANKERS:
        raise wrong(place, f"must be an object whose `type` is one of {', '.join(_RANKERS)}")
    if given["type"] == "weighted":
        known_members(given, ("type", "alpha"), place)
        return {**usual, "ranker": "weighted", "weight": _part(given.get("alpha", 0.5), f"{place}.alpha")}
    known_members(given, ("type", "impact_factor"), place)
    impact = given.get("impact_factor", 60.0)
    if type(impact) not in (int, float) or not 0 < impact <= 10_000:
        raise wrong(f"{place}.impact_factor", "must be a number above 0, at most 10000")
    return {**usual, "impact": float(impact)}


def _store(body: Json) -> str:
    given = [name for name in _STORE_IDS if body.get(name) is not None]
    if len(given) != 1:
        raise (
            missing("vector_db_id")
            if not given
            else wrong("vector_store_id", "and `vector_db_id` name one store twice")
        )
    return _text(body, given[0], "")


def _chunk(chunk: Json, place: str) -> Json:
    text = _content(chunk.get("content"), f"{place}.content")
    metadata, described = (_object(chunk, name, place) for name in ("metadata", "chunk_metadata"))
    document = _first((metadata, "document_id"), (described, "document_id"), place=place) or ""
    named = ((chunk, "chunk_id"), (chunk, "stored_chunk_id"), (metadata, "chunk_id"), (described, "chunk_id"))
    identity = _first(*named, place=place) or sha256(f"{document}:{text}".encode()).hexdigest()[:32]
    return {
        "id": identity,
        "document": document,
        "text": text,
        "attributes": _attributes(metadata),
        "extra": dumps(
            {"metadata": metadata, "chunk_metadata": described, "mime_type": chunk.get("mime_type")},
            ensure_ascii=False,
            separators=(",", ":"),
        ),
    }


def _size(chunk: Json) -> int:
    return len(chunk["text"].encode()) + len(chunk["extra"].encode())


def _attributes(metadata: Json) -> dict[str, str | float | bool]:
    """Return the members that searches can be narrowed by."""
    fitting = {
        name: value
        for name, value in metadata.items()
        if 0 < len(name) <= LONGEST_KEY and "\0" not in name and _is_attribute(value)
    }
    return dict([*fitting.items()][:MOST_KEYS])


def _is_attribute(value: Any) -> bool:
    if type(value) is str:
        return len(value) <= LONGEST_VALUE and "\0" not in value
    return type(value) in (bool, int, float) and abs(value) <= LARGEST


def _first(*named: tuple[Json, str], place: str) -> str | None:
    """Return the first of these members that is there."""
    for holder, name in named:
        if holder.get(name) is not None:
            return _text(holder, name, place)
    return None


def _text(holder: Json, name: str, place: str) -> str:
    value, where = holder[name], f"{place}.{name}" if place else name
    if type(value) is not str or not 0 < len(value) <= LONGEST_CHUNK_ID or "\0" in value:
        raise wrong(where, f"must be a text of 1 to {LONGEST_CHUNK_ID} characters without a NUL")
    return value


def _object(holder: Json, name: str, place: str) -> Json:
    value = holder.get(name)
    if value is None:
        return {}
    if type(value) is not dict:
        raise wrong(f"{place}.{name}", "must be an object")
    return value


def _content(value: Any, place: str) -> str:
    """Return the text of a content: a text, an item, or a list of items."""
    items = value if type(value) is list else [value]
    text = "\n".join(_item(item, place) for item in items)
    if not text.strip():
        raise wrong(place, "must hold a text that isn't blank")
    return text


def _item(item: Any, place: str) -> str:
    text = item.get("text") if type(item) is dict and item.get("type") == "text" else item
    if type(text) is not str:
        raise wrong(place, "must be a text, or text items; nothing else has words")
    return text


def _vector(chunk: Json, place: str) -> list[float]:
    given, where = chunk.get("embedding"), f"{place}.embedding"
    length = chunk.get("embedding_dimension")
    if given is None or given == []:
        return []
    if type(given) is not list or len(given) > MOST_NUMBERS or not {*map(type, given)} <= {int, float}:
        raise wrong(where, f"must be a list of up to {MOST_NUMBERS} numbers")
    if not all(-LARGEST <= number <= LARGEST and isfinite(number) for number in given) or not any(array("f", given)):
        raise wrong(where, "must hold numbers of 32 bits, not all of them 0")
    if length is not None and length != len(given):
        raise wrong(f"{place}.embedding_dimension", f"must be {len(given)}, as many as `embedding` has")
    return given


def _part(value: Any, place: str) -> float:
    if type(value) not in (int, float) or not 0 <= value <= 1:
        raise wrong(place, "must be a number from 0 to 1")
    return float(value)


INSERT: Final = BodyParser(read_insert, insert)
QUERY: Final = BodyParser(read_query, Query)
