"""A caller that costs OPA much, over a real server with a real OPA: others get their answers, and none a 5xx."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Scope

from policy.vocabulary import Principal
from server.authz.opa import room
from server.authz.opa.transport import Entrypoint, OpaTransport
from server.fairness.caller import CURRENT, Caller
from tests.support.callers import bearer
from tests.support.conversations_server import said
from tests.support.patience import PATIENCE
from tests.support.real_policy import Decided, decided
from tests.support.serving import Answer, request_of

GREEDY, LONG, WIDE, MODEST = map(bearer, ("greedy", "long", "wide", "modest"))
CONNECTIONS = 16
ATTACK_SECONDS = 1.0
READS = 10
SLOWEST_SECONDS = 2.0
"""For one read under attack. A busy machine takes long for everything; exchanges are bounded by number and size."""

GROUPS = tuple(f"00000000-0000-4000-8000-{number:012d}" for number in range(150))

WIDEST = 300_000
"""Bytes of the caller with a thousand attributes."""

MODELS = "\n".join(f"    - {{model_id: m{number}, provider_id: echo}}" for number in range(150))
REGEXES = "\n".join(
    f'        - permit: {{actions: [read], resource: "regex:.*(secret|internal)-{number}-.*"}}' for number in range(100)
)

CONFIG = """
    version: 2
    apis: [inference]
    providers:
      inference:
      - {provider_id: echo, provider_type: inline::echo}
    models:
MODELS
    storage:
      backends:
        sql: {type: sql_sqlite, db_path: DATABASE}
      stores:
        files: {backend: sql, table_name: openai_files}
        conversations: {backend: sql, table_name: openai_conversations}
        inference: {backend: sql, table_name: chat_completions}
      blobs: {type: local, path: BLOBS}
    server:
      auth:
        provider_config: {type: oauth2_token, audience: here, jwks: {uri: "https://issuer.example/keys"}}
        access_policy:
REGEXES
        - forbid: {actions: [update, delete]}
          unless: user in owners teams
        - permit: {actions: [read, update, delete]}
          when: user in owners teams
        - permit: {actions: [read, update, delete]}
          when: user is owner
        - permit: {actions: [read], resource: "model::*"}
        - permit: {actions: [create]}
"""


class ByName:
    """Knows callers by their tokens: some have many groups, or a long name, or many attributes."""

    async def authenticate(self, token: str, request: Scope, /) -> Principal:
        """The principal named like the token."""
        if token == "long":
            return Principal("l" * 256, "i" * 1024, {"teams": ("x" * 256,) * 10})
        if token == "wide":
            return Principal(token, "issuer", {f"attribute-{number}": ("v" * 256,) for number in range(1000)})
        return Principal(token, "issuer", {"teams": GROUPS if token == "greedy" else ("small",)})

    async def close(self) -> None:
        """There is nothing to close."""


@dataclass
class Seen:
    """What goes to OPA: the largest exchanges, and how many large ones of a caller were under way at once."""

    longest: int = 0
    most_questions: int = 0
    under_way: Counter[Caller] = field(default_factory=Counter)
    most_under_way: int = 0

    @contextmanager
    def exchange(self, body: bytes, questions: int) -> Iterator[None]:
        """Count one exchange."""
        self.longest, self.most_questions = max(self.longest, len(body)), max(self.most_questions, questions)
        caller = CURRENT.get()
        large = len(body) > room.SMALL_BYTES or questions > room.SMALL_QUESTIONS or b"secret-secret-" in body
        self.under_way[caller] += large
        self.most_under_way = max(self.most_under_way, self.under_way[caller])
        try:
            yield
        finally:
            self.under_way[caller] -= large


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Watches every exchange with OPA from here on."""
    watching, exchange = Seen(), OpaTransport.exchange

    async def watched(self: OpaTransport, body: bytes, entrypoint: Entrypoint = Entrypoint.DECISION) -> bytes:
        questions = len(json.loads(body)["input"].get("questions", [0]))
        with watching.exchange(body, questions):
            return await exchange(self, body, entrypoint)

    monkeypatch.setattr(OpaTransport, "exchange", watched)
    return watching


@pytest.fixture(scope="module")
def house(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Decided]:
    """The server, with 150 models, 100 regexes that everything is compared with, and rules by teams."""
    folder = tmp_path_factory.mktemp("neighbours")
    text = CONFIG.replace("MODELS", MODELS).replace("REGEXES", REGEXES)
    text = text.replace("DATABASE", str(folder / "records.db")).replace("BLOBS", str(folder / "blobs"))
    with decided(text, opa_binary, folder, authenticator=ByName()) as running:
        yield running


def naming(kind: str) -> dict[str, Any]:
    """Items that name a hundred records that aren't there."""
    if kind == "items":
        return {"items": [{"type": "item_reference", "id": f"msg_{number:048x}"} for number in range(20)]}
    parts = [{"type": "input_file", "file_id": f"file-{number:048x}"} for number in range(100)]
    return {"items": [{"type": "message", "role": "user", "content": parts}]}


ATTACKS: dict[str, tuple[str, str, str, Any]] = {
    "items that name a hundred files": (GREEDY, "POST", "/v1/conversations/CONVERSATION/items", naming("files")),
    "a conversation that names a hundred files": (GREEDY, "POST", "/v1/conversations", naming("files")),
    "references to items": (GREEDY, "POST", "/v1/conversations/CONVERSATION/items", naming("items")),
    "a long name that names a hundred files": (LONG, "POST", "/v1/conversations", naming("files")),
    "a thousand attributes that name a hundred files": (WIDE, "POST", "/v1/conversations", naming("files")),
    "the list of models": (GREEDY, "GET", "/v1/models", None),
    "the list of models, of a caller without groups": (bearer("plain"), "GET", "/v1/models", None),
    "the list of files": (GREEDY, "GET", "/v1/files?limit=1000", None),
    "the list of files, with a thousand attributes": (WIDE, "GET", "/v1/files", None),
    "the list of chats": (GREEDY, "GET", "/v1/chat/completions?limit=100", None),
    "single records": (GREEDY, "GET", "/v1/conversations/CONVERSATION", None),
    "single records, of a caller without groups": (bearer("plain"), "GET", "/v1/files/file-0", None),
    "a long name": (bearer("plain"), "GET", "/v1/models/" + "secret-" * 250, None),
    "a long path": (bearer("plain"), "GET", "/v1/" + "secret-" * 250, None),
    "no token": ("X-No: token", "GET", "/v1/models", None),
}


@contextmanager
def under_attack(house: Decided, attack: tuple[str, str, str, Any]) -> Iterator[list[Answer]]:
    """The attack goes on in so many threads until the context ends; the answers to it are gathered."""
    caller, method, target, body = attack
    made = house.address.ask("POST", "/v1/conversations", caller, body={}, timeout=60)
    if "CONVERSATION" in target:
        target = target.replace("CONVERSATION", made.json["id"])
    answers: list[Answer] = []
    stop = threading.Event()

    def go() -> None:
        while not stop.is_set():
            answers.append(house.address.ask(method, target, caller, body=body, timeout=60))

    threads = [threading.Thread(target=go) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.alone
@pytest.mark.parametrize("name", ATTACKS)
def test_a_greedy_caller_costs_a_modest_one_little(name: str, house: Decided, seen: Seen) -> None:
    made = house.address.ask("POST", "/v1/conversations", MODEST, body={"items": [said("hello")]}, timeout=60)
    assert made.status == HTTPStatus.OK, made.body
    target = f"/v1/conversations/{made.json['id']}"
    pdp = house.policy.world.pdp
    with under_attack(house, ATTACKS[name]) as answers:
        began, times = time.monotonic(), list[float]()
        while len(times) < READS or time.monotonic() < began + ATTACK_SECONDS:
            start = time.monotonic()
            for path in (target, "/v1/health"):
                answer = house.address.ask("GET", path, MODEST, timeout=60)
                assert answer.status == HTTPStatus.OK, answer.body
            times.append(time.monotonic() - start)
    assert max(times) < SLOWEST_SECONDS, sorted(times)[-3:]
    assert pdp.breaker_openings == 0
    assert answers
    assert {answer.status for answer in answers} <= {200, 401, 404, 429}, Counter(one.status for one in answers)
    assert seen.longest <= room.LARGE_BYTES + (WIDEST if "thousand attributes" in name else 0)
    assert seen.most_questions <= room.LARGE_QUESTIONS
    assert seen.most_under_way <= room.LARGE.each


@pytest.mark.parametrize("target", ["/v1/conversations", "/v1/conversations/CONVERSATION/items"])
def test_the_questions_of_a_client_that_has_left_are_given_up(
    target: str, house: Decided, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, given_up, exchange = threading.Event(), threading.Event(), OpaTransport.exchange

    async def hanging(self: OpaTransport, body: bytes, entrypoint: Entrypoint = Entrypoint.DECISION) -> bytes:
        if entrypoint is not Entrypoint.DECISIONS:
            return await exchange(self, body, entrypoint)
        asked.set()
        try:
            return await asyncio.get_running_loop().create_future()
        finally:
            given_up.set()

    made = house.address.ask("POST", "/v1/conversations", GREEDY, body={}, timeout=60)
    target = target.replace("CONVERSATION", made.json["id"])
    monkeypatch.setattr(OpaTransport, "exchange", hanging)
    with socket.create_connection((house.address.host, house.address.port)) as client:
        client.sendall(request_of("POST", target, GREEDY, body=naming("files")))
        assert asked.wait(PATIENCE)
        assert not given_up.is_set()
    assert given_up.wait(PATIENCE)
    monkeypatch.undo()
    answer = house.address.ask("POST", target, GREEDY, body=naming("files"), timeout=60)
    assert answer.status == HTTPStatus.NOT_FOUND
