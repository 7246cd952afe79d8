"""A server that keeps responses in a real database, with a real OPA in front of it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from json import dumps, loads
from pathlib import Path
from typing import Any

from tests.support.application import ByToken
from tests.support.callers import ALICE, OWN
from tests.support.configured_server import filled, own_database, own_folder
from tests.support.databases import backend, rows
from tests.support.event_reader import opened
from tests.support.files_server import BOUNDARY, form_of
from tests.support.patience import PATIENCE
from tests.support.real_policy import Decided, decided
from tests.support.serving import Answer

RESPONSES = "/v1/responses"
NOBODYS = "resp_" + "0" * 48

_CONFIG = """
    version: 2
    apis: [inference, agents]
    providers:
      inference:
      - {provider_id: echo, provider_type: inline::echo}
      - {provider_id: far, provider_type: remote::openai, config: {base_url: "URL/v1"}}
      - {provider_id: back, provider_type: remote::vllm, config: {base_url: "URL/v1"}}
      - {provider_id: own, provider_type: remote::openai, config: {base_url: "URL/v1", allow_members: [file_id]}}
      agents:
      - provider_id: builtin
        provider_type: inline::builtin
        config:
          persistence:
            agent_state: {backend: kv, namespace: agents}
            responses: {backend: PLACE, table_name: answers}
    models:
    - {model_id: small, provider_id: echo}
    - {model_id: secret, provider_id: echo, provider_model_id: secret-1}
    - {model_id: m, provider_id: far}
    - {model_id: dies, provider_id: far}
    - {model_id: errs, provider_id: far}
    - {model_id: stops, provider_id: far}
    - {model_id: status-500, provider_id: far}
    - {model_id: forgetful, provider_id: far, provider_model_id: thinks}
    - {model_id: thinks, provider_id: back}
    - {model_id: thinks-too, provider_id: back}
    - {model_id: either, provider_id: back, provider_model_id: thinks-or, fallback: [m], aliases: [any]}
    - {model_id: gated, provider_id: far}
    - {model_id: silent, provider_id: far}
    - {model_id: own, provider_id: own}
    storage:
      backends:
        sql: SQL
        other: OTHER
        kv: KV
      stores:
        files: {backend: sql, table_name: openai_files}
        conversations: {backend: sql, table_name: openai_conversations}
        prompts: {backend: kv, namespace: prompts}
      blobs: {type: local, path: BLOBS}
    server:
      trusted_proxies: [127.0.0.1]
      auth:
        provider_config: {type: oauth2_token, jwks: {uri: "https://issuer.example/keys"}}
        route_policy:
        - forbid: {paths: [/v1/responses*, /v1/messages*]}
          when: user with stranger in roles
        - permit: {paths: "*"}
        access_policy:
        - forbid: {actions: [read], resource: "model::secret"}
        - forbid: {actions: [read], resource: "model::*"}
          when: user with modest in roles
        - permit: {actions: [read], resource: "model::*"}
"""


_PROXIES = "trusted_proxies: [127.0.0.1]"
_ABOUT_CALLERS = re.compile(r" +- forbid: .*\n +when: user with .* in roles\n| +provider_config: .*\n")


@dataclass(frozen=True, slots=True)
class Responding:
    """The running server, and where its database is."""

    house: Decided
    database: str

    def ask(self, method: str, target: str, body: Any = None, caller: str = ALICE) -> Answer:
        """The answer to a request; `target` begins with `/v1`."""
        return self.house.address.ask(method, target, caller, body=body, timeout=PATIENCE)

    def create(self, text: Any = "hi", caller: str = ALICE, **more: Any) -> Answer:
        """The answer to a request for a response."""
        body = {"model": "small", "input": text, **more}
        return self.ask("POST", RESPONSES, {name: value for name, value in body.items() if value is not None}, caller)

    @contextmanager
    def opened(self, method: str, target: str, body: Any = None, caller: str = ALICE) -> Iterator[Iterator[Any]]:
        """The events of a stream one after another as they come; the client leaves at the end of the context."""
        with opened(self.house.address, method, target, body, caller) as events:
            yield events

    def made(self, text: Any = "hi", caller: str = ALICE, **more: Any) -> Any:
        """A response."""
        answer = self.create(text, caller, **more)
        assert answer.status == 200, answer.body
        return answer.json

    def streamed(self, text: Any = "hi", caller: str = ALICE, **more: Any) -> list[dict[str, Any]]:
        """The events of a response."""
        answer = self.create(text, caller, stream=True, **more)
        assert answer.status == 200, answer.body
        return events_of(answer.body)

    def over(self, identity: str, caller: str = ALICE, *, missing: bool = False) -> Any:
        """A response in the background, once it is over; it may be `missing` until then."""
        ends = time.monotonic() + PATIENCE
        while time.monotonic() < ends:
            answer = self.ask("GET", f"{RESPONSES}/{identity}", caller=caller)
            if missing and answer.status == 404:
                time.sleep(0.02)
                continue
            assert answer.status == 200, answer.body
            if answer.json["status"] not in ("queued", "in_progress"):
                return answer.json
            time.sleep(0.02)
        raise AssertionError(f"{identity} is not over")

    def replayed(self, identity: str, query: str = "", caller: str = ALICE) -> list[dict[str, Any]]:
        """The stored events of a response."""
        answer = self.ask("GET", f"{RESPONSES}/{identity}?stream=true{query}", caller=caller)
        assert answer.status == 200, answer.body
        return events_of(answer.body)

    def items(self, identity: str, query: str = "?order=asc&limit=100", caller: str = ALICE) -> list[Any]:
        """The input items of a response."""
        answer = self.ask("GET", f"{RESPONSES}/{identity}/input_items{query}", caller=caller)
        assert answer.status == 200, answer.body
        found: list[Any] = answer.json["data"]
        return found

    def conversation(self, caller: str = ALICE, **body: Any) -> str:
        """The id of a new conversation."""
        answer = self.ask("POST", "/v1/conversations", body, caller)
        assert answer.status == 200, answer.body
        return str(answer.json["id"])

    def said_in(self, conversation: str, caller: str = ALICE) -> list[tuple[str, str]]:
        """The messages of a conversation, each as its role and its text."""
        answer = self.ask("GET", f"/v1/conversations/{conversation}/items?order=asc&limit=100", caller=caller)
        assert answer.status == 200, answer.body
        return [(item["role"], item["content"][0]["text"]) for item in answer.json["data"]]

    def prompt(self, text: str, *variables: str, caller: str = ALICE) -> str:
        """The id of a new prompt."""
        answer = self.ask("POST", "/v1/prompts", {"prompt": text, "variables": [*variables]}, caller)
        assert answer.status == 200, answer.body
        return str(answer.json["prompt_id"])

    def file(self, content: bytes = b"hello", caller: str = ALICE, **about: str) -> str:
        """The id of a new file."""
        kind = f'multipart/form-data; boundary="{BOUNDARY}"'
        answer = self.house.address.post("/v1/files", form_of(content, **about), caller, kind=kind)
        assert answer.status == 200, answer.body
        return str(answer.json["id"])

    def count(self) -> int:
        """How many responses are stored."""
        found: int = rows(self.database, "SELECT count(*) FROM answers")[0][0]
        return found


def script(**members: Any) -> str:
    """A text that says what the model is to answer."""
    return dumps({"echo": members})


def events_of(body: bytes) -> list[dict[str, Any]]:
    """The events of a stream, each of which says its type twice; the last thing is `[DONE]`."""
    *found, last, end = body.decode().split("\n\n")
    assert (last, end) == ("data: [DONE]", "")
    events = []
    for text in found:
        name, data = text.split("\n")
        event = loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        events.append(event)
    return events


@contextmanager
def responding(
    opa: Path,
    folder: Path,
    postgres: str | None = None,
    *,
    upstream: str = "http://127.0.0.1:9",
    apart: bool = False,
    policy: str = OWN,
    anonymous: bool = False,
    server: str = "",
) -> Iterator[Responding]:
    """The server over SQLite, or over a database of its own in the PostgreSQL at that address.

    Responses are in another database than conversations if they are `apart`. Every caller is `anonymous` where
    authentication is off; then no rule before `policy` is about roles. `server` is one more line of that section.
    """
    runtime = own_folder(folder)
    with (
        own_database(runtime, postgres) as database,
        responding_on(opa, runtime, database, upstream, apart, policy, anonymous=anonymous, server=server) as running,
    ):
        yield running


@contextmanager
def responding_on(
    opa: Path,
    folder: Path,
    database: str,
    upstream: str,
    apart: bool = False,
    policy: str = OWN,
    *,
    anonymous: bool = False,
    server: str = "",
) -> Iterator[Responding]:
    """The server over that database, which others may use, too."""
    other = str(folder / "other.db")
    places = {"OTHER": backend(other), "PLACE": "other" if apart else "sql", "URL": upstream}
    config = _ABOUT_CALLERS.sub("", _CONFIG) if anonymous else _CONFIG
    text = filled(config.replace(_PROXIES, f"{_PROXIES}\n      {server}"), database, folder, **places)
    with decided(text + policy, opa, folder, authenticator=None if anonymous else ByToken()) as house:
        yield Responding(house, other if apart else database)
