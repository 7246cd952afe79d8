"""The credential of Anthropic's clients: `x-api-key` is a bearer token, on their routes alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.callers import ALICE
from tests.support.responses_server import Responding, responding
from tests.support.serving import Answer

MESSAGES, COUNT = "/v1/messages", "/v1/messages/count_tokens"
BODY = {"model": "small", "max_tokens": 16, "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture(scope="module")
def place(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Responding]:
    with responding(opa_binary, tmp_path_factory.mktemp("keys")) as running:
        yield running


def post(place: Responding, *headers: str, target: str = MESSAGES) -> Answer:
    return place.house.address.post(target, BODY, *headers)


@pytest.mark.parametrize("target", [MESSAGES, COUNT, f"{MESSAGES}/", f"{MESSAGES}?beta=true"])
def test_a_key_is_a_bearer_token(place: Responding, target: str) -> None:
    answer = post(place, "x-api-key: alice", target=target)
    assert answer.status == 200
    [record] = place.house.log(answer.headers["x-request-id"])[:1]
    assert "alice" in str(record["principal"])
    assert post(place, "X-Api-Key: stranger", target=target).status == 403


@pytest.mark.parametrize("key", ["alice", "bob", ""])
def test_two_credentials_are_refused_even_if_they_are_equal(place: Responding, key: str) -> None:
    answer = post(place, ALICE, f"x-api-key: {key}")
    assert (answer.status, answer.json["error"]["type"]) == (400, "invalid_request_error")
    assert post(place, "x-api-key: alice", f"x-api-key: {key}").status == 400
    assert post(place, "Authorization: ", f"x-api-key: {key}").status == 400


@pytest.mark.parametrize("key", ["", "bad", "Bearer alice", "alice bob", "alice,bob", "älice"])
def test_what_proves_nothing_is_refused(place: Responding, key: str) -> None:
    answer = post(place, f"x-api-key: {key}")
    assert (answer.status, answer.json["error"]["type"]) == (401, "authentication_error")
    assert "alice" not in answer.json["error"]["message"]


def test_without_a_credential_there_is_no_caller(place: Responding) -> None:
    answer = post(place)
    assert (answer.status, answer.json["error"]["type"]) == (401, "authentication_error")


@pytest.mark.parametrize("target", ["/v1/chat/completions", "/v1/messagesx", "/v1/files", "/v1/responses"])
def test_a_key_means_nothing_elsewhere(place: Responding, target: str) -> None:
    body = {**BODY, "input": "hi"}
    assert place.house.address.post(target, body, "x-api-key: alice").status == 401
    # A gateway may send one of its own beside the token.
    assert place.house.address.ask("GET", "/v1/models", ALICE, "x-api-key: bad").status == 200
