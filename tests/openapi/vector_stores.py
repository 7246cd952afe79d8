"""Requests about vector stores whose answers are held against OpenAI's document."""

from __future__ import annotations

import time
from typing import Any

from tests.openapi.watched import Watched

STORES = "/v1/vector_stores"
ENDS = {"expires_after": {"anchor": "last_active_at", "days": 3}}
STATIC = {"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 50}}
QUERIES = ("", "?limit=1", "?filter=completed", "?filter=failed", "?filter=x")


def use_vector_stores(house: Watched) -> None:
    """Use every operation, with success and without."""
    files = [house.upload(content=text).json["id"] for text in (b"a blue bicycle", b"the weather")]
    full = {"name": "a", "description": "b", "metadata": {"c": "d"}, "file_ids": files, **ENDS}
    bare, store = house.made(STORES, {}), house.made(STORES, full)
    for body in ({"name": "b"}, {"name": None, "metadata": None, "expires_after": None}, ENDS, {}):
        assert house.ask("POST", f"{STORES}/{bare}", body).status == 200
    for query in ("", "?limit=1", "?order=asc&limit=1", f"?after={store}", f"?before={bare}", "?limit=0"):
        house.ask("GET", f"{STORES}{query}")
    assert house.ask("GET", f"{STORES}/{store}").status == 200
    _use_files(house, bare, files[0])
    _use_batches(house, store, files)
    one = f"{STORES}/{store}"
    for gone in (f"{one}/files/{files[0]}", one):
        for status in (200, 404):
            assert house.ask("DELETE", gone).status == status
        assert house.ask("GET", gone).status == 404


def _use_files(house: Watched, store: str, file_id: str) -> None:
    one = f"{STORES}/{store}"
    attached = {"file_id": file_id, "attributes": {"text": "x", "number": 1.5, "flag": True}}
    for more in ({}, {"chunking_strategy": STATIC}):
        house.ask("POST", f"{one}/files", {**attached, **more})
    assert _ended(house, f"{one}/files/{file_id}")["status"] == "completed"
    compared = {"type": "eq", "key": "number", "value": 1.5}
    searches: list[Any] = [None, compared, {"type": "or", "filters": [compared]}]
    for filters in searches:
        for query in ("bicycle", ["bicycle", "weather"]):
            body = {"query": query, "rewrite_query": True} | ({} if filters is None else {"filters": filters})
            assert house.ask("POST", f"{one}/search", body).json["data"]
    assert house.ask("GET", f"{one}/files/{file_id}/content").json["data"]
    assert house.ask("POST", f"{one}/files/{file_id}", {"attributes": {"a": "b"}}).status == 200
    broken = house.upload(content=b"\x00\x01\x02").json["id"]
    house.ask("POST", f"{one}/files", {"file_id": broken})
    assert _ended(house, f"{one}/files/{broken}")["last_error"] is not None


def _use_batches(house: Watched, store: str, files: list[str]) -> None:
    one = f"{STORES}/{store}"
    batch = house.made(f"{one}/file_batches", {"file_ids": files})
    house.ask("POST", f"{one}/file_batches", {"files": [{"file_id": files[0], "attributes": {"a": 1}}]})
    assert _ended(house, f"{one}/file_batches/{batch}")["file_counts"]["completed"] == len(files)
    for query in QUERIES:
        house.ask("GET", f"{one}/files{query}")
        house.ask("GET", f"{one}/file_batches/{batch}/files{query}")
    assert house.ask("POST", f"{one}/file_batches/{batch}/cancel").status == 200


def _ended(house: Watched, target: str) -> Any:
    """The file, or the batch, once nothing of it is under way."""
    until = time.monotonic() + 60
    while (found := house.ask("GET", target).json)["status"] == "in_progress":
        assert time.monotonic() < until, found
        time.sleep(0.05)
    return found
