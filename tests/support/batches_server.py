"""A server that runs batches over a real database, with a real OPA in front of it; and input files for it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from json import dumps, loads
from pathlib import Path
from secrets import token_hex
from typing import Any

from tests.support.application import ByToken
from tests.support.callers import ALICE, OWN
from tests.support.databases import backend, empty_database
from tests.support.files_server import BOUNDARY, form_of
from tests.support.patience import PATIENCE
from tests.support.real_policy import Decided, decided
from tests.support.serving import Answer

BATCHES = "/v1/batches"
CHAT = "/v1/chat/completions"
OVER = ("completed", "failed", "expired", "cancelled")

CONFIG = """
    version: 2
    apis: [inference, agents]
    providers:
      inference:
      - {provider_id: echo, provider_type: inline::echo}
      - {provider_id: far, provider_type: remote::vllm, config: {url: "URL/v1"}}
      agents: [{provider_id: builtin, provider_type: inline::builtin}]
    models:
    - {model_id: small, provider_id: echo}
    - {model_id: m, provider_id: far}
    - {model_id: secret, provider_id: far}
    - {model_id: vectors, provider_id: far, model_type: embedding, metadata: {embedding_dimension: 2}}
    storage:
      backends:
        sql: SQL
      stores:
        files: {backend: sql, table_name: openai_files}
      blobs: {type: local, path: BLOBS}
    server:
      QUOTA
      auth:
        provider_config: {type: oauth2_token, jwks: {uri: "https://issuer.example/keys"}}
        route_policy:
        - forbid: {paths: /v1/embeddings}
          when: user with blunt in roles
        - forbid: {paths: "/v1/batches*"}
          when: user with stranger in roles
        - permit: {paths: "*"}
        access_policy:
        - forbid: {actions: [read], resource: "model::far/secret"}
          unless: user with trusted in roles
        - forbid: {actions: [read], resource: "model::*"}
          when: user with modest in roles
        - permit: {actions: [read], resource: "model::*"}
"""


@dataclass(frozen=True, slots=True)
class Batching:
    """The running server, and where its database is."""

    house: Decided
    database: str

    def ask(self, method: str, target: str, body: Any = None, caller: str = ALICE) -> Answer:
        """The answer to a request; `target` begins with `/v1`."""
        return self.house.address.ask(method, target, caller, body=body, timeout=PATIENCE)

    def file(self, content: bytes, caller: str = ALICE, purpose: str = "batch", **fields: str) -> str:
        """The id of a new file."""
        kind = f'multipart/form-data; boundary="{BOUNDARY}"'
        form = form_of(content, "lines.jsonl", purpose, **fields)
        answer = self.house.address.ask("POST", "/v1/files", caller, body=form, kind=kind, timeout=60)
        assert answer.status == 200, answer.body
        return str(answer.json["id"])

    def create(self, file: str, endpoint: str = CHAT, caller: str = ALICE, **more: Any) -> Answer:
        """The answer to a request for a batch."""
        body = {"input_file_id": file, "endpoint": endpoint, "completion_window": "24h", **more}
        return self.ask("POST", BATCHES, body, caller)

    def begun(self, lines: Sequence[Any] | bytes, caller: str = ALICE, *, endpoint: str = CHAT, **more: Any) -> str:
        """The id of a batch of these lines."""
        content = lines if isinstance(lines, bytes) else written(lines)
        answer = self.create(self.file(content, caller), endpoint, caller, **more)
        assert answer.status == 200, answer.body
        return str(answer.json["id"])

    def get(self, batch: str, caller: str = ALICE) -> Any:
        """A batch."""
        answer = self.ask("GET", f"{BATCHES}/{batch}", caller=caller)
        assert answer.status == 200, answer.body
        return answer.json

    def over(self, batch: str, caller: str = ALICE, seconds: float = PATIENCE) -> Any:
        """A batch, once it is over."""
        return self.until(batch, lambda shown: shown["status"] in OVER, caller, seconds)

    def until(self, batch: str, holds: Any, caller: str = ALICE, seconds: float = PATIENCE) -> Any:
        """A batch, once that holds of it."""
        ends = time.monotonic() + seconds
        while not holds(shown := self.get(batch, caller)):
            assert time.monotonic() < ends, shown
            time.sleep(0.02)
        return shown

    def lines_of(self, file: str | None, caller: str = ALICE) -> list[Any]:
        """The lines of a file that a batch has made."""
        if file is None:
            return []
        answer = self.ask("GET", f"/v1/files/{file}/content", caller=caller)
        assert answer.status == 200, answer.body
        assert answer.body.endswith(b"\n")
        return [loads(line) for line in answer.body.splitlines()]

    def results(self, shown: Any, caller: str = ALICE) -> tuple[dict[str, Any], dict[str, Any]]:
        """The lines of both files by their ids; every line of the input is in one of them, once, and is counted."""
        good, bad = (self.lines_of(shown[name], caller) for name in ("output_file_id", "error_file_id"))
        names = [line["custom_id"] for line in (*good, *bad)]
        assert len(names) == len({*names}), "a line has two results"
        counts = {"total": len(names), "completed": len(good), "failed": len(bad)}
        assert shown["request_counts"] == counts
        assert shown["usage"]["total_tokens"] == tokens_of(good)
        return {line["custom_id"]: line for line in good}, {line["custom_id"]: line for line in bad}


def tokens_of(good: Sequence[Any]) -> int:
    """The tokens that the answers of these lines tell of."""
    return sum((line["response"]["body"].get("usage") or {}).get("total_tokens", 0) for line in good)


def chat(name: str, text: str = "hi", model: str = "m", **more: Any) -> dict[str, Any]:
    """A line that asks for a chat."""
    body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
    return {"custom_id": name, "method": "POST", "url": CHAT, "body": body}


def line(name: str, url: str, **body: Any) -> dict[str, Any]:
    """A line that asks for something else."""
    return {"custom_id": name, "method": "POST", "url": url, "body": body}


def written(lines: Sequence[Any]) -> bytes:
    """The input file of these lines."""
    return b"".join(dumps(each).encode() + b"\n" for each in lines)


@contextmanager
def batching(
    opa: Path, folder: Path, postgres: str | None = None, url: str = "http://127.0.0.1:9", **more: Any
) -> Iterator[Batching]:
    """The server over an SQLite file of its own, or over a database of its own in PostgreSQL at that address."""
    runtime = folder / token_hex(4)
    runtime.mkdir()
    if postgres is None:
        with batching_on(opa, runtime, str(runtime / "records.db"), url, **more) as running:
            yield running
        return
    with empty_database(postgres) as database, batching_on(opa, runtime, database, url, **more) as running:
        yield running


@contextmanager
def batching_on(
    opa: Path, folder: Path, database: str, url: str, *, policy: str = OWN, quota: str = "", blobs: str = ""
) -> Iterator[Batching]:
    """The server over that database, which others may use, too."""
    text = config_of(database, url, blobs or str(folder / "blobs"), quota) + policy
    with decided(text, opa, folder, authenticator=ByToken()) as house:
        yield Batching(house, database)


def config_of(database: str, url: str, blobs: str, quota: str = "") -> str:
    """The configuration, without the end of its access policy."""
    places = {"SQL": backend(database), "BLOBS": blobs, "URL": url, "QUOTA": quota or "port: 8321"}
    text = CONFIG
    for name, value in places.items():
        text = text.replace(name, value)
    return text
