"""Embeddings as a provider sends them and as callers ask for them."""

from __future__ import annotations

import struct
from base64 import b64decode, b64encode
from typing import Any

from tests.support.relay_server import Relaying, whole
from tests.support.serving import Answer

PATH = "/v1/embeddings"
VECTORS = [[0.5, -0.25, 1.0], [0.125, 2.0, -0.5], [1.5, 0.75, 0.0625], [3.0, 4.0, 0.25]]
USAGE = {"prompt_tokens": 7, "total_tokens": 7}
MODELS = "- {model_id: v, provider_id: p, provider_model_id: far-v, model_type: embedding}"


def packed(vector: list[float]) -> str:
    return b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def unpacked(text: str) -> list[float]:
    raw = b64decode(text, validate=True)
    return [*struct.unpack(f"<{len(raw) // 4}f", raw)]


def entries(*places: Any, in_base64: bool = False) -> list[dict[str, Any]]:
    """The entries of these indices, the vector of an entry at its place in VECTORS; None leaves the index out."""
    return [
        {
            "object": "embedding",
            "embedding": packed(VECTORS[number]) if in_base64 else VECTORS[number],
            **({} if place is None else {"index": place}),
        }
        for number, place in enumerate(places)
    ]


def answering(data: Any, **more: Any) -> bytes:
    return whole({"object": "list", "data": data, "model": "far-v", "usage": USAGE, **more})


def embed(server: Relaying, given: Any, **more: Any) -> Answer:
    body = {"model": "p/v", "input": given, **more}
    return server.address.post(PATH, body, "Authorization: Bearer alice")


def vectors(answer: Answer) -> list[Any]:
    assert answer.status == 200, answer.body
    assert [each["index"] for each in answer.json["data"]] == [*range(len(answer.json["data"]))]
    assert {each["object"] for each in answer.json["data"]} == {"embedding"}
    return [each["embedding"] for each in answer.json["data"]]
