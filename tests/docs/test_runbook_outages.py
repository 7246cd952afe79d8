"""The table of `docs/operate/runbook.md` about dependencies, held by taking each of them away from a real server."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.failing_provider import upstream
from tests.support.identity_services import Asked, service
from tests.support.ostiary_run import eventually
from tests.support.postgres import Postgres, running_postgres
from tests.support.runbook_server import TEXT, Desk, desk
from tests.support.s3 import BUCKET, running_s3
from tests.support.severable_proxy import Line, line_to
from tests.support.valkey import running_valkey

CONFIG = """\
version: 2
apis: [inference]
providers:
  inference:
    - {provider_id: far, provider_type: remote::vllm, config: {url: "http://127.0.0.1:PROVIDER/v1"}}
models:
  - {provider_id: far, model_id: m}
storage:
  backends:
    records: {type: sql_postgres, host: "DATABASE", db: postgres, user: postgres}
    counts: {type: kv_redis, host: 127.0.0.1, port: QUOTA}
  stores:
    conversations: {backend: records, table_name: openai_conversations}
  blobs:
    {type: s3, bucket: BUCKET, prefix: p, endpoint: "http://127.0.0.1:BLOBS", access_key_id: k, secret_access_key: s}
server:
  decision_log: FOLDER/decisions.jsonl
  quota:
    kvstore: {backend: counts, namespace: q}
    authenticated_max_requests: 100000
  auth:
    provider_config: {type: custom, endpoint: "http://127.0.0.1:IDENTITY/check", recheck_period: 3600}
    route_policy:
      - permit: {paths: [/v1/health, /v1/version]}
      - permit: {paths: "*"}
        when: user is authenticated
"""


@dataclass
class Place:
    """A server, and the ways to everything that it depends on."""

    desk: Desk
    lines: dict[str, Line]
    postgres: Postgres

    def ask(self, method: str, path: str, **body: Any) -> httpx.Response:
        return self.desk.ask(method, path, "known", **body)

    @contextmanager
    def without(self, name: str) -> Iterator[None]:
        """That dependency is away."""
        take, bring = self._ways(name)
        take()
        try:
            yield
        finally:
            bring()

    def _ways(self, name: str) -> tuple[Callable[[], object], Callable[[], object]]:
        server = self.desk.server
        assert server is not None
        log = self.desk.folder / "decisions.jsonl"
        match name:
            case "policy":
                opa = server.opa
                return (lambda: os.kill(opa, signal.SIGSTOP)), (lambda: os.kill(opa, signal.SIGCONT))
            case "decision_log":
                return (lambda: (log.unlink(), log.mkdir())), log.rmdir
            case "database":
                return self.postgres.kill, self.postgres.start
        return self.lines[name].cut, self.lines[name].mend


def validated(asked: Asked) -> tuple[int, Any]:
    return 200, {"principal": "ops", "attributes": {"roles": ["operator"]}, "message": ""}


@pytest.fixture(scope="module")
def place(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with ExitStack() as stack:
        postgres = stack.enter_context(running_postgres())
        urls = {
            "provider": stack.enter_context(upstream()).url,
            "quota": stack.enter_context(running_valkey()).connection_url,
            "blobs": stack.enter_context(running_s3()).url,
            "identity": stack.enter_context(service(validated)).url,
        }
        lines = {name: stack.enter_context(line_to(url)) for name, url in urls.items()}
        text = CONFIG.replace("BUCKET", BUCKET).replace("DATABASE", postgres.url.partition("host=")[2])
        for name, line in lines.items():
            text = text.replace(name.upper(), str(line.port))
        found = desk(tmp_path_factory.mktemp("outages"), opa_binary, text)
        stack.enter_context(found.serving())
        found.environ["TOKEN"] = "known"
        place = Place(found, lines, postgres)
        assert eventually(lambda: place.ask("GET", "/v1/models").status_code == 200)
        yield place


def chat(place: Place) -> httpx.Response:
    return place.ask(
        "POST", "/v1/chat/completions", json={"model": "m", "messages": [{"role": "user", "content": "x"}]}
    )


def conversation(place: Place) -> httpx.Response:
    return place.ask("POST", "/v1/conversations", json={})


def upload(place: Place) -> httpx.Response:
    return place.ask("POST", "/v1/files", files={"file": b"text"}, data={"purpose": "user_data"})


def models(place: Place) -> httpx.Response:
    return place.ask("GET", "/v1/models")


def stranger(place: Place) -> httpx.Response:
    return place.desk.ask("GET", "/v1/models", f"new-{os.urandom(4).hex()}")


USES: dict[str, tuple[Callable[[Place], httpx.Response], Callable[[Place], httpx.Response] | None]] = {
    "policy": (models, None),
    "decision_log": (models, None),
    "quota": (models, None),
    "database": (conversation, chat),
    "blobs": (upload, chat),
    "identity": (stranger, models),
    "provider": (chat, models),
}
"""By dependency: a request that needs it, and one that goes on without it."""


def row(name: str) -> str:
    """What the page says that clients see without it."""
    table = TEXT.split("| dependency | clients see | do |")[1].split("\n\n")[0]
    (found,) = re.findall(rf"^\| `{name}[`:].*?\| (.*?) \|", table, re.MULTILINE)
    return str(found)


@pytest.mark.parametrize("name", USES)
def test_clients_see_what_the_page_says(place: Place, name: str) -> None:
    use, other = USES[name]
    assert eventually(lambda: use(place).status_code == 200)
    told = re.match(r"(\d{3})(?: `(\w+)`)?", row(name))
    assert told
    with place.without(name):
        assert eventually(lambda: use(place).status_code != 200)
        answer = use(place)
        assert answer.status_code == int(told[1])
        assert told[2] in (None, answer.json()["error"]["code"])
        if other is not None:
            assert re.search("go(es)? on", row(name))
            assert other(place).status_code == 200
        shown = place.desk.run("ready")
        if name in ("policy", "decision_log"):
            assert re.search(r'"status": "unavailable"|"policy_unavailable"', shown)
        else:
            assert re.search(rf'"{name}[:\w]*": {{\s+"state": "(down|degraded)"', shown)
        if other is not None:
            assert re.search(rf'dependency_up{{dependency="{name}[:\w]*"}} 0', place.desk.run("dependencies"))
    assert eventually(lambda: use(place).status_code == 200)
