"""Every route that runs a model goes through the shields that the policy requires; a new one needs a place here."""

from __future__ import annotations

import time
from collections.abc import Iterator
from json import dumps, loads
from pathlib import Path
from typing import Any

import pytest

from tests.support.callers import ADMIN, ALICE
from tests.support.files_server import BOUNDARY, form_of
from tests.support.route_table import CENSUS, ROUTES
from tests.support.safety_server import CONFIG, Guarded, guarded
from tests.support.serving import Answer

CONFIG = (
    CONFIG.replace(
        'far, provider_type: remote::vllm, config: {url: "JUDGE"',
        'far, provider_type: remote::vllm, config: {url: "JUDGE", allow_members: ["*"]',
    )
    .replace(
        "        access_policy: POLICY",
        """\
        route_policy:
        - permit: {paths: /v1/chat/completions}
          shields: [hidden]
        - permit: {paths: "*"}
        access_policy: POLICY""",
    )
    .replace("    safety: {", "    - {shield_id: more, provider_id: words, params: {words: [heron]}}\n    safety: {")
)
POLICY = """
        - permit: {actions: [create, read, update, delete]}
          when: user with admin in roles
        - permit: {actions: [read], resource: "model::*"}
          shields: [words]
        - permit: {actions: [create, read, update, delete]}
"""
VECTORS = "{model_id: vectors, provider_id: far, model_type: embedding, metadata: {embedding_dimension: 8}}"
RUNS = {
    "POST /v1/chat/completions",
    "POST /v1/completions",
    "POST /v1/embeddings",
    "POST /v1/messages",
    "POST /v1/responses",
    "POST /v1/responses/compact",
    "POST /v1/vector-io/insert",
    "POST /v1/vector-io/query",
    "POST /v1/vector_stores/{vector_store_id}/search",
}
"""Each of them is tried below."""

RUNS_NONE = {
    "POST /v1/messages/count_tokens": "it counts tokens",
    "POST /v1/models": "it registers a model",
    "POST /v1/moderations": "its model judges for a shield",
    "POST /v1/responses/input_tokens": "it counts tokens",
    "POST /v1/safety/run-shield": "its model judges for a shield",
    "POST /v1/vector_stores": "its model is looked up",
}
SERVED = {"POST /v1/chat/completions", "POST /v1/completions", "POST /v1/messages", "POST /v1/responses"}
"""Those of them whose requests may ask for shields; others refuse to."""

COUNTS = {"POST /v1/messages/count_tokens", "POST /v1/responses/input_tokens"}


@pytest.fixture(scope="module")
def running(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    text = CONFIG.replace("    models:\n", f"    models:\n    - {VECTORS}\n")
    with guarded(opa_binary, tmp_path_factory.mktemp("dodging"), text=text, policy=POLICY) as server:
        yield server


def test_every_route_about_models_is_known_here() -> None:
    about = {
        name
        for name, route in ROUTES.items()
        if name.startswith("POST ")
        and ("read", "model") in {(str(a), kind) for a, kind in (*route.asks, *route.may_ask)}
    }
    assert about == RUNS | RUNS_NONE.keys()


def made(server: Guarded, route: str) -> dict[str, str]:
    named = {"model_id": "vectors" if route == "POST /v1/embeddings" else "gpt"}
    if "vector" not in route:
        return named
    store = server.post("/v1/vector_stores", {"embedding_model": "vectors"}, ALICE).json["id"]
    chunk = {"content": "hi there", "metadata": {"document_id": "d"}}
    while (
        answer := server.post("/v1/vector-io/insert", {"vector_db_id": store, "chunks": [chunk]}, ALICE)
    ).status == 503:
        assert answer.error["code"] == "starting", "the index is opened at its first use"
    assert answer.status == 200, answer.body
    return {**named, "vector_store_id": store}


def body_of(route: str, names: dict[str, str], word: str) -> Any:
    """The body of the census, or one that makes the server ask a model, with another word."""
    store = names.get("vector_store_id")
    if route == "POST /v1/vector-io/insert":
        return {"vector_db_id": store, "chunks": [{"content": word, "metadata": {"document_id": "e"}}]}
    if route == "POST /v1/vector-io/query":
        return {"vector_db_id": store, "query": word}
    build = CENSUS[route].body
    assert build is not None
    body = loads(dumps(build(names)).replace('"hi"', dumps(word)))
    return {"query": word} if store else {**body, **({"store": False} if "store" in body else {})}


def sent(server: Guarded, route: str, names: dict[str, str], body: Any) -> Answer:
    path = route.split(" ")[1].replace("{vector_store_id}", names.get("vector_store_id", ""))
    return server.post(path, body, ALICE)


@pytest.mark.parametrize("route", sorted(RUNS))
@pytest.mark.parametrize("stream", [False, True])
def test_a_flagged_text_reaches_no_model(server: Guarded, route: str, stream: bool) -> None:
    names = made(server, route)
    streams = route.split("/v1/")[1] in ("chat/completions", "completions", "messages", "responses")
    more = {"stream": True} if stream and streams else {}
    server.judge.chats.clear()
    answer = sent(server, route, names, {**body_of(route, names, "a falcon"), **more})
    assert server.judge.chats == []
    said = b"no summary" if route.endswith("compact") else b"refusal"
    assert b"content_filter" in answer.body or said in answer.body, answer.body
    assert sent(server, route, names, {**body_of(route, names, "hello"), **more}).status == 200
    assert server.judge.chats, "else this says nothing"


def test_those_that_may_read_shields_are_those_that_serve_them() -> None:
    assert {name for name in RUNS | COUNTS if ("read", "shield") in CENSUS[name].may_ask} == SERVED


@pytest.mark.parametrize("route", sorted(SERVED))
@pytest.mark.parametrize("stream", [False, True])
def test_a_shield_that_is_asked_for_acts_beside_those_required(server: Guarded, route: str, stream: bool) -> None:
    names = made(server, route)
    asked = {"stream": stream, "guardrails": ["more"]}
    server.judge.chats.clear()
    for word in ("a falcon", "a heron"):
        answer = sent(server, route, names, {**body_of(route, names, word), **asked})
        assert b"content_filter" in answer.body or b"refusal" in answer.body, answer.body
    assert server.judge.chats == []
    assert sent(server, route, names, {**body_of(route, names, "hello"), **asked}).status == 200
    assert [body.keys() & {"guardrails", "moderation"} for body in server.judge.chats] == [set()]


@pytest.mark.parametrize("route", sorted((RUNS | COUNTS) - SERVED))
@pytest.mark.parametrize("member", ["guardrails", "moderation", "Moderation"])
def test_a_shield_that_would_not_act_is_refused(server: Guarded, route: str, member: str) -> None:
    names = made(server, route)
    body = body_of(route, names, "hello")
    server.judge.chats.clear()
    answer = sent(server, route, names, {**body, member: ["words"]})
    assert (answer.status, server.judge.chats) == (400, []), answer.body
    assert member.encode() in answer.body


def test_a_route_may_require_shields_too(server: Guarded) -> None:
    body = {"model": "gpt", "messages": [{"role": "user", "content": "a secret"}]}
    for caller in (ADMIN, ALICE):
        answer = server.post("/v1/chat/completions", body, caller)
        assert answer.json["choices"][0]["finish_reason"] == "content_filter", "both rules' shields hold"
    assert server.judge.chats == []
    assert server.post("/v1/messages", {**body, "max_tokens": 9}, ADMIN).status == 200
    assert server.judge.chats


@pytest.mark.parametrize("path", ["chat/completions", "messages", "responses"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_flagged_answer_is_not_sent(server: Guarded, path: str, stream: bool) -> None:
    server.judge.said = "x " * 300 + "a falcon"
    body = body_of(f"POST /v1/{path}", {"model_id": "gpt"}, "hello")
    answer = server.post(f"/v1/{path}", {**body, "stream": stream}, ALICE)
    assert answer.status == 200, answer.body
    assert b"falc" not in answer.body
    assert b"content_filter" in answer.body or b"refusal" in answer.body, answer.body


@pytest.mark.parametrize("path", ["chat/completions", "messages", "responses"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_shield_that_fails_lets_nothing_pass(server: Guarded, path: str, stream: bool) -> None:
    text = "x " * 500_000 if path != "responses" else "x " * 400_000
    body = body_of(f"POST /v1/{path}", {"model_id": "gpt"}, text)
    answer = server.post(f"/v1/{path}", {**body, "stream": stream}, ALICE)
    assert answer.status == 400, answer.body[:500]
    assert b"text_too_long" in answer.body or b"can't check" in answer.body or b"at most" in answer.body
    assert server.judge.chats == []
    assert server.post(f"/v1/{path}", body_of(f"POST /v1/{path}", {"model_id": "gpt"}, "hello"), ADMIN).status == 200


@pytest.mark.parametrize(("word", "status"), [("a falcon", "failed"), ("a crane", "completed")])
def test_a_file_that_is_flagged_is_not_taken_in(server: Guarded, word: str, status: str) -> None:
    store = server.post("/v1/vector_stores", {"embedding_model": "vectors"}, ALICE).json["id"]
    kind = f'multipart/form-data; boundary="{BOUNDARY}"'
    kept = server.house.address.post("/v1/files", form_of(word.encode(), filename="a.txt"), ALICE, kind=kind)
    server.judge.chats.clear()
    place = f"/v1/vector_stores/{store}/files"
    assert server.post(place, {"file_id": kept.json["id"]}, ALICE).status == 200
    end = time.monotonic() + 30
    while (link := server.house.address.get(f"{place}/{kept.json['id']}", ALICE).json)["status"] == "in_progress":
        assert time.monotonic() < end, link
        time.sleep(0.05)
    assert link["status"] == status, link
    if status == "failed":
        assert link["last_error"]["message"] == "a shield has stopped this text"
    assert (word in dumps(server.judge.chats)) is (status == "completed")
