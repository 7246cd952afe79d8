"""Compactions: what users said stays, the rest is a sealed summary that its caller alone goes on from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from server.api.responses import unsealing
from tests.support.callers import ALICE, BOB, READER
from tests.support.failing_provider import Upstream, upstream
from tests.support.responses_server import NOBODYS, RESPONSES, Responding, responding

COMPACT = f"{RESPONSES}/compact"
TALK = [
    {"role": "user", "content": "one"},
    {"role": "assistant", "content": "two"},
    {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c", "output": "three"},
    {"role": "user", "content": "four"},
]


@pytest.fixture(scope="module")
def far() -> Iterator[Upstream]:
    with upstream() as running:
        yield running


@pytest.fixture(scope="module")
def place(far: Upstream, opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Responding]:
    with responding(opa_binary, tmp_path_factory.mktemp("compact"), upstream=far.url) as running:
        yield running


def compacted(place: Responding, caller: str = ALICE, **body: Any) -> list[dict[str, Any]]:
    answer = place.ask("POST", COMPACT, {"model": "m", **body}, caller)
    assert answer.status == 200, answer.body
    found: list[dict[str, Any]] = answer.json["output"]
    return found


def test_users_are_kept_and_the_rest_is_summed_up(place: Responding, far: Upstream) -> None:
    before = place.count()
    *said, last = compacted(place, input=TALK, instructions="be brief")
    assert [item["content"][0]["text"] for item in said] == ["one", "four"]
    assert (last["type"], last["id"][:4]) == ("compaction", "cmp_")
    assert "Hello" not in last["encrypted_content"]
    messages = far.body["messages"]
    assert messages[0] == {"role": "system", "content": "be brief"}
    assert messages[-1]["role"] == "user" and "Summarise" in messages[-1]["content"]
    assert place.count() == before


def test_a_model_goes_on_from_the_summary(place: Responding, far: Upstream) -> None:
    *said, last = compacted(place, input=TALK)
    made = place.made([*said, last, {"role": "user", "content": "and now?"}], model="m")
    assert [message["content"] for message in far.body["messages"]] == [
        *("one", "four", "A summary of the conversation so far:\n\nHello, wörld", "and now?")
    ]
    place.made("more", model="m", previous_response_id=made["id"])
    assert "Hello, wörld" in far.body["messages"][2]["content"]
    # It is kept as it came.
    assert place.items(made["id"])[2]["encrypted_content"] == last["encrypted_content"]


def test_a_response_is_compacted_by_its_id(place: Responding) -> None:
    made = place.made("one")
    again = place.made("two", previous_response_id=made["id"])
    said = compacted(place, previous_response_id=again["id"])
    assert [item["content"][0]["text"] for item in said[:-1]] == ["one", "two"]
    for caller, identity in ((BOB, again["id"]), (ALICE, NOBODYS)):
        answer = place.ask("POST", COMPACT, {"model": "m", "previous_response_id": identity}, caller)
        assert (answer.status, answer.json["error"]["code"]) == (404, "previous_response_not_found")


@pytest.mark.parametrize("stream", [False, True])
def test_a_seal_of_another_a_forged_and_an_old_one_are_refused(
    place: Responding, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    last = compacted(place, input=TALK)[-1]
    forged = {**last, "encrypted_content": last["encrypted_content"][:-8] + "AAAAAAA="}
    before = place.count()
    told = set()
    for item, caller in ((last, BOB), (last, READER), (forged, ALICE), ({**last, "encrypted_content": "x"}, ALICE)):
        answer = place.create(["x", item][1:], caller, stream=stream, store=False)
        assert (answer.status, answer.json["error"]["code"]) == (400, "invalid_encrypted_content")
        assert answer.json["error"]["param"] == "input[0].encrypted_content"
        told.add(answer.body)
    assert len(told) == 1
    monkeypatch.setattr(unsealing, "LIFETIME", 0)
    monkeypatch.setattr("server.api.responses.compaction.routes.LIFETIME", -10)
    old = compacted(place, input=TALK)[-1]
    answer = place.create([old], stream=stream)
    assert (answer.status, "older than" in answer.json["error"]["message"]) == (400, True)
    assert place.count() == before


@pytest.mark.parametrize(("body", "param"), [({"input": "x"}, "model"), ({"model": "m"}, "input")])
def test_what_is_missing_is_told(place: Responding, body: dict[str, Any], param: str) -> None:
    answer = place.ask("POST", COMPACT, body)
    assert (answer.status, answer.json["error"]["param"]) == (400, param)


def test_a_model_that_may_not_be_read_is_missing(place: Responding) -> None:
    hidden, missing = (place.ask("POST", COMPACT, {"model": name, "input": "x"}) for name in ("secret", "no-such"))
    assert (hidden.status, hidden.body.replace(b"secret", b"")) == (404, missing.body.replace(b"no-such", b""))


def test_the_client_compacts(place: Responding) -> None:
    with OpenAI(base_url=f"{place.house.address.url}/v1", api_key="alice", max_retries=0) as client:
        made = client.responses.compact(model="m", input="remember the door")
        assert made.object == "response.compaction" and made.output[-1].type == "compaction"


def test_a_large_body_is_read_beside_the_server(place: Responding) -> None:
    *said, last = compacted(place, input=[{"role": "user", "content": "x" * 200_000}, *TALK])
    assert ([len(item["content"][0]["text"]) for item in said], last["type"]) == ([200_000, 3, 4], "compaction")
