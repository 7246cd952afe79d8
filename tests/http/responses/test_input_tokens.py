"""Tokens of an input: counted where the provider can, estimated elsewhere, without a model being asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from tests.support.budgeted_server import budgeted, provider
from tests.support.callers import ALICE, BOB, READER
from tests.support.failing_provider import Upstream, upstream
from tests.support.identity_services import service
from tests.support.responses_server import NOBODYS, RESPONSES, Responding, responding

COUNT = f"{RESPONSES}/input_tokens"


@pytest.fixture(scope="module")
def far() -> Iterator[Upstream]:
    with upstream() as running:
        yield running


@pytest.fixture(scope="module")
def place(far: Upstream, opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Responding]:
    with responding(opa_binary, tmp_path_factory.mktemp("tokens"), upstream=far.url) as running:
        yield running


def counted(place: Responding, caller: str = ALICE, **body: Any) -> int:
    answer = place.ask("POST", COUNT, {"model": "small", **body}, caller)
    assert answer.status == 200, answer.body
    assert answer.json.keys() == {"object", "input_tokens"} and answer.json["object"] == "response.input_tokens"
    found: int = answer.json["input_tokens"]
    return found


def test_a_provider_that_counts_is_asked_to(place: Responding) -> None:
    assert counted(place, input="one two three", instructions="be brief") == 5
    made = place.made("one two three")
    before = place.count()
    assert counted(place, input="four", previous_response_id=made["id"]) == 3 + 4 + 1
    conversation = place.conversation(items=[{"role": "user", "content": "a b"}])
    assert counted(place, input="c", conversation=conversation) == 3
    # To count it, a caller has to read it, and nothing else.
    assert counted(place, READER, input="c", conversation=conversation) == 3
    assert (place.count(), len(place.said_in(conversation))) == (before, 1)
    # It is what the answer costs.
    assert place.made("one two three", instructions="be brief")["usage"]["input_tokens"] == 5


def test_another_one_is_not_asked_and_its_tokens_are_estimated(place: Responding, far: Upstream) -> None:
    far.forget()
    small, large = (counted(place, model="m", input="x" * size) for size in (400, 4_000))
    assert (100 <= small <= 120, 1_000 <= large <= 1_020) == (True, True)
    tool = {"type": "function", "name": "f", "parameters": {"type": "object"}, "description": "y" * 400}
    assert counted(place, model="m", input="x" * 400, tools=[tool]) >= small + 100
    identity = place.file(b"z" * 4_000)
    part = {"type": "input_file", "file_id": identity}
    assert counted(place, model="m", input=[{"role": "user", "content": [part]}]) >= 2_000
    assert far.asked == []


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"model": "secret"}, 404, "model"),
        ({"previous_response_id": NOBODYS}, 404, "previous_response_id"),
        ({"conversation": "conv_" + "0" * 48}, 404, "conversation"),
        ({"prompt": {"id": "pmpt_" + "0" * 48}}, 404, "prompt.id"),
        ({"input": [{"type": "item_reference", "id": "msg_" + "0" * 53}]}, 404, "input[0].id"),
        ({"input": None}, 400, "input"),
        ({"temperature": "hot"}, 400, "temperature"),
        ({"model": None}, 400, "model"),
    ],
)
def test_a_body_is_read_as_for_an_answer(place: Responding, body: dict[str, Any], status: int, param: str) -> None:
    answer = place.ask("POST", COUNT, {"model": "small", "input": "hi", **body})
    assert (answer.status, answer.json["error"]["param"]) == (status, param)
    assert place.create(**{"text": "hi", **{("text" if k == "input" else k): v for k, v in body.items()}}).status != 200


def test_nothing_of_another_caller_is_counted(place: Responding) -> None:
    mine = place.made("one")
    theirs, missing = (
        place.ask("POST", COUNT, {"model": "small", "input": "x", "previous_response_id": identity}, BOB)
        for identity in (mine["id"], NOBODYS)
    )
    assert (theirs.status, theirs.body.replace(mine["id"].encode(), NOBODYS.encode())) == (404, missing.body)
    conversation = place.conversation()
    answer = place.ask("POST", COUNT, {"model": "small", "input": "x", "conversation": conversation}, BOB)
    assert (answer.status, answer.json["error"]["param"]) == (404, "conversation")


def test_nothing_is_charged(opa_binary: Path, tmp_path: Path) -> None:
    with service(provider({"total_tokens": 10})) as far, budgeted(far.url, opa_binary, tmp_path) as running:
        large = {"model": "m", "input": "x " * 20_000}
        assert [running.address.post(COUNT, large).status for _ in range(3)] == [200] * 3
        assert running.address.post(RESPONSES, {"model": "m", "input": "hi", "store": False}).status == 200


def test_the_client_counts(place: Responding) -> None:
    with OpenAI(base_url=f"{place.house.address.url}/v1", api_key="alice", max_retries=0) as client:
        assert client.responses.input_tokens.count(model="small", input="one two").input_tokens == 2
