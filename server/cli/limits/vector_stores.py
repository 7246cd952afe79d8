"""Limits of vector stores: their files, searches and purges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from server.api.models import embedding
from server.api.vector_stores import (
    attaching,
    claims,
    direct_body,
    failures,
    file_body,
    file_places,
    filling,
    filters,
    links,
    purging,
    search,
    search_body,
)
from server.api.vector_stores import body as vector_stores
from server.api.vector_stores import work as vector_work
from server.cli.limits.row import FILE_FAILS, Limit
from server.extraction import limits as extraction

CONSTANTS: Final[dict[str, Any]] = {
    "attaching": attaching,
    "claims": claims,
    "direct_body": direct_body,
    "embedding": embedding,
    "extraction": extraction,
    "failures": failures,
    "file_body": file_body,
    "file_places": file_places,
    "filling": filling,
    "filters": filters,
    "links": links,
    "purging": purging,
    "search": search,
    "search_body": search_body,
    "vector_stores": vector_stores,
    "vector_work": vector_work,
}
"""Modules by the names that rows give them."""

FILES: Final[Sequence[Limit]] = (
    Limit("files of a vector store", "{links.MOST_LINKS}", "400, `too_many_files`"),
    Limit(
        "files that a vector store is made with, and files of one batch; its body",
        "{vector_stores.MOST_FIRST_FILES}; {file_body.MOST_BATCHED}; {file_body.MOST_BATCH_BYTES:bytes}",
        "400, 413",
    ),
    Limit(
        "files that are attached to a vector store in one transaction",
        "{attaching.AT_ONCE}",
        "the others follow in later ones",
    ),
    Limit(
        "memory to read a file of a vector store, seconds of a processor for it, and the time that these may last",
        "{extraction.MEMORY:bytes}; {extraction.CPU_SECONDS}, one more for each {extraction.BYTES_PER_SECOND} bytes, "
        "{extraction.MOST_CPU_SECONDS} at most; {extraction.PATIENCE} times as long",
        f"{FILE_FAILS}, or `server_error` where it is the time",
    ),
    Limit(
        "pieces of a file of a vector store",
        "{extraction.MOST_PIECES}",
        FILE_FAILS,
    ),
    Limit(
        "a PDF file, one of Office or an e-mail in a vector store; the text of one of the first two, and the pages of "
        "the first",
        "{extraction.LARGEST_WHOLE:bytes}; {extraction.MOST_CHARACTERS} characters, {extraction.MOST_PAGES}",
        FILE_FAILS,
    ),
    Limit(
        "what a file of Office becomes when it is unpacked, its parts, and elements inside each other",
        "{extraction.RATIO} times its size and {extraction.FREE_INFLATED:bytes}, {extraction.MOST_INFLATED:bytes} at "
        "most; {extraction.MOST_MEMBERS}; {extraction.DEEPEST_ELEMENT}",
        FILE_FAILS,
    ),
    Limit(
        "parts of an e-mail in a vector store, and messages inside each other",
        "{extraction.MOST_PARTS}; {extraction.DEEPEST_MESSAGE}",
        f"{FILE_FAILS}; deeper messages are named",
    ),
)
"""Rows about the files of a store."""

WORK: Final[Sequence[Limit]] = (
    Limit(
        "files that one process takes into vector stores at the same time, the bytes of one, and chunks of a store",
        "{file_places.AT_ONCE}, one of each caller, of which {file_places.LONG_AT_ONCE} take longer than "
        "{file_places.LONG_SECONDS:seconds} while others wait; {filling.LARGEST_FILE:bytes}; "
        "{filling.MOST_CHUNKS}",
        "others wait; " + FILE_FAILS,
    ),
    Limit(
        "attempts to take in a file where a provider fails, and where something else does, and the pause before one",
        "{failures.PROVIDER_TRIES}; {vector_work.MOST_TAKEN}; {failures.LONGEST_PAUSE:seconds} at most",
        "the file is `failed`, `server_error`",
    ),
    Limit(
        "texts that a model is asked about at once for vector stores, their bytes, and numbers of their embeddings",
        "{embedding.MOST_TEXTS}; {embedding.MOST_BYTES:bytes}; {embedding.MOST_NUMBERS}",
        "others go in another request",
    ),
    Limit(
        "queries of a search of a vector store, one of them, and what it finds",
        "{search_body.MOST_QUERIES}; {search.LONGEST_QUERY:bytes}; {search_body.MOST_RESULTS}, the best of "
        "{search.CANDIDATES} where words count",
        "400",
    ),
    Limit(
        "comparisons of a filter by attributes, and filters inside each other",
        "{filters.MOST_COMPARISONS}; {filters.MOST_DEPTH}",
        "400",
    ),
    Limit(
        "chunks that one request puts into a vector store, their texts and metadata, those of one chunk, and its wait "
        "for another one",
        "{direct_body.MOST_INSERTED}; {direct_body.MOST_INSERT_BYTES:bytes}; {direct_body.LARGEST_CHUNK:bytes}; "
        "{claims.WAIT_SECONDS:seconds}",
        "400; 413; 400; 409",
    ),
    Limit(
        "the time until a deletion from a vector store is looked at by another process, and that of its purge",
        "{purging.SWEEP_SECONDS:seconds}; {purging.CLAIM_SECONDS:seconds}, after which another process goes on",
        "the store says `purge.pending`",
    ),
)
"""Rows about ingestion, searches, chunks and purges."""
