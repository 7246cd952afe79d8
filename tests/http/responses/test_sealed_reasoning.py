"""Sealed reasoning: for its caller and its model alone, with an end, and given back to models that take it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from server.api.responses import unsealing
from tests.support.callers import ALICE, BOB, READER
from tests.support.failing_provider import Upstream, upstream
from tests.support.responses_server import RESPONSES, Responding, responding

SEALED = ["reasoning.encrypted_content"]
MORE = {"role": "user", "content": "and now?"}


@pytest.fixture(scope="module")
def far() -> Iterator[Upstream]:
    with upstream() as running:
        yield running


@pytest.fixture(scope="module")
def place(far: Upstream, opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Responding]:
    with responding(opa_binary, tmp_path_factory.mktemp("sealed"), upstream=far.url) as running:
        yield running


def thought(place: Responding, model: str = "thinks", caller: str = ALICE, **more: Any) -> list[dict[str, Any]]:
    """The output of a response whose reasoning is sealed."""
    output: list[dict[str, Any]] = place.made("hi", caller, model=model, include=SEALED, store=False, **more)["output"]
    assert [item["type"] for item in output] == ["reasoning", "message"]
    return output


def test_reasoning_goes_back_to_a_model_that_takes_it(place: Responding, far: Upstream) -> None:
    reasoning, message = thought(place)
    assert "let me see" not in reasoning["encrypted_content"]
    # Nothing but the seal is needed.
    kept = {"type": "reasoning", "summary": [], "encrypted_content": reasoning["encrypted_content"]}
    place.made([{"role": "user", "content": "hi"}, kept, message, MORE], model="thinks", store=False)
    _, asked, last = far.body["messages"]
    assert asked == {"role": "assistant", "content": "so", "reasoning": "let me see"}
    assert last["content"] == "and now?"


@pytest.mark.parametrize("model", ["forgetful", "either"])
def test_it_is_opened_and_left_out_for_another_provider(place: Responding, far: Upstream, model: str) -> None:
    reasoning, message = thought(place, model)
    place.made([reasoning, message, MORE], model=model, store=False)
    assert far.body["messages"][0] == {"role": "assistant", "content": "so"}
    forged = {**reasoning, "encrypted_content": reasoning["encrypted_content"][:-8] + "AAAAAAA="}
    assert place.create([forged, message, MORE], model=model).status == 400


def test_a_stream_and_what_is_stored_have_it_too(place: Responding, far: Upstream) -> None:
    events = place.streamed("hi", model="thinks", include=SEALED)
    [done] = [
        e["item"] for e in events if e["type"] == "response.output_item.done" and e["item"]["type"] == "reasoning"
    ]
    last = events[-1]["response"]
    assert last["output"][0] == done and done["encrypted_content"].startswith("seal1.")
    added = next(event["item"] for event in events if event["type"] == "response.output_item.added")
    assert "encrypted_content" not in added
    plain = place.ask("GET", f"{RESPONSES}/{last['id']}").json
    assert plain["output"][0] == {**done, "encrypted_content": None}
    whole = place.ask("GET", f"{RESPONSES}/{last['id']}?include[]={SEALED[0]}").json
    assert whole["output"] == last["output"]
    place.made("more", model="thinks", previous_response_id=last["id"])
    assert far.body["messages"][1]["reasoning"] == "let me see"
    # A caller who may read the response goes on from the text that it shows.
    place.made("more", READER, model="thinks", previous_response_id=last["id"], store=False)
    assert far.body["messages"][1]["reasoning"] == "let me see"
    # What a client took from there goes on, too.
    place.made([done, MORE], model="thinks", store=False)


def test_without_the_include_nothing_is_sealed_and_a_chain_keeps_it(place: Responding, far: Upstream) -> None:
    made = place.made("hi", model="thinks")
    assert "encrypted_content" not in made["output"][0]
    place.made("more", model="thinks", previous_response_id=made["id"])
    assert far.body["messages"][1]["reasoning"] == "let me see"


def test_a_seal_of_another_caller_another_model_or_another_kind_is_refused(place: Responding) -> None:
    mine = thought(place)[0]["encrypted_content"]
    compaction = place.ask("POST", f"{RESPONSES}/compact", {"model": "thinks", "input": "hi"}).json["output"][-1]
    before, told = place.count(), set()
    for sealed, caller, model in (
        *((mine, BOB, "thinks"), (mine, READER, "thinks"), (mine, ALICE, "thinks-too"), (mine, ALICE, "small")),
        *((compaction["encrypted_content"], ALICE, "thinks"), (mine + "=", ALICE, "thinks"), ("", ALICE, "thinks")),
        *((7, ALICE, "thinks"), ("gAAAAAB", ALICE, "thinks")),
    ):
        item = {"type": "reasoning", "summary": [], "encrypted_content": sealed}
        for stream in (False, True):
            answer = place.create([item, MORE], caller, model=model, stream=stream, store=False)
            assert (answer.status, answer.json["error"]["code"]) == (400, "invalid_encrypted_content")
            told.add(answer.body)
    assert len(told) == 1 and b"input[0].encrypted_content" in told.pop()
    # A model's reasoning does not become what a user has said.
    answer = place.create([{"type": "compaction", "encrypted_content": mine}, MORE], model="thinks")
    assert (answer.status, answer.json["error"]["code"], place.count()) == (400, "invalid_encrypted_content", before)


def test_what_is_too_large_to_be_ours_is_not_opened(place: Responding, monkeypatch: pytest.MonkeyPatch) -> None:
    reasoning = thought(place)[0]
    monkeypatch.setattr(unsealing, "LARGEST_ITEM", 100)
    for item in (reasoning, {"type": "compaction", "encrypted_content": "x" * 100}):
        answer = place.create([item, MORE], model="thinks")
        assert (answer.status, answer.json["error"]["code"]) == (400, "invalid_encrypted_content")


def test_a_seal_is_for_the_model_and_not_for_its_name(place: Responding) -> None:
    reasoning = thought(place, "any")[0]
    assert place.create([reasoning, MORE], model="either").status == 200


def test_a_seal_has_an_end(place: Responding, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unsealing, "LIFETIME", -10)
    old = thought(place)[0]
    answer = place.create([old, MORE], model="thinks")
    assert (answer.status, answer.json["error"]["code"]) == (400, "invalid_encrypted_content")
    assert "older than" in answer.json["error"]["message"]


def test_a_long_thought_is_sealed_in_part(place: Responding, far: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unsealing, "MOST_SEALED", 8)
    reasoning, message = thought(place)
    place.made([reasoning, message, MORE], model="thinks", store=False)
    assert far.body["messages"][0]["reasoning"] == "let me s"


def test_work_in_the_background_seals_for_the_caller_that_asked(place: Responding, far: Upstream) -> None:
    made = place.made("hi", model="thinks", include=SEALED, background=True)
    assert place.over(made["id"])["status"] == "completed"
    output = place.ask("GET", f"{RESPONSES}/{made['id']}?include[]={SEALED[0]}").json["output"]
    place.made([{**output[0], "content": []}, output[1], MORE], model="thinks", store=False)
    assert far.body["messages"][0]["reasoning"] == "let me see"
    assert place.create([output[0], MORE], BOB, model="thinks").status == 400


def test_the_client_sends_its_reasoning_again(place: Responding, far: Upstream) -> None:
    with OpenAI(base_url=f"{place.house.address.url}/v1", api_key="alice", max_retries=0) as client:
        made = client.responses.create(model="thinks", input="hi", store=False, include=["reasoning.encrypted_content"])
        again: Any = [*made.output, {"role": "user", "content": "more"}]
        client.responses.create(model="thinks", input=again, store=False)
    assert far.body["messages"][0]["reasoning"] == "let me see"
