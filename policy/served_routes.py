"""The routes of the server and the resources that each is about, as far as policies need to know them.

`tests/http/policy/test_route_table.py` holds this table equal to what the routes of the application say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final

from policy.resource_types import TYPES, Ask
from policy.vocabulary import Action, type_of_record

_READ, _CREATE, _UPDATE, _DELETE = Action.READ, Action.CREATE, Action.UPDATE, Action.DELETE
_ANSWER: Final = type_of_record("chat_completions")
_CONVERSATION: Final = type_of_record("openai_conversations")
_FILE: Final = type_of_record("openai_files")
_ITEM: Final = type_of_record("conversation_items")
_RESPONSE: Final = type_of_record("responses")


@dataclass(frozen=True, slots=True)
class ServedRoute:
    """One method of one path.

    In `path`, `{name}` stands for one segment and `{name:path}` for one or several. Without a permit for each of
    `needs`, a request gets an error or an empty list. `may_need` is what some requests ask for in addition.
    """

    method: str
    path: str
    needs: tuple[Ask, ...] = ()
    may_need: tuple[Ask, ...] = ()

    @property
    def asks(self) -> tuple[Ask, ...]:
        """Every action and type that a request to it may ask the policy for."""
        return (*self.needs, *self.may_need)


def _records(path: str, kind: str, one: str, methods: str) -> Iterator[ServedRoute]:
    """Yield the routes of a collection at `path` whose members have the parameter `one`; a change shows its member."""
    needs = {"GET": ((_READ, kind),), "DELETE": ((_DELETE, kind),)}
    for method in methods.split():
        yield ServedRoute(method, f"{path}/{{{one}}}", needs.get(method, ((_UPDATE, kind), (_READ, kind))))


def _registry(path: str, kind: str) -> Iterator[ServedRoute]:
    """Yield the four routes of one kind of the registry."""
    one = "model_id" if kind == "model" else "identifier"
    yield ServedRoute("GET", path, ((_READ, kind),))
    if kind == "model":
        yield ServedRoute("POST", path, ((_CREATE, kind), (_READ, "provider")), ((_READ, kind),))
    else:
        yield ServedRoute("POST", path, ((_CREATE, kind),))
    yield from _records(path, kind, f"{one}:path", "GET DELETE")


def _items() -> Iterator[ServedRoute]:
    every = "/v1/conversations/{conversation_id}/items"
    one = f"{every}/{{item_id}}"
    named = ((_READ, _FILE), (_READ, _ITEM), (_READ, _CONVERSATION))
    yield ServedRoute("GET", every, ((_READ, _ITEM), (_READ, _CONVERSATION)))
    yield ServedRoute("POST", every, ((_CREATE, _ITEM), (_UPDATE, _CONVERSATION)), named)
    yield ServedRoute("GET", one, ((_READ, _ITEM), (_READ, _CONVERSATION)))
    yield ServedRoute("DELETE", one, ((_DELETE, _ITEM), (_UPDATE, _CONVERSATION), (_READ, _CONVERSATION)))


def _vector_stores() -> Iterator[ServedRoute]:
    """Yield the routes of vector stores, of their files and of the batches of these."""
    store, every = "vector_store", "/v1/vector_stores"
    one = f"{every}/{{vector_store_id}}"
    files, batches = f"{one}/files", f"{one}/file_batches"
    reading, listing = ((_READ, store), (_READ, _FILE)), ((_READ, _FILE), (_READ, store))
    changing = ((_UPDATE, store), (_READ, store), (_READ, _FILE))
    yield ServedRoute("GET", every, ((_READ, store),))
    yield ServedRoute("POST", every, ((_CREATE, store),), ((_READ, _FILE), (_READ, "model"), (_READ, "provider")))
    yield from _records(every, store, "vector_store_id", "GET POST DELETE")
    yield ServedRoute("GET", files, listing)
    yield ServedRoute("POST", files, changing)
    yield ServedRoute("GET", f"{files}/{{file_id}}", reading)
    yield ServedRoute("POST", f"{files}/{{file_id}}", changing)
    yield ServedRoute("DELETE", f"{files}/{{file_id}}", changing)
    yield ServedRoute("GET", f"{files}/{{file_id}}/content", reading)
    yield ServedRoute("POST", f"{one}/search", ((_READ, store),), ((_READ, "model"), (_READ, _FILE)))
    yield ServedRoute("POST", batches, changing)
    yield ServedRoute("GET", f"{batches}/{{batch_id}}", ((_READ, store),))
    yield ServedRoute("POST", f"{batches}/{{batch_id}}/cancel", ((_UPDATE, store), (_READ, store)))
    yield ServedRoute("GET", f"{batches}/{{batch_id}}/files", listing)
    yield ServedRoute("POST", "/v1/vector-io/insert", ((_UPDATE, store),), ((_READ, "model"),))
    yield ServedRoute("POST", "/v1/vector-io/query", ((_READ, store),), ((_READ, "model"), (_READ, _FILE)))


def _responses() -> Iterator[ServedRoute]:
    one = "/v1/responses/{response_id}"
    named = ((_READ, _CONVERSATION), (_UPDATE, _CONVERSATION), (_CREATE, _ITEM), (_READ, _ITEM), (_READ, _FILE))
    tools = ((_READ, "vector_store"), (_READ, "tool_group"), (_READ, "tool"))
    made = ((_CREATE, _RESPONSE), (_READ, _RESPONSE), *named, (_READ, "prompt"), (_READ, "shield"), *tools)
    yield ServedRoute("POST", "/v1/responses", ((_READ, "model"),), made)
    summed_up = ((_READ, _RESPONSE), (_READ, _CONVERSATION), (_READ, _ITEM), (_READ, _FILE))
    yield ServedRoute("POST", "/v1/responses/compact", ((_READ, "model"),), summed_up)
    counted = (*summed_up, (_READ, "prompt"), *tools)
    yield ServedRoute("POST", "/v1/responses/input_tokens", ((_READ, "model"),), counted)
    yield ServedRoute("GET", "/v1/responses", ((_READ, _RESPONSE),), ((_READ, "model"),))
    yield from _records("/v1/responses", _RESPONSE, "response_id", "GET DELETE")
    yield ServedRoute("POST", f"{one}/cancel", ((_UPDATE, _RESPONSE), (_READ, _RESPONSE)))
    yield ServedRoute("GET", f"{one}/input_items", ((_READ, _RESPONSE),))


SERVED: Final = (
    ServedRoute("GET", "/v1/health"),
    ServedRoute("GET", "/v1/health/ready", (), ((_READ, "provider"),)),
    ServedRoute("GET", "/v1/version"),
    ServedRoute("GET", "/v1/inspect/routes"),
    ServedRoute("GET", "/metrics"),
    ServedRoute("GET", "/v1/providers", ((_READ, "provider"),)),
    ServedRoute("GET", "/v1/providers/{provider_id}", ((_READ, "provider"),)),
    ServedRoute("GET", "/v1/providers/{provider_id}/models", ((_READ, "provider"),), ((_READ, "model"),)),
    ServedRoute(
        "POST", "/v1/chat/completions", ((_READ, "model"),), ((_CREATE, _ANSWER), (_READ, _FILE), (_READ, "shield"))
    ),
    ServedRoute("POST", "/v1/messages", ((_READ, "model"),), ((_READ, _FILE), (_READ, "shield"))),
    ServedRoute("POST", "/v1/messages/count_tokens", ((_READ, "model"),), ((_READ, _FILE),)),
    ServedRoute("POST", "/v1/completions", ((_READ, "model"),), ((_READ, "shield"),)),
    ServedRoute("POST", "/v1/embeddings", ((_READ, "model"),)),
    ServedRoute("GET", "/v1/chat/completions", ((_READ, _ANSWER),), ((_READ, "model"),)),
    *_records("/v1/chat/completions", _ANSWER, "completion_id", "GET POST DELETE"),
    ServedRoute("GET", "/v1/chat/completions/{completion_id}/messages", ((_READ, _ANSWER),)),
    ServedRoute("GET", "/v1/files", ((_READ, _FILE),)),
    ServedRoute("POST", "/v1/files", ((_CREATE, _FILE),)),
    *_records("/v1/files", _FILE, "file_id", "GET DELETE"),
    ServedRoute("GET", "/v1/files/{file_id}/content", ((_READ, _FILE),)),
    ServedRoute("GET", "/v1/batches", ((_READ, "batch"),)),
    ServedRoute("POST", "/v1/batches", ((_CREATE, "batch"), (_CREATE, _FILE), (_READ, _FILE)), ((_READ, "batch"),)),
    *_records("/v1/batches", "batch", "batch_id", "GET"),
    ServedRoute("POST", "/v1/batches/{batch_id}/cancel", ((_UPDATE, "batch"), (_READ, "batch"))),
    ServedRoute(
        "POST",
        "/v1/conversations",
        ((_CREATE, _CONVERSATION),),
        ((_CREATE, _ITEM), (_READ, _FILE), (_READ, _ITEM), (_READ, _CONVERSATION)),
    ),
    *_records("/v1/conversations", _CONVERSATION, "conversation_id", "GET POST DELETE"),
    *_items(),
    *_responses(),
    ServedRoute("GET", "/v1/prompts", ((_READ, "prompt"),)),
    ServedRoute("POST", "/v1/prompts", ((_CREATE, "prompt"),)),
    *_records("/v1/prompts", "prompt", "prompt_id", "GET PUT DELETE"),
    ServedRoute("GET", "/v1/prompts/{prompt_id}/versions", ((_READ, "prompt"),)),
    ServedRoute("PUT", "/v1/prompts/{prompt_id}/set-default-version", ((_UPDATE, "prompt"), (_READ, "prompt"))),
    *_vector_stores(),
    ServedRoute("POST", "/v1/safety/run-shield", ((_READ, "shield"),), ((_READ, "model"),)),
    ServedRoute("POST", "/v1/moderations", ((_READ, "shield"),), ((_READ, "model"),)),
    ServedRoute("GET", "/v1/usage", ((_READ, "usage"),)),
    ServedRoute("GET", "/v1/tools", ((_READ, "tool"),), ((_READ, "tool_group"),)),
    ServedRoute("GET", "/v1/tools/{tool_name:path}", ((_READ, "tool"),), ((_READ, "tool_group"),)),
    *chain.from_iterable(_registry(row.registry, row.name) for row in TYPES.values() if row.registry is not None),
)
"""Every route; GET is also HEAD."""

LATER: Final = (
    "/v1/admin",
    "/v1/audit",
    "/v1/inference",
    "/v1/tool-runtime",
)
"""Beginnings of paths that policies are written for and this version doesn't serve."""
