"""The routes of the application, with a row for each: how to make a request, and what each caller gets.

A new route needs a row here, or the census fails. The route itself says what it asks the policy; the row says how the
server knows which resource the request is about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Final

from server.http.api_route import ApiRoute
from server.wiring import application
from tests.support.application import AlwaysReady
from tests.support.files_server import form_of
from tests.support.real_policy import read
from tests.support.registry_server import KINDS
from tests.support.unsafe_policy import UnsafePermitAll

Made = Mapping[str, str]
"""Names of things that were made for a request, by the parameters of its path."""


class Found(Enum):
    """How the server knows which resource a request is about, and so what a caller gets who may not read it."""

    BY_PATH = "its id is part of the path: 404, as if it did not exist"
    BY_BODY = "its name is in the body: 404, as if it did not exist"
    AS_NEW = "it is about to be made: 403"
    AS_LIST = "it is one of many: it is left out"
    NOT_AT_ALL = "there is none, and the route policy alone decides"


@dataclass(frozen=True, slots=True)
class Row:
    """One route.

    `asks` and `may_ask` are the route's own: pairs of an action and a type. `beside` holds the status for a caller who
    lacks one of the questions behind the first. `shows` are those of `may_ask` that the request brings and does not
    need: what the caller may not read is left out. `body` is sent: bytes as a form, else as JSON. `parameter` is the
    name in the path of the resource's id; empty for the last one.
    """

    found: Found
    body: Callable[[Made], Any] | None = None
    beside: Mapping[tuple[str, str], int] = field(default_factory=dict)
    is_public: bool = False
    shows: frozenset[tuple[str, str]] = frozenset()
    parameter: str = ""
    asks: tuple[tuple[str, str], ...] = ()
    may_ask: frozenset[tuple[str, str]] = frozenset()

    @property
    def action(self) -> str:
        """The action on the resource that the route serves; empty for a route that serves none."""
        return self.asks[0][0] if self.asks else ""

    @property
    def kind(self) -> str:
        """The type of that resource."""
        return self.asks[0][1] if self.asks else ""

    @property
    def asked(self) -> set[tuple[str, str]]:
        """Every question about resources without which the request fails."""
        return {*self.asks, *self.beside}

    @property
    def changes(self) -> bool:
        """Whether something is made, changed or removed."""
        return any(action != "read" for action, _ in self.asked)


FILE: Final = "sql_record::openai_files"
CONVERSATION: Final = "sql_record::openai_conversations"
ITEM: Final = "sql_record::conversation_items"
ANSWER: Final = "sql_record::chat_completions"
RESPONSE: Final = "sql_record::responses"
MESSAGE: Final = {"type": "message", "role": "user", "content": "hi"}
WORDING: Final = {"prompt": "say {{ what }}", "variables": ["what"]}
STORE: Final = "vector_store"
OF_PROMPT: Final = {("read", "prompt"): 404}
OF_STORE: Final = {("read", STORE): 404}
FILLING: Final = {("update", STORE): 404, ("read", STORE): 404}
READING: Final = {("read", CONVERSATION): 404}
CHANGING: Final = {("update", CONVERSATION): 404}
SHOWING: Final = {**CHANGING, **READING}


def _routes() -> Iterator[tuple[str, ApiRoute]]:
    """Every route of an application, by its methods and its path."""
    app = application.build(read("version: 2"), UnsafePermitAll(), None, AlwaysReady())
    for route in app.routes:
        assert isinstance(route, ApiRoute)
        yield from ((f"{method} {route.path}", route) for method in route.methods or () if method != "HEAD")


def _with_questions(name: str, row: Row) -> Row:
    """The row with what its route asks; without, where there is no such route."""
    if name not in ROUTES:
        return row
    asks, may_ask = (
        [(str(action), kind) for action, kind in asks] for asks in (ROUTES[name].asks, ROUTES[name].may_ask)
    )
    return replace(row, asks=tuple(asks), may_ask=frozenset(may_ask))


ROUTES: Final = dict(_routes())
"""The routes of the application, such as `GET /v1/models`."""


def _chat(made: Made) -> Any:
    return {"model": made["model_id"], "messages": [{"role": "user", "content": "hi"}], "store": True}


def _response(made: Made) -> Any:
    return {"model": made["model_id"], "input": "hi"}


def _message(made: Made) -> Any:
    return {"model": made["model_id"], "max_tokens": 64, "messages": [{"role": "user", "content": "hi"}]}


def _run_shield(made: Made) -> Any:
    return {"shield_id": made["shield_id"], "messages": [{"role": "user", "content": "hi"}]}


def _embeddings(made: Made) -> Any:
    return {"model": made["model_id"], "input": "hi"}


def _batch(made: Made) -> Any:
    file = made.get("input_file", "file-1")
    return {"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"}


def _attached(made: Made) -> Any:
    return {"file_id": made.get("other_file", "file-1")}


def _batched(made: Made) -> Any:
    return {"file_ids": [made.get("other_file", "file-1")]}


def _inserted(made: Made) -> Any:
    chunk = {"content": "a text", "metadata": {"document_id": "d"}, "embedding": [1.0] * 8}
    return {"vector_db_id": made.get("vector_store_id", "vs_1"), "chunks": [chunk]}


def _queried(made: Made) -> Any:
    return {"vector_db_id": made.get("vector_store_id", "vs_1"), "query": "a text", "params": {"mode": "keyword"}}


def _vector_stores() -> dict[str, Row]:
    """The rows of vector stores, of their files and of the batches of these."""
    every, one = "/v1/vector_stores", "/v1/vector_stores/{vector_store_id}"
    file, batch = f"{one}/files/{{file_id}}", f"{one}/file_batches/{{batch_id}}"
    return {
        f"GET {every}": Row(Found.AS_LIST),
        f"POST {every}": Row(Found.AS_NEW, lambda _: {}),
        f"GET {one}": Row(Found.BY_PATH),
        f"POST {one}": Row(Found.BY_PATH, lambda _: {"name": "a"}, OF_STORE),
        f"DELETE {one}": Row(Found.BY_PATH),
        f"GET {one}/files": Row(Found.AS_LIST, beside=OF_STORE),
        f"POST {one}/files": Row(Found.BY_PATH, _attached, {("read", FILE): 404, **OF_STORE}),
        f"GET {file}": Row(Found.BY_PATH, beside=OF_STORE),
        f"POST {file}": Row(Found.BY_PATH, lambda _: {"attributes": {}}, FILLING),
        f"DELETE {file}": Row(Found.BY_PATH, beside=FILLING),
        f"GET {file}/content": Row(Found.BY_PATH, beside=OF_STORE),
        f"POST {one}/search": Row(Found.BY_PATH, lambda _: {"query": "hi"}, {("read", "model"): 404}),
        f"POST {one}/file_batches": Row(Found.BY_PATH, _batched, {("read", FILE): 404, **OF_STORE}),
        f"GET {batch}": Row(Found.BY_PATH, parameter="vector_store_id"),
        f"POST {batch}/cancel": Row(Found.BY_PATH, None, OF_STORE, parameter="vector_store_id"),
        f"GET {batch}/files": Row(Found.AS_LIST, beside=OF_STORE),
        "POST /v1/vector-io/insert": Row(Found.BY_BODY, _inserted, parameter="vector_store_id"),
        "POST /v1/vector-io/query": Row(Found.BY_BODY, _queried, parameter="vector_store_id"),
    }


def _entries(kind: str) -> dict[str, Row]:
    """The rows of one kind of the registry."""
    path, beside = KINDS[kind].path, {("read", "provider"): 400} if kind == "model" else {}
    one = f"{path}/{{{'model_id' if kind == 'model' else 'identifier'}:path}}"
    return {
        f"GET {path}": Row(Found.AS_LIST),
        f"POST {path}": Row(Found.AS_NEW, lambda made: KINDS[kind].body(made["new"]), beside),
        f"GET {one}": Row(Found.BY_PATH),
        f"DELETE {one}": Row(Found.BY_PATH),
    }


_ROWS: Final[Mapping[str, Row]] = {
    "GET /v1/health": Row(Found.NOT_AT_ALL, is_public=True),
    "GET /v1/health/ready": Row(Found.NOT_AT_ALL, shows=frozenset({("read", "provider")})),
    "GET /v1/version": Row(Found.NOT_AT_ALL, is_public=True),
    "GET /v1/inspect/routes": Row(Found.NOT_AT_ALL),
    "GET /metrics": Row(Found.NOT_AT_ALL),
    "GET /v1/providers": Row(Found.AS_LIST),
    "GET /v1/providers/{provider_id}": Row(Found.BY_PATH),
    "GET /v1/providers/{provider_id}/models": Row(Found.BY_PATH),
    "POST /v1/chat/completions": Row(Found.BY_BODY, _chat, {("create", ANSWER): 403}),
    "POST /v1/messages": Row(Found.BY_BODY, _message),
    "POST /v1/messages/count_tokens": Row(Found.BY_BODY, _message),
    "POST /v1/completions": Row(Found.BY_BODY, lambda made: {"model": made["model_id"], "prompt": "hi"}),
    "POST /v1/embeddings": Row(Found.BY_BODY, _embeddings),
    "GET /v1/chat/completions": Row(Found.AS_LIST),
    "GET /v1/chat/completions/{completion_id}": Row(Found.BY_PATH),
    "POST /v1/chat/completions/{completion_id}": Row(
        Found.BY_PATH, lambda _: {"metadata": {}}, {("read", ANSWER): 404}
    ),
    "DELETE /v1/chat/completions/{completion_id}": Row(Found.BY_PATH),
    "GET /v1/chat/completions/{completion_id}/messages": Row(Found.BY_PATH),
    "GET /v1/files": Row(Found.AS_LIST),
    "POST /v1/files": Row(Found.AS_NEW, lambda _: form_of(b"x")),
    "GET /v1/files/{file_id}": Row(Found.BY_PATH),
    "DELETE /v1/files/{file_id}": Row(Found.BY_PATH),
    "GET /v1/files/{file_id}/content": Row(Found.BY_PATH),
    "GET /v1/batches": Row(Found.AS_LIST),
    "POST /v1/batches": Row(Found.AS_NEW, _batch, {("create", FILE): 403, ("read", FILE): 403}),
    "GET /v1/batches/{batch_id}": Row(Found.BY_PATH),
    "POST /v1/batches/{batch_id}/cancel": Row(Found.BY_PATH, beside={("read", "batch"): 404}),
    "POST /v1/conversations": Row(Found.AS_NEW, lambda _: {}),
    "GET /v1/conversations/{conversation_id}": Row(Found.BY_PATH),
    "POST /v1/conversations/{conversation_id}": Row(Found.BY_PATH, lambda _: {"metadata": {"a": "b"}}, READING),
    "DELETE /v1/conversations/{conversation_id}": Row(Found.BY_PATH),
    "GET /v1/conversations/{conversation_id}/items": Row(Found.AS_LIST, beside=READING),
    "POST /v1/conversations/{conversation_id}/items": Row(Found.AS_NEW, lambda _: {"items": [MESSAGE]}, CHANGING),
    "GET /v1/conversations/{conversation_id}/items/{item_id}": Row(Found.BY_PATH, beside=READING),
    "DELETE /v1/conversations/{conversation_id}/items/{item_id}": Row(Found.BY_PATH, beside=SHOWING),
    "POST /v1/responses": Row(Found.BY_BODY, _response, {("create", RESPONSE): 403}),
    "POST /v1/responses/compact": Row(Found.BY_BODY, _response),
    "POST /v1/responses/input_tokens": Row(Found.BY_BODY, _response),
    "GET /v1/responses": Row(Found.AS_LIST),
    "GET /v1/responses/{response_id}": Row(Found.BY_PATH),
    "DELETE /v1/responses/{response_id}": Row(Found.BY_PATH),
    "POST /v1/responses/{response_id}/cancel": Row(Found.BY_PATH, beside={("read", RESPONSE): 404}),
    "GET /v1/responses/{response_id}/input_items": Row(Found.BY_PATH),
    "GET /v1/prompts": Row(Found.AS_LIST),
    "POST /v1/prompts": Row(Found.AS_NEW, lambda _: WORDING),
    "GET /v1/prompts/{prompt_id}": Row(Found.BY_PATH),
    "PUT /v1/prompts/{prompt_id}": Row(Found.BY_PATH, lambda _: {**WORDING, "version": 1}, OF_PROMPT),
    "DELETE /v1/prompts/{prompt_id}": Row(Found.BY_PATH),
    "GET /v1/prompts/{prompt_id}/versions": Row(Found.BY_PATH),
    **_vector_stores(),
    "GET /v1/usage": Row(Found.AS_LIST),
    "POST /v1/safety/run-shield": Row(Found.BY_BODY, _run_shield, parameter="shield_id"),
    "POST /v1/moderations": Row(
        Found.BY_BODY, lambda made: {"model": made["shield_id"], "input": "hi"}, parameter="shield_id"
    ),
    "GET /v1/tools": Row(Found.AS_LIST, shows=frozenset({("read", "tool_group")})),
    "GET /v1/tools/{tool_name:path}": Row(Found.BY_PATH, beside={("read", "tool_group"): 404}),
    "PUT /v1/prompts/{prompt_id}/set-default-version": Row(Found.BY_PATH, lambda _: {"version": 1}, OF_PROMPT),
    **{route: row for kind in KINDS for route, row in _entries(kind).items()},
}

CENSUS: Final[Mapping[str, Row]] = {name: _with_questions(name, row) for name, row in _ROWS.items()}
"""The rows of all routes."""
