"""Responses: their members, what is stored of them, and what they go on from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.failing_provider import Upstream, upstream
from tests.support.responses_server import NOBODYS, RESPONSES, Responding, responding, script

NEVER_NULL = (
    "id object created_at status model output tools tool_choice truncation parallel_tool_calls text top_p "
    "presence_penalty frequency_penalty top_logprobs temperature store background service_tier metadata"
)
MAY_BE_NULL = (
    "completed_at incomplete_details previous_response_id instructions error reasoning user usage max_output_tokens "
    "max_tool_calls safety_identifier prompt_cache_key"
)
WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}


@pytest.fixture(scope="module")
def far() -> Iterator[Upstream]:
    with upstream() as running:
        yield running


@pytest.fixture(scope="module")
def place(
    postgres: str | None, far: Upstream, opa_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Responding]:
    with responding(opa_binary, tmp_path_factory.mktemp("responses"), postgres, upstream=far.url) as running:
        yield running


def texts(far: Upstream) -> list[tuple[str, Any]]:
    """What the model was asked last: the role and the content of each message."""
    return [(message["role"], message.get("content")) for message in far.body["messages"]]


def test_every_member_is_always_there(place: Responding) -> None:
    made = place.made("hello there")
    assert {*NEVER_NULL.split(), *MAY_BE_NULL.split()} == made.keys()
    assert [name for name in NEVER_NULL.split() if made[name] is None] == []
    assert (made["object"], made["status"], made["model"]) == ("response", "completed", "echo/small")
    [message] = made["output"]
    assert message["content"][0]["text"] == "echo: hello there"
    assert made["usage"]["total_tokens"] == made["usage"]["input_tokens"] + made["usage"]["output_tokens"]
    assert made["usage"]["input_tokens_details"] == {"cached_tokens": 0, "cache_write_tokens": 0}


def test_what_was_asked_for_is_repeated(place: Responding) -> None:
    asked = {
        "instructions": "be brief",
        "tools": [WEATHER, {"type": "web_search", "external_web_access": True, "authorization": "secret"}],
        "tool_choice": "auto",
        "temperature": 0.5,
        "max_output_tokens": 100,
        "max_tool_calls": 3,
        "metadata": {"a": "b"},
        "text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": "object"}}, "verbosity": "low"},
        "reasoning": {"effort": "low"},
        "client_metadata": {"made": "up"},
        "context_management": [{"type": "compaction"}],
    }
    answer = place.ask("POST", RESPONSES, {"model": "small", "input": "hi", **asked})
    made = answer.json
    for name in ("instructions", "tool_choice", "temperature", "max_output_tokens", "max_tool_calls", "metadata"):
        assert made[name] == asked[name]
    assert made["tools"] == [{**WEATHER, "strict": None}, {"type": "web_search", "external_web_access": True}]
    assert made["text"]["format"]["name"] == "x" and made["text"]["verbosity"] == "low"
    assert made["reasoning"] == {"effort": "low", "summary": None}
    assert "client_metadata" not in made
    assert place.ask("GET", f"{RESPONSES}/{made['id']}").json == made


def test_a_stored_response_is_what_was_answered(place: Responding) -> None:
    made = place.made("hello", metadata={"topic": "doors"})
    assert place.ask("GET", f"{RESPONSES}/{made['id']}").json == made
    [item] = place.items(made["id"])
    assert (item["role"], item["content"]) == ("user", [{"type": "input_text", "text": "hello"}])
    deleted = place.ask("DELETE", f"{RESPONSES}/{made['id']}")
    assert deleted.json == {"id": made["id"], "object": "response", "deleted": True}
    assert place.ask("GET", f"{RESPONSES}/{made['id']}").status == 404
    assert place.ask("GET", f"{RESPONSES}/{made['id']}/input_items").status == 404


def test_what_is_not_to_be_stored_is_not_there(place: Responding) -> None:
    before = place.count()
    made = place.made("hello", store=False)
    assert (place.count(), made["store"]) == (before, False)
    assert place.ask("GET", f"{RESPONSES}/{made['id']}").status == 404
    assert place.create("more", previous_response_id=made["id"]).json["error"]["code"] == "previous_response_not_found"


def test_a_chain_is_asked_whole_and_without_old_instructions(place: Responding, far: Upstream) -> None:
    first = place.made("one", model="m", instructions="first of all")
    second = place.made("one", model="m", previous_response_id=first["id"])
    third = place.made("two", model="m", previous_response_id=second["id"], instructions="at last")
    said = first["output"][0]["content"][0]["text"]
    assert texts(far) == [
        *(("system", "at last"), ("user", "one"), ("assistant", said)),
        *(("user", "one"), ("assistant", said), ("user", "two")),
    ]
    # What a response goes on from may go.
    place.ask("DELETE", f"{RESPONSES}/{first['id']}")
    place.ask("DELETE", f"{RESPONSES}/{second['id']}")
    place.made("three", model="m", previous_response_id=third["id"])
    assert [content for role, content in texts(far) if role == "user"] == ["one", "one", "two", "three"]
    ids = [item["id"] for item in place.items(third["id"])]
    assert len({*ids}) == len(ids) == 5
    assert ids[1] == first["output"][0]["id"]


def test_a_tool_is_called_and_its_output_goes_on(place: Responding, far: Upstream) -> None:
    first = place.made(script(tool_calls=[{"name": "weather", "arguments": {"at": "here"}}]), tools=[WEATHER])
    [call] = first["output"]
    assert (call["type"], call["name"], call["arguments"]) == ("function_call", "weather", '{"at":"here"}')
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}
    place.made([output], model="m", previous_response_id=first["id"], tools=[WEATHER])
    _, asked, answered = far.body["messages"]
    assert asked["tool_calls"][0]["id"] == answered["tool_call_id"] == call["call_id"]
    assert answered["content"] == "sunny"
    assert far.body["tools"][0]["function"]["name"] == "weather"


def test_items_are_referred_to_by_their_ids(place: Responding, far: Upstream) -> None:
    first = place.made("one")
    conversation = place.conversation(items=[{"role": "user", "content": "in a conversation"}])
    [kept] = place.ask("GET", f"/v1/conversations/{conversation}/items").json["data"]
    [given] = place.items(first["id"])
    refers = [{"type": "item_reference", "id": each["id"]} for each in (first["output"][0], kept, given)]
    place.made([*refers, {"role": "user", "content": "and now?"}], model="m")
    assert [content for _, content in texts(far)] == ["echo: one", "in a conversation", "one", "and now?"]
    missing = place.create([{"type": "item_reference", "id": "msg_" + "0" * 53}])
    assert (missing.status, missing.json["error"]["param"]) == (404, "input[0].id")


def test_a_prompt_is_filled_and_said_first(place: Responding, far: Upstream) -> None:
    prompt = place.prompt("Talk like {{ who }}.", "who")
    made = place.made("hi", model="m", prompt={"id": prompt, "version": "1", "variables": {"who": "{{ who }}"}})
    assert texts(far)[0] == ("system", "Talk like {{ who }}.")
    assert made["prompt"] == {"id": prompt, "version": "1", "variables": {"who": "{{ who }}"}}
    lacking = place.create(prompt={"id": prompt})
    assert (lacking.status, lacking.json["error"]["param"]) == (400, "prompt.variables")
    unknown = place.create(prompt={"id": prompt, "variables": {"who": "a", "what": "b"}})
    assert "`what`" in unknown.json["error"]["message"]
    for wrong in ({"id": "pmpt_" + "0" * 48}, {"id": prompt, "version": 2, "variables": {"who": "a"}}):
        assert place.create(prompt=wrong).status == 404


def test_a_file_goes_to_the_model(place: Responding, far: Upstream) -> None:
    identity = place.file(b"some text")
    part = {"type": "input_file", "file_id": identity}
    made = place.made([{"role": "user", "content": [part, {"type": "input_text", "text": "read it"}]}], model="m")
    file = far.body["messages"][0]["content"][0]
    assert file["type"] == "file" and file["file"]["file_data"].startswith("data:text/plain")
    place.made("again", model="m", previous_response_id=made["id"])
    # The files of a chain are asked about again.
    place.ask("DELETE", f"/v1/files/{identity}")
    gone = place.create("again", model="m", previous_response_id=made["id"])
    assert (gone.status, gone.json["error"]["param"]) == (404, "previous_response_id")
    missing = place.create([{"role": "user", "content": [part]}])
    assert (missing.status, missing.json["error"]["param"]) == (404, "input[0].content[0].file_id")


def test_lists_are_pages_by_model_with_their_input(place: Responding) -> None:
    made = [place.made(text, metadata={"n": text})["id"] for text in ("a", "b", "c")]
    page = place.ask("GET", f"{RESPONSES}?limit=2").json
    assert ([each["id"] for each in page["data"]], page["has_more"]) == ([made[2], made[1]], True)
    assert page["data"][0]["input"][0]["content"][0]["text"] == "c"
    rest = place.ask("GET", f"{RESPONSES}?limit=1&after={made[1]}").json
    assert [each["id"] for each in rest["data"]] == [made[0]]
    assert place.ask("GET", f"{RESPONSES}?model=small&limit=1").json["data"][0]["id"] == made[2]
    assert place.ask("GET", f"{RESPONSES}?model=nothing").json["data"] == []
    assert place.ask("GET", f"{RESPONSES}?after={NOBODYS}").status == 404


def test_input_items_are_pages_in_either_order(place: Responding) -> None:
    made = place.made([{"role": "user", "content": text} for text in "abcde"])["id"]
    ids = [item["id"] for item in place.items(made)]
    newest = place.items(made, "?limit=2")
    assert [item["id"] for item in newest] == [ids[4], ids[3]]
    assert [item["id"] for item in place.items(made, f"?limit=2&after={ids[3]}")] == [ids[2], ids[1]]
    assert place.ask("GET", f"{RESPONSES}/{made}/input_items?after=msg_0").status == 404


def test_parts_of_items_come_where_they_are_asked_for(place: Responding) -> None:
    url = "data:image/png;base64,AAAA"
    made = place.made([{"role": "user", "content": [{"type": "input_image", "image_url": url}]}], model="m")["id"]
    hidden, shown = place.items(made), place.items(made, "?include[]=message.input_image.image_url")
    assert [items[0]["content"][0]["image_url"] for items in (hidden, shown)] == [None, url]
    assert place.ask("GET", f"{RESPONSES}/{made}?include=message.everything").status == 400


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": None}, "input"),
        ({"input": 7}, "input"),
        ({"input": [{"type": "unheard_of"}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_url": "http://x"}]}]}, "input"),
        ({"input": [{"type": "reasoning", "summary": []}]}, "input"),
        ({"input": [{"role": "user", "content": "x"}] * 5_001}, "input"),
        ({"input": [{"role": "user", "content": "x"}] * 51, "conversation": "conv_1"}, "input"),
        ({"background": True, "store": False}, "background"),
        ({"moderation": {"model": "m", "policy": {"input": {}}}}, "moderation.policy.input.mode"),
        ({"guardrails": True}, "guardrails"),
        ({"max_output_tokens": 15}, "max_output_tokens"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"temperature": "hot"}, "temperature"),
        ({"tools": [{"type": "function", "name": "a b"}]}, "tools[0].name"),
        ({"tools": [WEATHER, WEATHER]}, "tools[1].name"),
        ({"tool_choice": {"type": "function", "name": "other"}, "tools": [WEATHER]}, "tool_choice"),
        ({"text": {"format": {"type": "yaml"}}}, "text.format"),
        ({"include": ["everything"]}, "include"),
        ({"store": "yes"}, "store"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"previous_response_id": NOBODYS, "conversation": "conv_1"}, "previous_response_id"),
        ({"prompt": {"id": "pmpt_1", "variables": {"a": {"type": "input_image"}}}}, "prompt.variables.a"),
    ],
)
def test_what_is_wrong_is_told_by_its_place(place: Responding, body: dict[str, Any], param: str) -> None:
    before = place.count()
    answer = place.ask("POST", RESPONSES, {"model": "small", "input": "hi", **body})
    assert (answer.status, answer.json["error"]["param"]) == (400, param)
    assert place.count() == before


def test_a_deep_schema_is_refused(place: Responding) -> None:
    schema: dict[str, Any] = {}
    for _ in range(200):
        schema = {"properties": {"a": schema}}
    answer = place.create(tools=[{**WEATHER, "parameters": schema}])
    assert (answer.status, "levels deep" in answer.json["error"]["message"]) == (400, True)
