"""Completions of `inline::echo`, through the real `openai` client, the real OPA and real budgets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.support.application import ByToken
from tests.support.real_policy import Decided, decided
from tests.support.stream_client import events

CONFIG = """
    version: 2
    apis: [inference]
    providers:
      inference:
      - {provider_id: echo, provider_type: inline::echo}
    models:
    - {model_id: open, provider_id: echo}
    - {model_id: secret, provider_id: echo}
    server:
      auth:
        provider_config: {type: oauth2_token, jwks: {uri: "https://issuer.example/keys"}}
        route_policy:
        - permit: {paths: "*"}
          when: user with alice in roles
        access_policy:
        - forbid: {actions: [read], resource: model::echo/secret}
        - permit: {actions: [read]}
      quota:
        kvstore: {type: sqlite, db_path: FOLDER/quotas.db}
        max_tokens_per_period: 10000
"""


@pytest.fixture(scope="module")
def running(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Decided]:
    folder = tmp_path_factory.mktemp("completions")
    with decided(CONFIG.replace("FOLDER", str(folder)), opa_binary, folder, authenticator=ByToken()) as made:
        yield made


@pytest.fixture(scope="module")
def client(running: Decided) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{running.address.url}/v1", api_key="alice", max_retries=0) as made:
        yield made


def texts(client: OpenAI, prompt: Any, **more: Any) -> list[str]:
    made = client.completions.create(**{"model": "open", "prompt": prompt, **more})
    assert [each.index for each in made.choices] == [*range(len(made.choices))]
    assert (made.object, made.model) == ("text_completion", "echo/open")
    return [each.text for each in made.choices]


def test_each_form_of_prompt_is_completed(client: OpenAI) -> None:
    assert texts(client, "hello there") == ["echo: hello there"]
    assert texts(client, ["a", "b"], n=2) == ["echo: a", "echo: a", "echo: b", "echo: b"]
    assert texts(client, [1, 22]) == ["echo: 1 22"]
    assert texts(client, [[1], [2, 3]]) == ["echo: 1", "echo: 2 3"]
    assert texts(client, "a b", echo=True) == ["a becho: a b"]
    assert texts(client, "a b", max_tokens=2) == ["echo: a "]
    assert texts(client, "a b", max_tokens=0, echo=True) == ["a b"]
    assert texts(client, "a b", stop=" b", suffix="z") == ["echo: a"]


def test_a_stream_comes_to_the_same(client: OpenAI) -> None:
    found = dict.fromkeys(range(4), "")
    reasons, usage, ids = [], None, set()
    stream = client.completions.create(
        model="open", prompt=["a b", "c"], n=2, stream=True, stream_options={"include_usage": True}
    )
    for chunk in stream:
        ids.add(chunk.id)
        assert chunk.object == "text_completion"
        usage = chunk.usage or usage
        for choice in chunk.choices:
            found[choice.index] += choice.text
            reasons += [choice.finish_reason] if choice.finish_reason else []
    assert [*found.values()] == ["echo: a b", "echo: a b", "echo: c", "echo: c"]
    assert (reasons, len(ids)) == (["stop"] * 4, 1)
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (3, 10)


def test_logprobs_tell_where_each_token_stands(client: OpenAI) -> None:
    [choice] = client.completions.create(model="open", prompt="a", logprobs=1).choices
    assert choice.logprobs is not None
    assert choice.logprobs.tokens == ["echo: ", "a"]
    assert choice.logprobs.text_offset == [0, 6]


def test_a_model_that_may_not_be_read_looks_missing(client: OpenAI, running: Decided) -> None:
    for name in ("secret", "absent"):
        with pytest.raises(openai.NotFoundError) as missing:
            texts(client, "a", model=name)
        assert missing.value.code == "model_not_found"
    body = {"model": "open", "prompt": "a"}
    assert running.address.post("/v1/completions", body, "Authorization: Bearer bob").status == 403
    assert running.address.post("/v1/completions", body).status == 401


def left(running: Decided) -> int:
    answer = running.address.get("/v1/models", "Authorization: Bearer alice")
    return int(answer.headers["x-ratelimit-remaining-tokens"])


def test_tokens_are_paid_for_as_they_are_reported(running: Decided) -> None:
    before = left(running)
    body: dict[str, Any] = {"model": "open", "prompt": ["a b", "c"], "n": 2}
    whole = running.address.post("/v1/completions", body, "Authorization: Bearer alice")
    assert whole.json["usage"]["total_tokens"] == 13
    assert left(running) == before - 13
    streamed = running.address.post("/v1/completions", {**body, "stream": True}, "Authorization: Bearer alice")
    assert all("usage" not in chunk for chunk in events(streamed.body)[:-1])
    assert left(running) == before - 26
    answer = running.address.post("/v1/completions", {**body, "max_tokens": 3000}, "Authorization: Bearer alice")
    assert (answer.status, answer.error["code"]) == (429, "insufficient_quota")
    for wrong in (-1, "5", True):
        answer = running.address.post("/v1/completions", {**body, "max_tokens": wrong}, "Authorization: Bearer alice")
        assert (answer.status, answer.error["param"]) == (400, "max_tokens")


def test_the_list_of_routes_names_the_providers(running: Decided) -> None:
    shown = running.address.get("/v1/inspect/routes", "Authorization: Bearer alice").json["data"]
    assert {"route": "/v1/completions", "method": "POST", "provider_types": ["inline::echo"]} in shown
