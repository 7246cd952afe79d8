"""Writes the part of OpenAI's OpenAPI document that the tests need: `python tests/openapi/reduce.py FULL_DOCUMENT`.

The part has the operations that this server serves, the schemas that they reach, and nothing that only people read.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

REDUCED = Path(__file__).parent / "openai-2.3.0.reduced.json"

SERVED = {
    "/batches": ("get", "post"),
    "/batches/{batch_id}": ("get",),
    "/batches/{batch_id}/cancel": ("post",),
    "/chat/completions": ("get", "post"),
    "/chat/completions/{completion_id}": ("get", "post", "delete"),
    "/chat/completions/{completion_id}/messages": ("get",),
    "/completions": ("post",),
    "/conversations": ("post",),
    "/conversations/{conversation_id}": ("get", "post", "delete"),
    "/conversations/{conversation_id}/items": ("get", "post"),
    "/conversations/{conversation_id}/items/{item_id}": ("get", "delete"),
    "/embeddings": ("post",),
    "/files": ("get", "post"),
    "/files/{file_id}": ("get", "delete"),
    "/files/{file_id}/content": ("get",),
    "/models": ("get",),
    "/models/{model}": ("get", "delete"),
    "/vector_stores": ("get", "post"),
    "/vector_stores/{vector_store_id}": ("get", "post", "delete"),
    "/vector_stores/{vector_store_id}/file_batches": ("post",),
    "/vector_stores/{vector_store_id}/file_batches/{batch_id}": ("get",),
    "/vector_stores/{vector_store_id}/file_batches/{batch_id}/cancel": ("post",),
    "/vector_stores/{vector_store_id}/file_batches/{batch_id}/files": ("get",),
    "/vector_stores/{vector_store_id}/files": ("get", "post"),
    "/vector_stores/{vector_store_id}/files/{file_id}": ("get", "post", "delete"),
    "/vector_stores/{vector_store_id}/files/{file_id}/content": ("get",),
    "/vector_stores/{vector_store_id}/search": ("post",),
    "/responses": ("post",),
    "/responses/compact": ("post",),
    "/responses/input_tokens": ("post",),
    "/responses/{response_id}": ("get", "delete"),
    "/responses/{response_id}/cancel": ("post",),
    "/responses/{response_id}/input_items": ("get",),
}
_OPERATION = ("parameters", "requestBody", "responses")
_FOR_PEOPLE = ("deprecated", "description", "example", "examples", "summary", "title")


def plain(schema: Any) -> Any:
    """The schema without what only people read. The names of properties are no keywords."""
    if isinstance(schema, list):
        return [plain(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {name: value for name, value in schema.items() if name not in _FOR_PEOPLE and not name.startswith("x-")}
    for name, value in kept.items():
        if name == "properties":
            kept[name] = {member: plain(inner) for member, inner in value.items()}
        elif name not in ("default", "enum", "required"):
            kept[name] = plain(value)
    return kept


def reached(schemas: dict[str, Any], start: Any) -> set[str]:
    """The names of the schemas that `start` refers to, however indirectly."""
    found: set[str] = set()
    left = [start]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            name = str(value.get("$ref", "")).rpartition("/")[2]
            if name in schemas and name not in found:
                found.add(name)
                left.append(schemas[name])
            left += value.values()
        elif isinstance(value, list):
            left += value
    return found


def reduced(document: dict[str, Any]) -> dict[str, Any]:
    """The part of the document; a document again."""
    paths = {
        path: {
            method: {name: plain(operation[name]) for name in _OPERATION if name in operation}
            for method, operation in document["paths"][path].items()
            if method in methods
        }
        for path, methods in SERVED.items()
    }
    every = document["components"]["schemas"]
    responses = plain(document["components"]["responses"])
    names = reached(every, [paths, responses])
    return {
        "openapi": document["openapi"],
        "info": {name: document["info"][name] for name in ("title", "version", "license")},
        "paths": paths,
        "components": {"responses": responses, "schemas": {name: plain(every[name]) for name in sorted(names)}},
    }


if __name__ == "__main__":
    full = json.loads(Path(sys.argv[1]).read_bytes())
    REDUCED.write_text(json.dumps(reduced(full), indent=1) + "\n")
