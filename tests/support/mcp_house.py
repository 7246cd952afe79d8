"""A server whose responses call tools of a stub: a scripted model, a real database, and a real OPA in front."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.application import ByToken
from tests.support.callers import ALICE, OWN
from tests.support.configured_server import filled, own_database, own_folder
from tests.support.mcp_server import McpStub, mcp_server
from tests.support.patience import PATIENCE
from tests.support.real_policy import Decided, decided
from tests.support.responses_server import RESPONSES, events_of, script
from tests.support.serving import Answer

_CONFIG = """
    version: 2
    apis: [inference, agents, tool_runtime]
    providers:
      inference:
      - {provider_id: echo, provider_type: inline::echo}
      tool_runtime:
      - provider_id: mcp
        provider_type: remote::model-context-protocol
        config:
          allowed_hosts: [HOSTS]
          allow_http: ["127.0.0.1", "tools.example.com"]
          allow_private: ["127.0.0.1"]
      agents:
      - provider_id: builtin
        provider_type: inline::builtin
        config:
          persistence:
            agent_state: {backend: kv, namespace: agents}
            responses: {backend: sql, table_name: answers}
    models:
    - {model_id: small, provider_id: echo}
    storage:
      backends:
        sql: SQL
        kv: KV
      stores:
        conversations: {backend: sql, table_name: openai_conversations}
        metadata: {backend: kv, namespace: registry}
    server:
      auth:
        provider_config: {type: oauth2_token, jwks: {uri: "https://issuer.example/keys"}}
        route_policy:
        - forbid: {paths: /v1/responses*}
          when: user with barred in roles
        - permit: {paths: "*"}
        access_policy:
        - forbid: {actions: [read], resource: "model::*"}
          when: user with modest in roles
        - permit: {actions: [read], resource: "model::*"}
"""

TOOLS = """\
        - forbid: {actions: [read], resource: "regex:tool::.*/forbidden"}
        - forbid: {actions: [read], resource: "tool_group::*"}
          when: user with stranger in roles
        - forbid: {actions: [read], resource: "regex:tool_group::127.*"}
          when: user with intern in roles
        - permit: {actions: [read], resource: "tool_group::*"}
        - permit: {actions: [read], resource: "tool::*"}
"""
"""Rules that permit every tool but `forbidden`, none to `stranger`, and to `intern` none at the hosts of the stubs."""


@dataclass(frozen=True, slots=True)
class McpHouse:
    """The running server, two stubs that it may call, and where its database is."""

    house: Decided
    stub: McpStub
    other: McpStub
    database: str

    def tool(self, label: str = "s", **more: Any) -> dict[str, Any]:
        """A tool of type `mcp`, whose calls need no approval unless `more` says so."""
        return {"type": "mcp", "server_label": label, "server_url": self.stub.url, "require_approval": "never", **more}

    def create(self, text: Any, *tools: Any, caller: str = ALICE, **more: Any) -> Answer:
        """The answer to a request for a response."""
        body = {"model": "small", "input": text, "tools": tools, **more}
        return self.house.address.ask("POST", RESPONSES, caller, body=body, timeout=PATIENCE)

    def made(self, text: Any, *tools: Any, caller: str = ALICE, **more: Any) -> Any:
        """A response."""
        answer = self.create(text, *tools, caller=caller, **more)
        assert answer.status == 200, answer.body
        return answer.json

    def streamed(self, text: Any, *tools: Any, **more: Any) -> list[dict[str, Any]]:
        """The events of a response."""
        answer = self.create(text, *tools, stream=True, **more)
        assert answer.status == 200, answer.body
        return events_of(answer.body)


@contextmanager
def mcp_house(opa: Path, folder: Path, postgres: str | None = None, policy: str = TOOLS + OWN) -> Iterator[McpHouse]:
    """The server over SQLite, or over a database of its own in the PostgreSQL at that address."""
    runtime = own_folder(folder)
    with mcp_server() as stub, mcp_server() as other, own_database(runtime, postgres) as database:
        hosts = ", ".join(f'"{each.url.split("/")[2]}"' for each in (stub, other))
        text = filled(_CONFIG, database, runtime, HOSTS=f'{hosts}, "tools.example.com"')
        with decided(text + policy, opa, runtime, authenticator=ByToken()) as house:
            yield McpHouse(house, stub, other, database)


def calls(*made: tuple[str, dict[str, Any]], **more: Any) -> str:
    """A text that has the model call tools, once."""
    return script(tool_calls=[{"name": name, "arguments": arguments} for name, arguments in made], **more)
