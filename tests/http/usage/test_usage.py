"""`GET /v1/usage` with a real OPA and both databases: who sees what, and whether it is what was used."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from server.storage.usage import recorder
from server.storage.usage.days import day_text, today
from tests.support.application import ByToken
from tests.support.callers import ALICE, BOB, bearer
from tests.support.databases import backend, empty_database
from tests.support.list_pages import check_pages
from tests.support.patience import PATIENCE
from tests.support.real_policy import Decided, decided
from tests.support.serving import Answer

CAROL, ADMIN, DAN, EVE, FAY, GUS, HAL, IDA, JOE, KIM = map(
    bearer, ("carol", "admin", "dan", "eve", "fay", "gus", "hal", "ida", "joe", "kim")
)
CONFIG = """
    version: 2
    apis: [inference]
    providers:
      inference:
      - {provider_id: echo, provider_type: inline::echo}
      - {provider_id: gone, provider_type: remote::vllm, config: {url: "http://127.0.0.1:9", retries: 0}}
    models:
    - {model_id: open, provider_id: echo}
    - {model_id: lost, provider_id: gone, fallback: [open]}
    - {model_id: alone, provider_id: gone}
    - {model_id: vectors, provider_id: echo, model_type: embedding, metadata: {embedding_dimension: 8}}
    storage:
      backends:
        kv: KEYS
        sql: BACKEND
      stores:
        metadata: {backend: kv, namespace: registry}
        prompts: {backend: kv, namespace: prompts}
        usage: {backend: kv, namespace: usage}
        files: {backend: sql, table_name: openai_files}
        conversations: {backend: sql, table_name: openai_conversations}
        inference: {backend: sql, table_name: chat_completions}
      blobs: {type: local, path: FOLDER/blobs}
    server:
      usage: {team: roles}
      quota:
        kvstore: {type: sqlite, db_path: FOLDER/quotas.db}
        limits:
        - {when: user with carol in roles, max_tokens_per_period: 100000}
      auth:
        provider_config: {type: oauth2_token, jwks: {uri: "https://issuer.example/keys"}}
"""
RULES = """
        access_policy:
        - permit: {actions: [read], resource: "model::*"}
        - permit: {actions: [read], resource: "usage::*"}
          when: user with admin in roles
        - permit: {actions: [read]}
          when: user is owner
"""
EMPTY = {"object": "list", "data": [], "first_id": "", "last_id": "", "has_more": False}
COUNTS = (
    *("requests", "failed", "cancelled"),
    *("prompt_tokens", "completion_tokens", "cached_tokens", "total_tokens"),
)
ONE = (1, 0, 0, 2, 3, 0, 5)
"""The counts of one chat: the echo says three words to two."""


class House:
    """Two servers that share what they keep, under the default policy and under rules for an administrator."""

    def __init__(self, default: Decided, ruled: Decided) -> None:
        self.servers = (default, ruled)

    def use(self, caller: str, path: str = "/v1/chat/completions", server: int = 0, **more: Any) -> Answer:
        """The answer to a request to a model."""
        body: dict[str, Any] = {"model": "open", "messages": [{"role": "user", "content": "hello there"}], **more}
        body = {name: value for name, value in body.items() if value is not ...}
        return self.servers[server].address.ask("POST", path, caller, body=body, timeout=60)

    def usage(self, caller: str, server: int = 0, **query: str) -> Any:
        """What a caller is shown."""
        asked = f"?{urlencode(query)}" if query else ""
        answer = self.servers[server].address.get(f"/v1/usage{asked}", caller)
        assert answer.status == 200, answer.body
        return answer.json

    def counts(self, caller: str, server: int = 0, **query: str) -> dict[str, tuple[int, ...]]:
        """The numbers of each entry, by its id."""
        shown = self.usage(caller, server, **query)["data"]
        return {entry["id"]: tuple(entry[name] for name in COUNTS) for entry in shown}

    def until(self, caller: str, counted: dict[str, tuple[int, ...]], server: int = 0, **query: str) -> None:
        """Wait until a caller is shown these entries, whatever else: they are written in the background."""
        until = time.monotonic() + PATIENCE
        while not counted.items() <= (found := self.counts(caller, server, **query)).items():
            assert time.monotonic() < until, found
            time.sleep(0.02)


@pytest.fixture(scope="module")
def house(postgres: str | None, opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    tmp_path = tmp_path_factory.mktemp("usage")
    with ExitStack() as stack:
        stack.enter_context(pytest.MonkeyPatch.context()).setattr(recorder, "FLUSH_SECONDS", 0.05)
        database = str(tmp_path / "kept.db")
        if postgres is not None:
            database = stack.enter_context(empty_database(postgres))
        text = (
            CONFIG.replace("KEYS", backend(database, "kv"))
            .replace("BACKEND", backend(database))
            .replace("FOLDER", str(tmp_path))
        )
        servers = []
        for number, rules in enumerate(("", RULES)):
            folder = tmp_path / str(number)
            folder.mkdir()
            made = decided(text + rules, opa_binary, folder, authenticator=ByToken())
            servers.append(stack.enter_context(made))
        yield House(*servers)


def test_each_way_to_use_a_model_is_counted(house: House) -> None:
    prompt, answer = 2, len(house.use(ALICE).json["choices"][0]["message"]["content"].split())
    one = (prompt, answer, 0, prompt + answer)
    house.until(ALICE, {"usage::issuer::alice": (1, 0, 0, *one)})
    # A stream tells its usage though the caller doesn't ask for it, and the caller sees nothing of that.
    streamed = house.use(ALICE, stream=True)
    assert b"usage" not in streamed.body
    house.until(ALICE, {"usage::issuer::alice": (2, 0, 0, *(2 * each for each in one))})
    assert b'"usage":{' in house.use(ALICE, stream=True, stream_options={"include_usage": True}).body
    house.until(ALICE, {"usage::issuer::alice": (3, 0, 0, *(3 * each for each in one))})
    # A caller with a budget, of which the same is taken.
    before = house.use(CAROL).headers["x-ratelimit-remaining-tokens"]
    after = house.use(CAROL, stream=True).headers["x-ratelimit-remaining-tokens"]
    assert int(before) > int(after)
    house.until(CAROL, {"usage::issuer::carol": (2, 0, 0, *(2 * each for each in one))})
    left = house.servers[0].address.get("/v1/models", CAROL).headers["x-ratelimit-remaining-tokens"]
    assert 100_000 - int(left) == 2 * (prompt + answer)
    text = house.use(BOB, "/v1/completions", messages=..., prompt="a b c").json["usage"]
    house.use(BOB, "/v1/embeddings", model="vectors", messages=..., input="a b c d")
    house.until(
        BOB,
        {
            "model::echo/open": (1, 0, 0, 3, text["completion_tokens"], 0, text["total_tokens"]),
            "model::echo/vectors": (1, 0, 0, 4, 0, 0, 4),
        },
        group_by="model",
    )


def test_what_fails_is_counted_as_failed_and_what_is_refused_is_not(house: House) -> None:
    script = {"echo": {"error": {"status": 500, "after": 2}, "content": "a b c"}}
    messages = [{"role": "user", "content": json.dumps(script)}]
    assert house.use(DAN, messages=messages).status == 502
    assert b"error" in house.use(DAN, messages=messages, stream=True).body
    assert house.use(DAN, model="no-such-model").status == 404
    assert house.use(DAN, messages=[]).status == 400
    # A stream that breaks off has cost what has come.
    house.until(DAN, {"usage::issuer::dan": (2, 2, 0, 0, 0, 0, 2)})


def test_a_request_that_another_model_answers_is_one_request_of_that_model(house: House) -> None:
    for stream in (False, True):
        assert house.use(KIM, model="lost", stream=stream).status == 200
        assert house.use(KIM, model="alone", stream=stream).status == 502
    counts = {"model::echo/open": tuple(2 * each for each in ONE), "model::gone/alone": (2, 2, 0, 0, 0, 0, 0)}
    house.until(KIM, counts, group_by="model")
    assert house.counts(KIM, group_by="model") == counts


def test_callers_see_their_own_alone_and_an_administrator_sees_all(house: House) -> None:
    nothing = house.usage(EVE)
    assert nothing == {**EMPTY, "since": nothing["since"]}
    names = ("eve", "fay", "gus")
    for caller in (EVE, FAY, GUS):
        house.use(caller)
    every = {f"usage::issuer::{name}": ONE for name in names}
    house.until(ADMIN, every, server=1)
    for name, caller in (("eve", EVE), ("fay", FAY)):
        for server in (0, 1):
            assert house.counts(caller, server) == {f"usage::issuer::{name}": ONE}
            # What others have used is in no sum either.
            for by in ("team", "model", "provider", "day"):
                [(identity, shown)] = house.counts(caller, server, group_by=by).items()
                assert shown == ONE
                assert by != "team" or identity == f"team::{name}"
    assert house.counts(ADMIN) == {}
    everybody = house.counts(ADMIN, 1)
    whole = tuple(map(sum, zip(*everybody.values(), strict=True)))
    providers = house.counts(ADMIN, 1, group_by="provider")
    assert tuple(map(sum, zip(*providers.values(), strict=True))) == whole
    teams = house.counts(ADMIN, 1, group_by="team")
    assert {identity.replace("team::", "usage::issuer::"): shown for identity, shown in teams.items()} == everybody
    [eve] = house.usage(EVE)["data"]
    assert (eve["principal"], eve["issuer"], eve["object"]) == ("eve", "issuer", "usage")
    check_pages(
        lambda query: house.servers[1].address.get(f"/v1/usage{query}", ADMIN), sorted(everybody), newest_first=False
    )
    answer = house.servers[1].address.get("/v1/usage", ADMIN)
    record = house.servers[1].log(answer.headers["x-request-id"])[-1]
    assert (record["action"], record["resource"], record["permitted"]) == ("read", "usage::*", len(everybody))


def test_counts_are_exact_under_many_requests_at_once_to_two_servers(house: House) -> None:
    def ask(number: int) -> None:
        answer = house.use((HAL, IDA)[number % 2], server=number // 2 % 2, stream=number % 3 == 0)
        assert answer.status == 200

    with ThreadPoolExecutor(50) as pool:
        list(pool.map(ask, range(200)))
    numbers = tuple(100 * each for each in ONE)
    for name, caller in (("hal", HAL), ("ida", IDA)):
        house.until(caller, {f"usage::issuer::{name}": numbers})


WRONG = {
    "since=junk": "since",
    "since=2026-02-30": "since",
    "since=1969-12-31": "since",
    "since=": "since",
    "since=2026-01-01&since=2026-01-02": "since",
    "since=20260101": "since",
    "group_by=user": "group_by",
    "group_by=principal,team": "group_by",
    "after=alice": "after",
    "after=team::ml": "after",
    "after=usage::%00": "after",
    "group_by=day&before=day::junk": "before",
    "limit=1001": "limit",
}


def test_a_wrong_query_is_refused_by_its_parameter(house: House) -> None:
    for query, param in WRONG.items():
        answer = house.servers[0].address.get(f"/v1/usage?{query}", IDA)
        assert (answer.status, answer.error["param"], answer.error["code"]) == (400, param, "invalid_value"), query
    message = house.servers[0].address.get("/v1/usage?since=junk", IDA).error["message"]
    assert message == "`since` is not a day like `2026-11-30`"


def test_a_report_begins_on_the_day_that_it_is_asked_for(house: House) -> None:
    house.use(JOE)
    house.until(JOE, {"usage::issuer::joe": ONE})
    assert house.counts(JOE, since="1970-01-01") == house.counts(JOE, since=day_text(today())) != {}
    assert house.counts(JOE, since=day_text(today() + 1)) == {}
    [day] = house.usage(JOE, group_by="day", since="2020-01-01")["data"]
    assert (day["id"], day["day"]) == (f"day::{day_text(today())}", day_text(today()))
    assert house.usage(JOE, group_by="day", after=day["id"])["data"] == []
