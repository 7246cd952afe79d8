"""The items that a conversation may have, and the files and items that they refer to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.api.conversations.body import PREFIXES
from tests.support.callers import BOB
from tests.support.conversations_server import NO_ITEM, NOBODYS, Talking, said, talking

NO_FILE = "file-" + "0" * 48


@pytest.fixture(scope="module")
def talk(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talking]:
    with talking(opa_binary, tmp_path_factory.mktemp("bodies")) as running:
        yield running


def message(*parts: Any, role: str = "user") -> dict[str, Any]:
    return {"type": "message", "role": role, "content": [*parts]}


@pytest.mark.parametrize(
    ("item", "param", "code"),
    [
        (1, "items[0]", "invalid_value"),
        ("hello", "items[0]", "invalid_value"),
        ({}, "items[0].id", "missing_required_parameter"),
        ({"type": "telepathy"}, "items[0].type", "invalid_value"),
        ({"type": ["message"]}, "items[0].type", "invalid_value"),
        ({"type": {"message": 1}}, "items[0].type", "invalid_value"),
        ({"type": "message", "content": "x"}, "items[0].role", "invalid_value"),
        (said("x", role="god"), "items[0].role", "invalid_value"),
        ({"role": ["user"], "content": "x"}, "items[0].role", "invalid_value"),
        ({"role": "user"}, "items[0].content", "missing_required_parameter"),
        ({"role": "user", "content": None}, "items[0].content", "invalid_value"),
        ({"role": "user", "content": {"text": "x"}}, "items[0].content", "invalid_value"),
        (message("x"), "items[0].content[0]", "invalid_value"),
        (message({"text": "x"}), "items[0].content[0].type", "missing_required_parameter"),
        (message({"type": "smell"}), "items[0].content[0].type", "invalid_value"),
        (message({"type": []}), "items[0].content[0].type", "invalid_value"),
        (message({"type": "input_text"}), "items[0].content[0].text", "missing_required_parameter"),
        (message({"type": "input_text", "text": 1}), "items[0].content[0].text", "invalid_value"),
        (message({"type": "output_text", "text": None}), "items[0].content[0].text", "invalid_value"),
        (message({"type": "refusal", "text": "no"}), "items[0].content[0].refusal", "missing_required_parameter"),
        (message({"type": "input_image"}), "items[0].content[0]", "invalid_value"),
        (message({"type": "input_file", "filename": "x"}), "items[0].content[0]", "invalid_value"),
        (
            message({"type": "input_file", "file_id": 7, "file_url": "u"}),
            "items[0].content[0].file_id",
            "invalid_value",
        ),
        (message({"type": "input_file", "file_id": ""}), "items[0].content[0].file_id", "invalid_value"),
        (message({"type": "input_file", "file_id": "f" * 129}), "items[0].content[0].file_id", "invalid_value"),
        ({"type": "function_call", "name": "f", "arguments": "{}"}, "items[0].call_id", "missing_required_parameter"),
        (
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": {}},
            "items[0].arguments",
            "invalid_value",
        ),
        ({"type": "function_call_output", "call_id": "c"}, "items[0].output", "missing_required_parameter"),
        ({"type": "function_call_output", "call_id": "c", "output": 1}, "items[0].output", "invalid_value"),
        ({"type": "function_call_output", "call_id": 1, "output": "x"}, "items[0].call_id", "invalid_value"),
        ({"type": "reasoning", "summary": "x"}, "items[0].summary", "invalid_value"),
        ({"type": "item_reference"}, "items[0].id", "missing_required_parameter"),
        ({"type": "item_reference", "id": 1}, "items[0].id", "invalid_value"),
        ({"type": "item_reference", "id": "x" * 129}, "items[0].id", "invalid_value"),
    ],
)
def test_an_item_that_is_none_is_refused_by_its_place(talk: Talking, item: Any, param: str, code: str) -> None:
    conversation, before = talk.made(), talk.count()
    for path in (f"/{conversation}/items", ""):
        answer = talk.post(path, {"items": [item]})
        assert (answer.status, answer.error["param"], answer.error["code"]) == (400, param, code)
        second = talk.post(path, {"items": [said("fine"), item]})
        assert (second.status, second.error["param"]) == (400, param.replace("items[0]", "items[1]"))
    assert talk.count() == (before[0] + 1, before[1]) or talk.count() == before


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({}, "items", "missing_required_parameter"),
        ({"items": []}, "items", "invalid_value"),
        ({"items": None}, "items", "invalid_value"),
        ({"items": {}}, "items", "invalid_value"),
        ({"items": [said("x")] * 21}, "items", "invalid_value"),
        ({"items": [said("x")], "id": "x"}, "id", "unknown_parameter"),
        ({"items": [said("x")], "x" * 500: 1}, "x" * 64 + "…", "unknown_parameter"),
    ],
)
def test_items_come_as_a_short_list(talk: Talking, body: dict[str, Any], param: str, code: str) -> None:
    answer = talk.post(f"/{talk.made()}/items", body)
    assert (answer.status, answer.error["param"], answer.error["code"]) == (400, param, code)


@pytest.mark.parametrize("kind", sorted(PREFIXES))
def test_every_type_of_item_is_kept_as_it_is(talk: Talking, kind: str) -> None:
    more = {"message": said("x"), "function_call": {"call_id": "c", "name": "f", "arguments": "{}"}}
    item = {
        "type": kind,
        "call_id": "c",
        "output": "o",
        "deep": {"a": [1, {"b": None}], "id": "inner"},
        **more.get(kind, {}),
    }
    conversation = talk.made()
    [made] = talk.added(conversation, item)
    assert made.startswith(f"{PREFIXES[kind]}_")
    shown = talk.get(f"/{conversation}/items/{made}").json
    assert {name: shown[name] for name in item if name not in ("content", "type")} == {
        name: value for name, value in item.items() if name not in ("content", "type")
    }
    assert shown["type"] == kind
    assert shown.get("status", "completed") == "completed"


def test_how_a_call_has_ended_is_kept_and_other_statuses_are_ours(talk: Talking) -> None:
    conversation = talk.made()
    items = [
        {"type": "mcp_call", "server_label": "s", "name": "n", "arguments": "{}", "status": "failed"},
        {"type": "image_generation_call", "result": None, "status": "in_progress"},
        {"type": "web_search_call", "action": {"type": ["search"]}, "status": ["failed"]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", "status": "failed"},
        said("x", status="incomplete"),
    ]
    talk.added(conversation, *items)
    shown = talk.get(f"/{conversation}/items?order=asc").json["data"]
    assert [item["status"] for item in shown] == ["failed", "completed", "completed", "completed", "completed"]


def test_the_parts_of_a_message_come_back_whole(talk: Talking) -> None:
    parts = [
        {"type": "input_text", "text": ""},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:;base64,AA"},
        {"type": "input_file", "file_url": "https://a.example/f"},
        {"type": "refusal", "refusal": "no"},
        {
            "type": "output_text",
            "text": "t",
            "annotations": [{"type": "file_citation", "file_id": "any"}],
            "logprobs": [],
        },
        {"type": "reasoning_text", "text": "because"},
    ]
    conversation = talk.made()
    [made] = talk.added(conversation, message(*parts))
    assert talk.get(f"/{conversation}/items/{made}").json["content"] == parts


def naming(file: str) -> list[tuple[dict[str, Any], str]]:
    """Items that name a file, each with the place."""
    image = {"type": "input_image", "file_id": file}
    return [
        (message({"type": "input_file", "file_id": file}), "items[0].content[0].file_id"),
        (message({"type": "input_text", "text": "x"}, image), "items[0].content[1].file_id"),
        ({"type": "function_call_output", "call_id": "c", "output": [image]}, "items[0].output[0].file_id"),
        (
            {"type": "computer_call_output", "call_id": "c", "output": {**image, "type": "computer_screenshot"}},
            "items[0].output.file_id",
        ),
    ]


def test_a_file_that_an_item_names_must_be_readable(talk: Talking) -> None:
    mine, theirs = talk.file(), talk.file(BOB)
    conversation = talk.made()
    before = talk.count()
    for index, (item, place) in enumerate(naming(theirs)):
        for path in ("", f"/{conversation}/items"):
            foreign = talk.post(path, {"items": [item]})
            missing = talk.post(path, {"items": [naming(NO_FILE)[index][0]]})
            assert (foreign.status, foreign.error["code"], foreign.error["param"]) == (404, "not_found", place)
            assert foreign.body.replace(theirs.encode(), NO_FILE.encode()) == missing.body
            assert foreign.headers.keys() == missing.headers.keys()
    assert talk.count() == before
    for item, _ in naming(mine):
        talk.added(conversation, item)
    assert talk.count() == (before[0], before[1] + 4)


def test_a_reference_becomes_a_copy_of_ones_own(talk: Talking) -> None:
    source, target = talk.made(), talk.made()
    [said_before] = talk.added(source, "hello")
    original = talk.get(f"/{source}/items/{said_before}").json
    for reference in (
        {"type": "item_reference", "id": said_before},
        {"id": said_before},
        {"type": None, "id": said_before},
    ):
        [copy] = talk.added(target, reference)
        assert copy != said_before
        assert talk.get(f"/{target}/items/{copy}").json == {**original, "id": copy}
    talk.delete(f"/{source}")
    assert talk.get(f"/{target}/items/{copy}").status == 200


def test_a_reference_to_what_one_may_not_read_is_one_to_nothing(talk: Talking) -> None:
    [theirs] = talk.added(talk.made(BOB), "secret", caller=BOB)
    conversation, before = talk.made(), talk.count()
    answers = [
        talk.post(path, {"items": [said("x"), {"type": "item_reference", "id": identity}]})
        for identity in (theirs, NO_ITEM, NOBODYS, conversation, "x", "a\0", "'; DROP TABLE conversation_items; --")
        for path in ("", f"/{conversation}/items")
    ]
    assert {answer.status for answer in answers} == {404}
    assert {(answer.error["code"], answer.error["param"]) for answer in answers} == {("not_found", "items[1].id")}
    assert answers[0].body.replace(theirs.encode(), NO_ITEM.encode()) == answers[2].body
    assert talk.count() == before
