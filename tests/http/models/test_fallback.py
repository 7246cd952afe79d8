"""Models that others answer for: who is asked, what the answer is called, what is stored and what is paid."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.application import ByToken
from tests.support.callers import ADMIN, ALICE, BOB
from tests.support.files_server import BOUNDARY, form_of
from tests.support.real_policy import Decided, decided
from tests.support.relay_server import ANSWER, CHATS, DONE, MESSAGES, event, streamed, whole
from tests.support.scripted_provider import Scripted, reset, scripted, sending
from tests.support.serving import Answer

CONFIG = """
    version: 2
    apis: [inference]
    providers:
      inference:
      - {provider_id: a, provider_type: remote::vllm, config: {url: "URL-A", SETTINGS}}
      - {provider_id: b, provider_type: remote::vllm, config: {url: "URL-B", SETTINGS}}
      - {provider_id: c, provider_type: remote::vllm, config: {url: "URL-C", SETTINGS}}
      - {provider_id: gone, provider_type: remote::vllm, config: {url: "http://127.0.0.1:9", SETTINGS}}
      - {provider_id: o, provider_type: remote::openai, config: {base_url: "URL-A", SETTINGS}}
      - {provider_id: q, provider_type: remote::openai, config: {base_url: "URL-B", SETTINGS}}
      - {provider_id: echo, provider_type: inline::echo}
    models:
    - {model_id: main, provider_id: a, provider_model_id: a-1, fallback: [hidden, second, third]}
    - {model_id: hidden, provider_id: b, provider_model_id: b-0}
    - {model_id: second, provider_id: b, provider_model_id: b-1}
    - {model_id: third, provider_id: c, provider_model_id: c-1}
    - {model_id: lost, provider_id: gone, fallback: [second]}
    - {model_id: alone, provider_id: a, provider_model_id: a-2}
    - {model_id: parted, provider_id: a, provider_model_id: a-3, weights: {hidden: 1000, third: 1}}
    - {model_id: first, provider_id: a, provider_model_id: a-4, fallback: [main]}
    - {model_id: vectors, provider_id: a, provider_model_id: a-5, model_type: embedding, fallback: [echoed]}
    - {model_id: papers, provider_id: o, provider_model_id: o-1, fallback: [copies]}
    - {model_id: copies, provider_id: q, provider_model_id: q-1}
    - {model_id: echoed, provider_id: echo, model_type: embedding}
    storage:
      backends:
        sql: {type: sql_sqlite, db_path: "FOLDER/records.db"}
        kv: {type: kv_sqlite, db_path: "FOLDER/kv.db"}
      stores:
        inference: {backend: sql, table_name: chats}
        metadata: {backend: kv, namespace: registry}
    server:
      quota:
        kvstore: {type: sqlite, db_path: "FOLDER/quotas.db"}
        max_tokens_per_period: 1000000
      auth:
        provider_config: {type: custom, endpoint: "https://auth.example.com/validate"}
        access_policy:
        - forbid: {actions: [read], resource: "model::hidden"}
          unless: user with admin in roles
        - permit: {actions: [read, create]}
        - permit: {actions: [delete]}
          when: user is owner
"""
SETTINGS = "breaker: {failures: 1000}, retries: 0"
SAID = {"id": "x", "created": 1, "model": "m", "choices": [{"index": 0, "delta": {"content": "yes"}}]}


@dataclass
class Three:
    """The running server in front of three providers."""

    house: Decided
    a: Scripted
    b: Scripted
    c: Scripted
    folder: Path

    def chat(self, model: str = "main", caller: str = ALICE, **more: Any) -> Answer:
        """The answer to a chat."""
        return self.house.address.post(CHATS, {"model": model, "messages": MESSAGES, **more}, caller)

    def asked(self) -> dict[str, list[str]]:
        """The models that each provider was asked for, since the last time."""
        found = {}
        for name in "abc":
            provider = getattr(self, name)
            found[name] = [json.loads(body)["model"] for _, body in provider.asked]
            provider.asked.clear()
        return {name: models for name, models in found.items() if models}


def refusing(status: int, *lines: str) -> bytes:
    head = f"HTTP/1.1 {status} No\r\nContent-Type: application/json\r\nConnection: close\r\n"
    return whole({"error": {"message": "no"}}, (head + "".join(f"{line}\r\n" for line in lines)).encode())


WELL = sending(whole(ANSWER))
STREAMING = sending(streamed(event(SAID), DONE))


@pytest.fixture(scope="module")
def running(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
    folder = tmp_path_factory.mktemp("fallback")
    with ExitStack() as stack:
        a, b, c = (stack.enter_context(scripted()) for _ in range(3))
        text = CONFIG.replace("SETTINGS", SETTINGS).replace("FOLDER", str(folder))
        for name, provider in (("A", a), ("B", b), ("C", c)):
            text = text.replace(f"URL-{name}", provider.url)
        house = stack.enter_context(decided(text, opa_binary, folder, authenticator=ByToken()))
        yield Three(house, a, b, c, folder)


@pytest.fixture
def three(running: Three) -> Three:
    for provider in (running.a, running.b, running.c):
        provider.play(WELL)
    running.asked()
    return running


def test_the_model_that_is_named_answers_while_it_can(three: Three) -> None:
    answer = three.chat()
    assert (answer.status, answer.json["model"]) == (200, "a/a-1")
    assert three.asked() == {"a": ["a-1"]}
    # The policy was asked about no other.
    assert reads(three, answer) == [("model::a/a-1", "permit")]


def reads(three: Three, answer: Answer) -> list[tuple[str, str]]:
    """The models that the policy was asked about for a request, and its decisions."""
    log = three.house.log(answer.headers["x-request-id"])
    return [(record["resource"], record["effect"]) for record in log if record.get("resource")]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "failure",
    [refusing(429), refusing(500), refusing(503, "Retry-After: 7"), refusing(401), b"HTTP/1.1 nonsense", b""],
    ids=["429", "500", "503", "401", "nonsense", "closed"],
)
def test_the_next_one_that_the_caller_may_read_answers_where_it_cannot(
    three: Three, failure: bytes, stream: bool
) -> None:
    three.a.play(sending(failure))
    three.b.play(STREAMING if stream else WELL)
    answer = three.chat(stream=stream)
    shown = json.loads(answer.body.split(b"\n\n")[0][6:]) if stream else answer.json
    assert (answer.status, shown["model"]) == (200, "b/b-1")
    assert three.asked() == {"a": ["a-1"], "b": ["b-1"]}
    assert reads(three, answer) == [("model::a/a-1", "permit"), ("model::b/b-0", "deny"), ("model::b/b-1", "permit")]


def test_each_caller_gets_what_it_may_read(three: Three) -> None:
    three.a.play(sending(refusing(500)))
    assert three.chat(caller=ADMIN).json["model"] == "b/b-0"
    assert three.chat(caller=BOB).json["model"] == "b/b-1"


def test_no_connection_is_a_reason_too(three: Three) -> None:
    assert three.chat("lost").json["model"] == "b/b-1"


def test_a_stream_that_breaks_before_its_first_event_is_answered_by_another(three: Three) -> None:
    three.a.play(lambda connection: (connection.sendall(streamed(b": wait\n\n")[:-5]), reset(connection))[0])
    three.b.play(STREAMING)
    answer = three.chat(stream=True)
    assert answer.status == 200
    assert b'"b/b-1"' in answer.body
    assert b'"error"' not in answer.body


def test_nothing_is_chosen_again_after_the_first_byte(three: Three) -> None:
    three.a.play(sending(streamed(event(SAID))[:-5]))
    answer = three.chat(stream=True)
    assert answer.status == 200
    assert b'"a/a-1"' in answer.body
    assert b'"server_error"' in answer.body
    assert three.asked() == {"a": ["a-1"]}


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_request_that_is_refused_as_wrong_is_not_taken_elsewhere(three: Three, status: int) -> None:
    three.a.play(sending(refusing(status)))
    assert three.chat().status == 400
    assert three.asked() == {"a": ["a-1"]}


def test_where_none_answers_the_first_failure_is_told(three: Three) -> None:
    three.a.play(sending(refusing(429, "Retry-After: 7")))
    three.b.play(sending(refusing(400)))
    three.c.play(sending(refusing(500)))
    answer = three.chat()
    assert (answer.status, answer.headers["retry-after"]) == (429, "7")
    assert "`a`" in answer.error["message"]
    assert three.asked() == {"a": ["a-1"], "b": ["b-1"], "c": ["c-1"]}


def test_a_model_without_others_fails_as_before(three: Three) -> None:
    three.a.play(sending(refusing(500)))
    assert three.chat("alone").status == 502
    assert three.asked() == {"a": ["a-2"]}


def test_what_a_fallback_names_comes_after_it(three: Three) -> None:
    three.a.play(sending(refusing(500)))
    three.b.play(sending(refusing(500)))
    assert three.chat("first").json["model"] == "c/c-1"
    assert three.asked() == {"a": ["a-4", "a-1"], "b": ["b-1"], "c": ["c-1"]}


def test_a_weight_gives_no_caller_what_it_may_not_read(three: Three) -> None:
    assert {three.chat("parted").json["model"] for _ in range(5)} == {"c/c-1"}
    assert three.asked() == {"c": ["c-1"] * 5}
    three.c.play(sending(refusing(500)))
    # The model itself comes last.
    assert three.chat("parted").json["model"] == "a/a-3"


def test_what_is_stored_names_the_model_that_answered(three: Three) -> None:
    three.a.play(sending(refusing(500)))
    for stream in (False, True):
        three.b.play(STREAMING if stream else WELL)
        answer = three.chat(store=True, stream=stream)
        shown = json.loads(answer.body.split(b"\n\n")[0][6:]) if stream else answer.json
        stored = three.house.address.get(f"{CHATS}/{shown['id']}", ALICE).json
        assert (shown["model"], stored["model"]) == ("b/b-1", "b/b-1")
        page = three.house.address.get(f"{CHATS}?model=second", ALICE).json["data"]
        assert shown["id"] in [each["id"] for each in page]
    assert three.house.address.get(f"{CHATS}?model=main", ALICE).json["data"] == []


def test_embeddings_are_made_by_the_next_one(three: Three) -> None:
    three.a.play(sending(refusing(503)))
    answer = three.house.address.post("/v1/embeddings", {"model": "vectors", "input": "hi"}, ALICE)
    assert (answer.status, answer.json["model"]) == (200, "echo/echoed")


def test_the_tokens_of_the_model_that_answered_are_paid(three: Three) -> None:
    def left(answer: Answer) -> int:
        return int(answer.headers["x-ratelimit-remaining-tokens"])

    caller = "Authorization: Bearer payer"
    before = left(three.chat("third", caller))
    three.a.play(sending(refusing(500)))
    after = left(three.chat(caller=caller))
    assert before - after == ANSWER["usage"]["total_tokens"]
    # One that may have worked before it failed is paid as well.
    three.a.play(sending(b""))
    assert after - left(three.chat(caller=caller)) > ANSWER["usage"]["total_tokens"]


def test_files_go_with_the_request_to_whichever_model_answers(three: Three) -> None:
    form = form_of(b"hello there", purpose="user_data")
    stored = three.house.address.post("/v1/files", form, ALICE, kind=f"multipart/form-data; boundary={BOUNDARY}").json
    three.a.play(sending(refusing(500)))
    content = [{"type": "file", "file": {"file_id": stored["id"]}}]
    answer = three.chat("papers", messages=[{"role": "user", "content": content}])
    assert (answer.status, answer.json["model"]) == (200, "q/q-1")
    bodies = [json.loads(body) for provider in (three.a, three.b) for _, body in provider.asked]
    sent = [body["messages"][0]["content"][0]["file"]["file_data"] for body in bodies]
    assert len(sent) == 2
    assert {b64decode(data.partition("base64,")[2]) for data in sent} == {b"hello there"}
