"""Every answer of every operation of OpenAI's document that is served, streams chunk by chunk, is as it says.

A provider's own words reach the caller to the byte, so they are not looked at; what is stored of them is.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from server.api.conversations.body import MOST_ITEMS
from server.api.conversations.include import INCLUDABLE
from server.api.files.upload import PURPOSES
from tests.openapi.batches import use_batches
from tests.openapi.conformity import Conformity
from tests.openapi.document import OPERATIONS, SCHEMAS, Operation
from tests.openapi.item_samples import names_a_file_twice, samples, telling
from tests.openapi.response_requests import use_responses
from tests.openapi.samples import Samples
from tests.openapi.vector_stores import use_vector_stores
from tests.openapi.watched import Watched, watched
from tests.support.callers import ALICE, BOB, STRANGER
from tests.support.failing_provider import upstream
from tests.support.mcp_server import mcp_server
from tests.support.stream_client import events

CHATS, FILES, TALKS, VECTORS = "/v1/chat/completions", "/v1/files", "/v1/conversations", "/v1/embeddings"
TEXTS = "/v1/completions"
LEAST = 0.9945

EVALS = "the document lets files be uploaded for `evals`, and leaves that purpose out where it shows them"
ROLES = (
    "stored messages are those of a request; the document gives them the schema of an answer, and shows users' itself"
)
PARTS_OF_REQUESTS = (
    "a message of a request may hold a sound, a file or a refusal, for which the document has no part here"
)
SOUNDS = "a message of a request names an earlier sound by its id alone"
ALWAYS = "the specification that OpenAI shares with others requires the member where there is nothing to say, as null"
KINDS = ("completed", "created", "failed", "in_progress", "incomplete", "queued")
WITHOUT_END = ("created", "failed", "in_progress", "queued")
DEVIATIONS: dict[str, tuple[str, set[str]]] = {
    ".purpose": (EVALS, {"is `evals`"}),
    ".data[].purpose": (EVALS, {"is `evals`"}),
    ".data[].role": (ROLES, {f"is `{role}`" for role in ("developer", "function", "system", "tool", "user")}),
    ".data[].content_parts": (PARTS_OF_REQUESTS, {"is no null"}),
    ".data[].audio": (SOUNDS, {"is no null"}),
    ".user": (ALWAYS, {"is null"}),
    **{f"<response.{kind}>.response.user": (ALWAYS, {"is null"}) for kind in KINDS},
    **{f"<response.{kind}>.response.usage": (ALWAYS, {"is null"}) for kind in WITHOUT_END},
    ".usage": (ALWAYS, {"is null"}),
}
"""Properties in which this server isn't as the document has it, each with the reason and what is wrong."""


@pytest.fixture(scope="module")
def house(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("answers")
    with upstream() as far, mcp_server() as tools, watched(opa_binary, folder, far.url, tools.url) as running:
        yield running


def chat(**more: Any) -> dict[str, Any]:
    return {"model": "small", "messages": [{"role": "user", "content": "hello there"}], **more}


TOOL = {"type": "function", "function": {"name": "weather", "parameters": {}}}
PARTS = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "https://a.example/x"}}]
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
MESSAGES = [
    {"role": "developer", "content": "be brief"},
    {"role": "system", "content": [PARTS[0]], "name": "boss"},
    {"role": "user", "content": PARTS},
    {"role": "assistant", "content": None, "tool_calls": [CALL], "refusal": None, "function_call": None},
    {"role": "tool", "content": "sunny", "tool_call_id": "call_1"},
    {"role": "assistant", "content": "it is sunny", "tool_calls": None},
]


def bare(house: Watched) -> dict[str, Any]:
    """The first chunk of a stored stream that lacks and has what other providers' don't."""
    body = chat(model="bare", stream=True, store=True)
    first: dict[str, Any] = events(house.address.ask("POST", CHATS, ALICE, body=body).body)[0]
    return first


def use_chats(house: Watched) -> None:
    house.ask("GET", CHATS)
    options: list[dict[str, Any]] = [
        {},
        {"n": 3},
        {"max_completion_tokens": 1},
        {"stop": ["there"]},
        {"tools": [TOOL], "tool_choice": "required"},
        {"messages": MESSAGES, "metadata": {"a": "b"}},
        {"logprobs": True},
    ]
    for option in options:
        for stream in ({}, {"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}):
            for store in ({}, {"store": True}):
                assert house.ask("POST", CHATS, chat(**option, **stream, **store)).status == 200
    stored = [bare(house)["id"], house.made(CHATS, chat(store=True, messages=MESSAGES))]
    for query in ("", "?limit=2&order=desc", "?model=small&metadata[a]=b"):
        assert house.ask("GET", f"{CHATS}{query}").json["data"]
    for identity in stored:
        one = f"{CHATS}/{identity}"
        for method, path, body in [
            ("GET", one, None),
            ("GET", f"{one}/messages", None),
            ("GET", f"{one}/messages?limit=1&after={identity}-0", None),
            ("POST", one, {"metadata": {"a": "c"}}),
            ("POST", one, {"metadata": None}),
            ("DELETE", one, None),
        ]:
            assert house.ask(method, path, body).status == 200
            house.ask(method, path, body, BOB)


def use_messages(house: Watched) -> None:
    """Whatever a message may be, it is taken, and comes back from the store."""
    every = samples(house.upload("user_data").json["id"]).around(SCHEMAS["ChatCompletionRequestMessage"])
    messages = [message for message in every if not names_a_file_twice(message)]
    made = house.made(CHATS, chat(store=True, messages=messages))
    path = f"{CHATS}/{made}/messages?limit=100"
    page = house.ask("GET", path).json
    shown = page["data"]
    while page["has_more"]:
        page = house.ask("GET", f"{path}&after={page['last_id']}").json
        shown += page["data"]
    assert [message["role"] for message in shown] == [message["role"] for message in messages]


def use_files(house: Watched) -> None:
    house.ask("GET", FILES)
    for purpose in PURPOSES:
        one = f"{FILES}/{house.upload(purpose).json['id']}"
        assert house.upload(purpose, expires_after="3600").status == 200
        for path in (one, f"{one}/content", FILES, f"{FILES}?purpose={purpose}&limit=1"):
            assert house.ask("GET", path).status == 200
        assert house.ask("DELETE", one).status == 200
        for method, path in (("GET", one), ("GET", f"{one}/content"), ("DELETE", one), ("GET", f"{FILES}?after=x")):
            assert house.ask(method, path).status == 404
    for refused in (house.upload("theft"), house.upload(content=b"x" * 1001), house.upload(expires_after="1")):
        assert refused.status in (400, 413)


def use_conversations(house: Watched) -> None:
    for body in (
        None,
        {},
        {"metadata": None, "items": None},
        {"metadata": {"a": "b"}, "items": [{"role": "user", "content": "x"}]},
    ):
        one = f"{TALKS}/{house.made(TALKS, body)}"
        assert house.ask("GET", f"{one}/items").status == 200
        added = house.ask("POST", f"{one}/items", {"items": [{"role": "assistant", "content": "y"}]}).json
        item = f"{one}/items/{added['last_id']}"
        for method, path, more in [
            ("GET", one, None),
            ("POST", one, {"metadata": {"c": "d"}}),
            ("GET", f"{one}/items?order=asc&limit=1", None),
            ("GET", item, None),
            ("DELETE", item, None),
            ("DELETE", one, None),
        ]:
            house.ask(method, path, more, BOB)
            assert house.ask(method, path, more).status == 200
        house.ask("GET", f"{one}/items?limit=0")


def use_items(house: Watched) -> None:
    items = iter(telling(house.upload().json["id"]))
    while listed := [*islice(items, MOST_ITEMS)]:
        path = f"{TALKS}/{house.made(TALKS, {})}/items"
        added = house.ask("POST", path, {"items": listed})
        assert added.status == 200, added.body
        for query in ("", f"&include={','.join(INCLUDABLE)}"):
            assert house.ask("GET", f"{path}?limit=100{query}").status == 200
        for item in added.json["data"]:
            assert house.ask("GET", f"{path}/{item['id']}").status == 200


def use_models(house: Watched) -> None:
    registered = {"model_id": "mine", "provider_id": "echo"}
    assert house.address.ask("POST", "/v1/models", ALICE, body=registered).status == 200
    for path in ("/v1/models", "/v1/models/small", "/v1/models/vectors", "/v1/models/mine"):
        assert house.ask("GET", path).status == 200
    assert house.ask("DELETE", "/v1/models/mine").status == 200
    for method in ("GET", "DELETE"):
        assert house.ask(method, "/v1/models/mine").status == 404
    assert house.ask("DELETE", "/v1/models/small").status in (403, 409)


def use_embeddings(house: Watched) -> None:
    inputs: list[Any] = ["a", ["a", "b"], [1, 2], [[1], [2, 3]]]
    for given in inputs:
        for more in ({}, {"encoding_format": "float"}, {"dimensions": 2}, {"user": "me"}):
            assert house.ask("POST", VECTORS, {"model": "vectors", "input": given, **more}).status == 200
    for given in ([], "", [1.5]):
        assert house.ask("POST", VECTORS, {"model": "vectors", "input": given}).status == 400
    assert house.ask("POST", VECTORS, {"model": "small", "input": "a"}).status == 400


def use_completions(house: Watched) -> None:
    prompts: list[Any] = ["a", ["a", "b"], [1, 2], [[1], [2, 3]], None]
    for given in prompts:
        for more in ({}, {"n": 2}, {"echo": True, "logprobs": 2}, {"max_tokens": 1}, {"suffix": "z", "user": "me"}):
            for stream in ({}, {"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}):
                body = {"model": "small", "prompt": given, **more, **stream}
                assert house.ask("POST", TEXTS, body).status == 200
    assert house.ask("POST", TEXTS, {"model": "small", "prompt": []}).status == 400


def use_wrongly(house: Watched, operation: Operation) -> None:
    """Each operation without a token, as a stranger, and with bodies that are none."""
    path = f"/v1{operation.path}".translate(str.maketrans({"{": "", "}": ""}))
    method = operation.method.upper()
    sends = method == "POST" and not path.endswith("/cancel")  # which takes no body
    assert house.ask(method, path, {} if sends else None, caller="").status == 401
    assert house.ask(method, path, {} if sends else None, STRANGER).status == 403
    for body in ({"unknown": [1]}, b"{", b"[]", {"messages": 1, "metadata": {"a": 1}}) if sends else ():
        assert house.ask(method, path, body).status in (400, 404, 415)
    if sends:
        assert house.ask(method, path, b"x", kind="text/plain").status in (400, 415)


@pytest.fixture(scope="module")
def conformity(house: Watched) -> Conformity:
    """What everything that is done here is answered."""
    for use in (
        use_chats,
        use_messages,
        use_files,
        use_conversations,
        use_responses,
        use_items,
        use_models,
        use_embeddings,
        use_completions,
        use_vector_stores,
        use_batches,
    ):
        use(house)
    for operation in OPERATIONS:
        use_wrongly(house, operation)
    house.ask("POST", CHATS, chat(model="nothing"))
    house.ask("POST", CHATS, chat(model="vectors"))
    house.ask("POST", CHATS, b"{" + b" " * 11_000_000)
    return house.conformity


def test_every_operation_is_looked_at_in_success_and_in_failure(conformity: Conformity) -> None:
    seen = {(operation, status) for operation, status, _ in conformity.faults}
    for operation in OPERATIONS:
        statuses = {status for each, status in seen if each == str(operation)}
        assert {401, 403} < statuses
        assert 200 in statuses or not operation.is_described
    assert len(conformity.faults) > 2500


def test_what_is_shown_is_as_the_document_has_it(conformity: Conformity) -> None:
    for (operation, status, path), faults in conformity.wrong.items():
        reason, expected = DEVIATIONS.get(path, ("", set()))
        assert reason and faults <= expected, f"{operation} {status} {path}: {faults}"
    assert conformity.share >= LEAST, f"{conformity.share:.4f} of {len(conformity.faults)}"


def test_no_deviation_is_listed_that_there_is_not(conformity: Conformity) -> None:
    assert {path for _, _, path in conformity.wrong} == DEVIATIONS.keys()


def test_a_stored_stream_has_what_an_answer_has(house: Watched) -> None:
    first = bare(house)
    assert first["obfuscation"] == "x7"
    stored = house.ask("GET", f"{CHATS}/{first['id']}").json
    assert stored.pop("input_messages") == [{"role": "user", "content": "hello there", "refusal": None}]
    assert stored == {
        "id": first["id"],
        "object": "chat.completion",
        "created": 1,
        "model": "far/bare",
        "service_tier": None,
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": None,
                    "refusal": None,
                    "tool_calls": [{**CALL, "function": {"name": "weather", "arguments": ""}}],
                },
                "logprobs": None,
                "finish_reason": "tool_calls",
            }
        ],
        "metadata": {},
    }


CREATE_CHAT = next(each for each in OPERATIONS if str(each) == "POST /chat/completions").asked()
NEEDS_MORE = {"tool_choice": "auto", "functions": [], "function_call": "auto", "modalities": ["text"]}


def test_every_optional_member_of_a_chat_may_be_left_out(house: Watched) -> None:
    samples = Samples(lambda name, _schema: {"model": "small", "messages": chat()["messages"], **NEEDS_MORE}.get(name))
    full = samples.full(CREATE_CHAT)
    # It names a shield, and this server has none.
    del full["moderation"]
    assert len(full) > 30
    for left_out in (None, *full):
        if left_out in ("model", "messages"):
            continue
        body = {name: value for name, value in full.items() if name != left_out}
        answer = house.ask("POST", CHATS, body)
        assert answer.status == 200, (left_out, answer.body)
