"""What every route is about: a table with a row for each, which the census holds against the server.

A new route needs a row here, or the build fails. The row says which resource a request is about, what it does to it and
how the server knows which one it is; the census derives from that what each caller gets, and makes the requests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from tests.support.files_server import form_of
from tests.support.registry_server import KINDS

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

    `kind` and `action` are what the policy is asked about the resource. `beside` holds what else it is asked, as pairs
    of those two, for other resources that the request touches, with the status for whoever may not do that. `body` is
    sent: bytes as a form, else as JSON.
    """

    kind: str
    action: str
    found: Found
    body: Callable[[Made], Any] | None = None
    beside: Mapping[tuple[str, str], int] = field(default_factory=dict)
    is_public: bool = False
    shows: frozenset[tuple[str, str]] = frozenset()
    """What it asks about besides, and does not need: what the caller may not read is left out."""

    @property
    def asks(self) -> set[tuple[str, str]]:
        """Everything that the policy is asked about resources."""
        own = set() if self.found is Found.NOT_AT_ALL else {(self.action, self.kind)}
        return own | {*self.beside}

    @property
    def changes(self) -> bool:
        """Whether something is made, changed or removed."""
        return any(action != "read" for action, _ in self.asks)


FILE: Final = "sql_record::openai_files"
CONVERSATION: Final = "sql_record::openai_conversations"
ITEM: Final = "sql_record::conversation_items"
ANSWER: Final = "sql_record::chat_completions"
MESSAGE: Final = {"type": "message", "role": "user", "content": "hi"}
WORDING: Final = {"prompt": "say {{ what }}", "variables": ["what"]}
READING: Final = {("read", CONVERSATION): 404}
CHANGING: Final = {("update", CONVERSATION): 404}


def _chat(made: Made) -> Any:
    return {"model": made["model_id"], "messages": [{"role": "user", "content": "hi"}], "store": True}


def _entries(kind: str) -> dict[str, Row]:
    """The rows of one kind of the registry."""
    path, beside = KINDS[kind].path, {("read", "provider"): 400} if kind == "model" else {}
    one = f"{path}/{{{'model_id' if kind == 'model' else 'identifier'}:path}}"
    return {
        f"GET {path}": Row(kind, "read", Found.AS_LIST),
        f"POST {path}": Row(kind, "create", Found.AS_NEW, lambda made: KINDS[kind].body(made["new"]), beside),
        f"GET {one}": Row(kind, "read", Found.BY_PATH),
        f"DELETE {one}": Row(kind, "delete", Found.BY_PATH),
    }


CENSUS: Final[Mapping[str, Row]] = {
    "GET /v1/health": Row("", "", Found.NOT_AT_ALL, is_public=True),
    "GET /v1/health/ready": Row("", "", Found.NOT_AT_ALL, shows=frozenset({("read", "provider")})),
    "GET /v1/version": Row("", "", Found.NOT_AT_ALL, is_public=True),
    "GET /metrics": Row("", "", Found.NOT_AT_ALL),
    "GET /v1/providers": Row("provider", "read", Found.AS_LIST),
    "GET /v1/providers/{provider_id}": Row("provider", "read", Found.BY_PATH),
    "POST /v1/chat/completions": Row("model", "read", Found.BY_BODY, _chat, {("create", ANSWER): 403}),
    "GET /v1/chat/completions": Row(ANSWER, "read", Found.AS_LIST),
    "GET /v1/chat/completions/{completion_id}": Row(ANSWER, "read", Found.BY_PATH),
    "POST /v1/chat/completions/{completion_id}": Row(ANSWER, "update", Found.BY_PATH, lambda _: {"metadata": {}}),
    "DELETE /v1/chat/completions/{completion_id}": Row(ANSWER, "delete", Found.BY_PATH),
    "GET /v1/chat/completions/{completion_id}/messages": Row(ANSWER, "read", Found.BY_PATH),
    "GET /v1/files": Row(FILE, "read", Found.AS_LIST),
    "POST /v1/files": Row(FILE, "create", Found.AS_NEW, lambda _: form_of(b"x")),
    "GET /v1/files/{file_id}": Row(FILE, "read", Found.BY_PATH),
    "DELETE /v1/files/{file_id}": Row(FILE, "delete", Found.BY_PATH),
    "GET /v1/files/{file_id}/content": Row(FILE, "read", Found.BY_PATH),
    "POST /v1/conversations": Row(CONVERSATION, "create", Found.AS_NEW, lambda _: {}),
    "GET /v1/conversations/{conversation_id}": Row(CONVERSATION, "read", Found.BY_PATH),
    "POST /v1/conversations/{conversation_id}": Row(
        CONVERSATION, "update", Found.BY_PATH, lambda _: {"metadata": {"a": "b"}}
    ),
    "DELETE /v1/conversations/{conversation_id}": Row(CONVERSATION, "delete", Found.BY_PATH),
    "GET /v1/conversations/{conversation_id}/items": Row(ITEM, "read", Found.AS_LIST, beside=READING),
    "POST /v1/conversations/{conversation_id}/items": Row(
        ITEM, "create", Found.AS_NEW, lambda _: {"items": [MESSAGE]}, CHANGING
    ),
    "GET /v1/conversations/{conversation_id}/items/{item_id}": Row(ITEM, "read", Found.BY_PATH, beside=READING),
    "DELETE /v1/conversations/{conversation_id}/items/{item_id}": Row(ITEM, "delete", Found.BY_PATH, beside=CHANGING),
    "GET /v1/prompts": Row("prompt", "read", Found.AS_LIST),
    "POST /v1/prompts": Row("prompt", "create", Found.AS_NEW, lambda _: WORDING),
    "GET /v1/prompts/{prompt_id}": Row("prompt", "read", Found.BY_PATH),
    "PUT /v1/prompts/{prompt_id}": Row("prompt", "update", Found.BY_PATH, lambda _: {**WORDING, "version": 1}),
    "DELETE /v1/prompts/{prompt_id}": Row("prompt", "delete", Found.BY_PATH),
    "GET /v1/prompts/{prompt_id}/versions": Row("prompt", "read", Found.BY_PATH),
    "PUT /v1/prompts/{prompt_id}/set-default-version": Row("prompt", "update", Found.BY_PATH, lambda _: {"version": 1}),
    **{route: row for kind in KINDS for route, row in _entries(kind).items()},
}
