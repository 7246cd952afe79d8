"""Embeddings of `inline::echo`, through the real `openai` client, the real OPA and real budgets."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from server.inference.providers.echo_vectors import DIMENSIONS, MOST_DIMENSIONS
from tests.support.application import ByToken
from tests.support.real_policy import Decided, decided

CONFIG = """
    version: 2
    apis: [inference]
    providers:
      inference:
      - {provider_id: echo, provider_type: inline::echo}
    models:
    - {model_id: chat, provider_id: echo}
    - {model_id: plain, provider_id: echo, model_type: embedding}
    - {model_id: open, provider_id: echo, model_type: embedding, metadata: {embedding_dimension: 256}}
    - {model_id: secret, provider_id: echo, model_type: embedding}
    server:
      auth:
        provider_config: {type: oauth2_token, jwks: {uri: "https://issuer.example/keys"}}
        route_policy:
        - permit: {paths: "*"}
          when: user with alice in roles
        - permit: {paths: "/v1/models"}
        access_policy:
        - forbid: {actions: [read], resource: model::echo/secret}
        - permit: {actions: [read]}
      quota:
        kvstore: {type: sqlite, db_path: FOLDER/quotas.db}
        max_tokens_per_period: 1000
"""


@pytest.fixture(scope="module")
def running(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Decided]:
    folder = tmp_path_factory.mktemp("embeddings")
    with decided(CONFIG.replace("FOLDER", str(folder)), opa_binary, folder, authenticator=ByToken()) as made:
        yield made


@pytest.fixture(scope="module")
def client(running: Decided) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{running.address.url}/v1", api_key="alice", max_retries=0) as made:
        yield made


def embed(client: OpenAI, given: Any, **more: Any) -> list[list[float]]:
    made = client.embeddings.create(**{"model": "open", "input": given, **more})
    assert [each.index for each in made.data] == [*range(len(made.data))]
    return [each.embedding for each in made.data]


def test_the_sdk_gets_numbers_in_both_forms(client: OpenAI) -> None:
    [one, other] = embed(client, ["hello there", "hello"])
    assert len(one) == len(other) == 256
    assert one != other
    assert embed(client, ["hello there", "hello"], encoding_format="float") == [one, other]
    assert sqrt(sum(number * number for number in one)) == pytest.approx(1, abs=1e-6)


def test_equal_inputs_have_equal_embeddings_wherever_they_stand(client: OpenAI) -> None:
    [a, b] = embed(client, ["a", "b"])
    assert embed(client, ["a", "z", "b", "a"])[::3] == [a, a]
    assert embed(client, "b") == [b]


def test_token_ids_are_an_input_of_their_own(client: OpenAI) -> None:
    [both] = embed(client, [100, 201])
    assert embed(client, [[100, 201], [5]])[0] == both
    assert both not in embed(client, ["100", "[100, 201]", "100201"])


def test_dimensions_cut_and_keep_the_length(client: OpenAI) -> None:
    [whole] = embed(client, "a")
    [cut] = embed(client, "a", dimensions=128)
    length = sqrt(sum(number * number for number in whole[:128]))
    assert cut == pytest.approx([number / length for number in whole[:128]], abs=1e-6)
    assert sqrt(sum(number * number for number in cut)) == pytest.approx(1, abs=1e-6)
    for wrong in (0, 257):
        with pytest.raises(openai.BadRequestError) as refused:
            embed(client, "a", dimensions=wrong)
        assert refused.value.param == "dimensions"


def test_a_model_without_a_size_has_any(client: OpenAI) -> None:
    assert len(embed(client, "a", model="plain")[0]) == DIMENSIONS
    assert len(embed(client, "a", model="plain", dimensions=3)[0]) == 3
    with pytest.raises(openai.BadRequestError) as refused:
        embed(client, "a", model="plain", dimensions=MOST_DIMENSIONS + 1)
    assert refused.value.param == "dimensions"


def test_a_model_that_may_not_be_read_looks_missing(client: OpenAI, running: Decided) -> None:
    said = []
    for name in ("secret", "absent"):
        with pytest.raises(openai.NotFoundError) as missing:
            embed(client, "a", model=name)
        assert missing.value.code == "model_not_found"
        said.append(str(missing.value).replace(name, "NAME"))
    assert said[0] == said[1]
    body = {"model": "open", "input": "a"}
    assert running.address.post("/v1/embeddings", body, "Authorization: Bearer bob").status == 403
    assert running.address.post("/v1/embeddings", body).status == 401


def test_tokens_are_paid_for_as_they_are_reported(running: Decided) -> None:
    left = []
    for given in ("one two three", [1, 2, 3, 4], ["a b", "c"]):
        answer = running.address.post(
            "/v1/embeddings", {"model": "open", "input": given}, "Authorization: Bearer alice"
        )
        left.append((int(answer.headers["x-ratelimit-remaining-tokens"]), answer.json["usage"]["prompt_tokens"]))
    assert [tokens for _, tokens in left] == [3, 4, 3]
    assert (left[0][0] - left[1][0], left[1][0] - left[2][0]) == (4, 3)
    body = {"model": "open", "input": "x" * 8000}
    answer = running.address.post("/v1/embeddings", body, "Authorization: Bearer alice")
    assert (answer.status, answer.error["code"]) == (429, "insufficient_quota")


def test_the_list_of_routes_names_the_providers(running: Decided) -> None:
    shown = running.address.get("/v1/inspect/routes", "Authorization: Bearer alice").json["data"]
    assert {"route": "/v1/embeddings", "method": "POST", "provider_types": ["inline::echo"]} in shown


def test_a_chat_model_makes_no_embeddings(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        embed(client, "a", model="chat")
    assert refused.value.param == "model"
