"""Vector stores: files that are taken in without end, and searches of a large store."""

from __future__ import annotations

import time
from collections.abc import Mapping
from json import dumps
from typing import Any, Final

from bench.neighbours.messages import Unprepared, head, post, upload
from bench.neighbours.scenario import Scenario, Script, Stage
from bench.neighbours.scenarios.attacks import numbered, repeated
from bench.neighbours.settings import ECHO, LOCAL_TEXTS, Setting

_STORES: Final = "/v1/vector_stores"
_TEXT: Final = b"A sentence of some words that are cut into chunks and embedded, one after the other. "
_LARGE: Final = 20_000
_SMALL: Final = 2_000
_SECONDS: Final = 120.0


def _attached(stage: Stage, sentences: int) -> Mapping[str, Any]:
    """Return a file, and a store that has taken it in."""
    file: str = stage.ask(upload(stage.token, _TEXT * sentences))["id"]
    made = stage.ask(post(_STORES, stage.token, {"embedding_model": LOCAL_TEXTS, "file_ids": [file]}))
    store: str = made["id"]
    end = time.monotonic() + _SECONDS
    while stage.ask(head("GET", f"{_STORES}/{store}", stage.token))["file_counts"]["completed"] < 1:
        if time.monotonic() > end:
            raise Unprepared("the file was not taken in")
        time.sleep(0.2)
    return {"files": [file], "stores": [store]}


def _new_store(script: Script, _text: str) -> bytes:
    body = {"embedding_model": LOCAL_TEXTS, "file_ids": [script.names("files")[0]]}
    return post(_STORES, script.token, body)


def _search(mode: str) -> Any:
    def make(script: Script) -> bytes:
        body = {"query": "words that are cut", "search_mode": mode, "max_num_results": 50}
        return post(f"{_STORES}/{script.names('stores')[0]}/search", script.token, body)

    return make


def _response(script: Script) -> bytes:
    """Have a model search a store with many calls beside each other, and again once it has read what they found."""
    call = {"name": "file_search", "arguments": {"queries": ["words that are cut", "one after the other"]}}
    calls = {"tool_calls": [call] * 32}
    tool = {"type": "file_search", "vector_store_ids": [script.names("stores")[0]], "max_num_results": 50}
    body = {"model": ECHO, "input": dumps({"echo": {**calls, "then": calls}}), "tools": [tool], "store": False}
    return post("/v1/responses", script.token, body)


SCENARIOS: Final = [
    Scenario(
        "files taken into vector stores",
        numbered(_new_store),
        lambda stage: _attached(stage, _LARGE),
        Setting.VECTORS,
    ),
    Scenario(
        "searches of a vector store",
        repeated(_search("vector")),
        lambda stage: _attached(stage, _SMALL),
        Setting.VECTORS,
    ),
    Scenario(
        "hybrid searches of a vector store",
        repeated(_search("hybrid")),
        lambda stage: _attached(stage, _SMALL),
        Setting.VECTORS,
    ),
    Scenario(
        "responses whose models search files",
        repeated(_response),
        lambda stage: _attached(stage, _SMALL),
        Setting.VECTORS,
    ),
]
