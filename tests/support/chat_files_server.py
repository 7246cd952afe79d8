"""A server whose chats may name files, with a real OPA in front of it and a scripted provider behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from json import loads
from pathlib import Path
from typing import Any

from tests.support.application import ByToken
from tests.support.callers import ALICE, OWN
from tests.support.databases import rows
from tests.support.files_server import BOUNDARY, form_of
from tests.support.real_policy import Decided, decided
from tests.support.relay_server import ANSWER, CHATS, whole
from tests.support.scripted_provider import Scripted, scripted, sending
from tests.support.serving import Answer

NOBODYS = "file-" + "0" * 48
Json = dict[str, Any]

_CONFIG = """
    version: 2
    apis: [inference]
    providers:
      inference:
      - {provider_id: echo, provider_type: inline::echo}
      - {provider_id: far, provider_type: remote::openai, config: {base_url: "URL"}}
      - {provider_id: own, provider_type: remote::openai, config: {base_url: "URL", allow_members: [file_id]}}
      - {provider_id: claude, provider_type: remote::anthropic, config: {base_url: "URL"}}
      - provider_id: aws
        provider_type: remote::bedrock
        config: {endpoint: "BEDROCK", region: eu-west-1, CREDENTIALS}
    models:
    - {model_id: echo, provider_id: echo, provider_model_id: m}
    - {model_id: far, provider_id: far, provider_model_id: far-m}
    - {model_id: own, provider_id: own, provider_model_id: own-m}
    - {model_id: pair, provider_id: far, provider_model_id: pair-m, fallback: [claude, own]}
    - {model_id: claude, provider_id: claude, provider_model_id: claude-m}
    - {model_id: aws, provider_id: aws, provider_model_id: "anthropic.claude-3"}
    - {model_id: gpt, provider_id: aws, provider_model_id: "openai.gpt-oss-120b-1:0"}
    storage:
      backends:
        sql: {type: sql_sqlite, db_path: "FOLDER/records.db"}
      stores:
        files: {backend: sql, table_name: openai_files}
        inference: {backend: sql, table_name: chat_completions}
      blobs: BLOBS
    server:
      QUOTA
      auth:
        provider_config: {type: oauth2_token, jwks: {uri: "https://issuer.example/keys"}}
        access_policy:
        - permit: {actions: [read], resource: "model::*"}
"""
"""`OWN` follows."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The running server, the provider behind it, and the folder of its records and blobs."""

    house: Decided
    far: Scripted
    folder: Path

    def file(self, content: bytes = b"hello", caller: str = ALICE, **about: str) -> str:
        """The id of a new file."""
        kind = f'multipart/form-data; boundary="{BOUNDARY}"'
        answer = self.house.address.post("/v1/files", form_of(content, **about), caller, kind=kind)
        assert answer.status == 200, answer.body
        return str(answer.json["id"])

    def delete(self, file: str, caller: str = ALICE) -> None:
        """Remove a file."""
        assert self.house.address.ask("DELETE", f"/v1/files/{file}", caller).status == 200

    def chat(self, *parts: Any, caller: str = ALICE, model: str = "far", **more: Any) -> Answer:
        """The answer to a chat whose only message has these parts, unless there are other messages."""
        body = {"model": model, "messages": [{"role": "user", "content": [*parts]}], **more}
        self.far.asked.clear()
        return self.house.address.ask("POST", CHATS, caller, body=body, timeout=60)

    @property
    def sent(self) -> Any:
        """The body of the only request that has reached the provider."""
        [(_, body)] = self.far.asked
        return loads(body)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """What is in the database."""
        return rows(str(self.folder / "records.db"), statement)

    def blob(self, file: str) -> Path:
        """The place of a file's bytes."""
        return self.folder / "blobs" / file[5:7] / file

    def questions(self, answer: Answer) -> list[str]:
        """The ids of the files that the policy was asked about for a request, in the decision log."""
        lines = self.house.log(answer.headers["x-request-id"])
        asked = [name for line in lines for name in (line.get("resource"), *(line.get("resources") or ()))]
        return [name.rpartition("::")[2] for name in map(str, asked) if "openai_files" in name]


def named(file: str, **more: Any) -> Json:
    """The part that names a file."""
    return {"type": "file", "file": {"file_id": file, **more}}


def text(words: str) -> Json:
    """A part of text."""
    return {"type": "text", "text": words}


@contextmanager
def reading(
    opa: Path,
    folder: Path,
    *,
    url: str = "",
    bedrock: str = "http://127.0.0.1:9",
    credentials: str = "api_key: k",
    tokens: int = 0,
    blobs: str = '{type: local, path: "FOLDER/blobs"}',
) -> Iterator[Reading]:
    """The server; everything that the provider is asked is answered with `ANSWER`, unless there is another at `url`.

    Each caller has a budget of so many tokens, unless it is 0.
    """
    with scripted() as far:
        far.play(sending(whole(ANSWER)))
        filled: Mapping[str, str] = {
            "URL": url or far.url,
            "BEDROCK": bedrock,
            "CREDENTIALS": credentials,
            "FOLDER": str(folder),
        }
        quota = f"quota: {{kvstore: {{type: sqlite, db_path: {folder}/q.db}}, max_tokens_per_period: {tokens}}}"
        config = (_CONFIG + OWN).replace("QUOTA", quota if tokens else "port: 8321").replace("BLOBS", blobs)
        for name, value in filled.items():
            config = config.replace(name, value)
        runtime = folder / "opa"
        runtime.mkdir()
        with decided(config, opa, runtime, authenticator=ByToken()) as house:
            yield Reading(house, far, folder)
