"""A server with every route, where what a request needs can be made."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from json import dumps
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import quote

from tests.support.application import ByToken
from tests.support.callers import bearer
from tests.support.files_server import BOUNDARY, form_of, wait_until
from tests.support.real_policy import Decided, decided
from tests.support.registry_server import KINDS
from tests.support.route_table import CENSUS, MESSAGE, WORDING
from tests.support.serving import Answer, parsed

CONFIG = """
    version: 2
    providers:
      inference:
      - {provider_id: echo, provider_type: inline::echo}
      safety:
      - {provider_id: words, provider_type: inline::keyword}
      tool_runtime:
      - {provider_id: own, provider_type: inline::file-search}
    shields:
    - {shield_id: words, provider_id: words, params: {words: [falcon]}}
    tool_groups:
    - {toolgroup_id: searches, provider_id: own}
    models:
    - {model_id: open, provider_id: echo}
    - {model_id: vectors, provider_id: echo, model_type: embedding, metadata: {embedding_dimension: 8}}
    storage:
      backends:
        kv: {type: kv_sqlite, db_path: FOLDER/kv.db}
        sql: {type: sql_sqlite, db_path: FOLDER/sql.db}
      stores:
        metadata: {backend: kv, namespace: registry}
        prompts: {backend: kv, namespace: prompts}
        inference: {backend: sql, table_name: chat_completions}
        conversations: {backend: sql, table_name: openai_conversations}
        files: {backend: sql, table_name: openai_files}
      blobs: {type: local, path: FOLDER/blobs}
    server:
      auth:
        provider_config: {type: oauth2_token, jwks: {uri: "https://issuer.example/keys"}}
        route_policy:
        - forbid: {paths: "*"}
          when: user with outsider in roles
        - permit: {paths: "*"}
        access_policy: POLICY
"""
KINDS_ASKED = sorted({kind for row in CENSUS.values() for _, kind in row.asked})
WITHOUT = """
        - forbid: {actions: [create, read, update, delete], resource: "KIND::*"}
          when: user with without-WORD in roles
"""
POLICY = f"""{"".join(WITHOUT.replace("KIND", kind).replace("WORD", kind.replace("::", ".")) for kind in KINDS_ASKED)}
        - forbid: {{actions: [create, update, delete]}}
          when: user with reader in roles
        - forbid: {{actions: read}}
          when: user with blind in roles
        - permit: {{actions: [create, read, update, delete]}}
"""
ADMIN, READER, BLIND, OUTSIDER = map(bearer, ("admin", "reader", "blind", "outsider"))
"""May do anything; may read everything and change nothing; may do anything but read; may not use any route."""

CHANGED = "-"
"""Ends the id of what there is not."""

PARAMETER = re.compile(r"\{(\w+)(:path)?\}")


@dataclass(frozen=True, slots=True)
class Place:
    """A server, where what a request needs can be made."""

    house: Decided

    def send(self, route: str, made: dict[str, str], caller: str) -> Answer:
        """The answer to the request that the route's row describes."""
        method, template = route.split(" ")
        path = PARAMETER.sub(lambda found: quote(made[found[1]], safe="/" if found[2] else ""), template)
        body = CENSUS[route].body
        return self.request(method, path, None if body is None else body(made), caller)

    def request(self, method: str, path: str, body: Any, caller: str) -> Answer:
        """The answer to a body: a form as bytes, anything else as JSON, and None for none."""
        form = isinstance(body, bytes)
        raw = body if form else b"" if body is None else dumps(body).encode()
        kind = f"multipart/form-data; boundary={BOUNDARY}" if form else "application/json"
        about = [] if body is None else [f"Content-Type: {kind}", f"Content-Length: {len(raw)}"]
        head = "\r\n".join([f"{method} {path} HTTP/1.1", "Host: here", caller, *about, "", ""])
        return parsed(self.house.address.exchange(head.encode() + raw))

    def made(self, route: str) -> dict[str, str]:
        """New things of the admin's for one request: by the parameters of the path, or to be named in the body."""
        template = route.split(" ")[1]
        named = "echo/vectors" if template == "/v1/embeddings" else "echo/open"
        made = {"new": f"new-{token_hex(6)}", "model_id": named, "shield_id": "words"}
        if template == "/v1/usage":
            self._used()
        if template == "/v1/batches":
            made |= self._input_file()
        if template.startswith("/v1/vector-io/"):
            made |= self._filled_store()
        for parameter, _ in PARAMETER.findall(template):
            made |= getattr(self, f"_{parameter}")(template)
        return made

    def _posted(self, path: str, body: Any) -> Any:
        answer = self.request("POST", path, body, ADMIN)
        assert answer.status == 200, answer.body
        return answer.json

    def _used(self) -> None:
        """Use a model, until that is written."""
        self._posted("/v1/completions", {"model": "open", "prompt": "hi"})
        wait_until(lambda: bool(self.request("GET", "/v1/usage", None, ADMIN).json["data"]))

    def _tool_name(self, _template: str) -> dict[str, str]:
        return {"tool_name": "searches/file_search"}

    def _provider_id(self, _template: str) -> dict[str, str]:
        return {"provider_id": "echo"}

    def _file_id(self, template: str) -> dict[str, str]:
        if template.startswith("/v1/vector_stores"):
            return {}
        return {"file_id": self._posted("/v1/files", form_of(b"x"))["id"]}

    def _vector_store_id(self, template: str) -> dict[str, str]:
        store = self._posted("/v1/vector_stores", {})["id"]
        if template == "/v1/vector_stores/{vector_store_id}":
            return {"vector_store_id": store}
        file, other = (self._posted("/v1/files", form_of(b"x"))["id"] for _ in range(2))
        batch = self._posted(f"/v1/vector_stores/{store}/file_batches", {"file_ids": [file]})["id"]
        # What fills a store is another file each time: one that is there already is not attached anew.
        return {"vector_store_id": store, "file_id": file, "batch_id": batch, "other_file": other}

    def _filled_store(self) -> dict[str, str]:
        """A store whose index is open."""
        made = {"vector_store_id": self._posted("/v1/vector_stores", {})["id"]}
        wait_until(lambda: self.send("POST /v1/vector-io/insert", made, ADMIN).status != 503)
        return made

    def _input_file(self) -> dict[str, str]:
        """A file of one line, whose model takes its time."""
        message = {"role": "user", "content": dumps({"echo": {"content": "hi", "delay_ms": 3000}})}
        line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions"}
        text = dumps({**line, "body": {"model": "open", "messages": [message]}})
        return {"input_file": self._posted("/v1/files", form_of(text.encode(), purpose="batch"))["id"]}

    def _batch_id(self, template: str) -> dict[str, str]:
        if template.startswith("/v1/vector_stores"):
            return {}
        asked = CENSUS["POST /v1/batches"].body
        assert asked is not None
        made = self._posted("/v1/batches", asked(self._input_file()))["id"]
        self._posted(f"/v1/batches/{made}/cancel", None)
        return {"batch_id": made}

    def _conversation_id(self, _template: str) -> dict[str, str]:
        conversation = self._posted("/v1/conversations", {"items": [MESSAGE]})["id"]
        items = self.request("GET", f"/v1/conversations/{conversation}/items", None, ADMIN).json["data"]
        return {"conversation_id": conversation, "item_id": items[0]["id"]}

    def _item_id(self, _template: str) -> dict[str, str]:
        return {}

    def _completion_id(self, _template: str) -> dict[str, str]:
        chat = {"model": "open", "messages": [{"role": "user", "content": "hi"}], "store": True}
        made: str = self._posted("/v1/chat/completions", chat)["id"]
        for _ in range(200):
            if self.request("GET", f"/v1/chat/completions/{made}", None, ADMIN).status == 200:
                return {"completion_id": made}
        raise AssertionError("a stored answer was not written")

    def _response_id(self, template: str) -> dict[str, str]:
        if not template.endswith("/cancel"):
            return {"response_id": self._posted("/v1/responses", {"model": "open", "input": "hi"})["id"]}
        script = dumps({"echo": {"content": "hi", "delay_ms": 5000}})
        made = self._posted("/v1/responses", {"model": "open", "input": script, "background": True})["id"]
        one = f"/v1/responses/{made}"
        # Its worker asks the policy, too; once it waits for the model, all is asked.
        wait_until(lambda: self.request("GET", one, None, ADMIN).json["status"] != "queued")
        self._posted(f"{one}/cancel", None)
        return {"response_id": made}

    def _prompt_id(self, _template: str) -> dict[str, str]:
        return {"prompt_id": self._posted("/v1/prompts", WORDING)["prompt_id"]}

    def _model_id(self, _template: str) -> dict[str, str]:
        return {"model_id": self._posted("/v1/models", KINDS["model"].body(f"m-{token_hex(6)}"))["id"]}

    def _identifier(self, template: str) -> dict[str, str]:
        kind = next(kind for kind in KINDS.values() if template.startswith(f"{kind.path}/"))
        return {"identifier": self._posted(kind.path, kind.body(f"n-{token_hex(6)}"))["id"]}


@contextmanager
def running(opa: Path, folder: Path, *, start: bool = True) -> Iterator[Place]:
    text = CONFIG.replace("FOLDER", str(folder)).replace("POLICY", POLICY)
    with decided(text, opa, folder, authenticator=ByToken(), start=start) as house:
        yield Place(house)
