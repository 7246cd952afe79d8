"""Every item that OpenAI's document lets a request bring is shown as the document lets an item be shown."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from server.api.conversations.body import MOST_ITEMS
from server.api.conversations.include import INCLUDABLE
from tests.openapi.conformity import properties
from tests.openapi.document import SCHEMAS, Schema, resolved
from tests.openapi.item_samples import REFUSED, kinds, samples, tried
from tests.openapi.watched import Watched, watched
from tests.support.callers import ALICE

SHOWN: Schema = {"$ref": "#/components/schemas/ConversationItem"}
EVERYTHING = "include=" + ",".join(INCLUDABLE)


@pytest.fixture(scope="module")
def house(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with watched(opa_binary, tmp_path_factory.mktemp("items")) as running:
        yield running


@pytest.fixture(scope="module")
def file(house: Watched) -> str:
    return str(house.upload().json["id"])


def check_shown(shown: list[Any], items: list[Any]) -> None:
    assert len(shown) == len(items)
    for one, item in zip(shown, items, strict=True):
        faults = [(path, fault) for path, fault in properties(SHOWN, one) if fault is not None]
        assert not faults, (faults, item, one)


def check_kept(house: Watched, items: list[Any]) -> None:
    """The items are taken, and shown as they must be: at once, in lists and alone, with and without `include`."""
    conversation = house.made("/v1/conversations", {})
    path = f"/v1/conversations/{conversation}/items"
    for query in ("", f"?{EVERYTHING}"):
        added = house.ask("POST", f"{path}{query}", {"items": items})
        assert added.status == 200, (added.body, items)
        check_shown(added.json["data"], items)
        page = house.ask("GET", f"{path}?limit={len(items)}&{query[1:]}").json["data"]
        check_shown(page[::-1], items)
        alone = house.ask("GET", f"{path}/{added.json['first_id']}{query}").json
        assert alone == added.json["data"][0]


@pytest.mark.parametrize("kind", kinds())
def test_every_sample_of_an_item_is_shown_as_the_document_has_it(house: Watched, file: str, kind: str) -> None:
    made = tried(kind, file)
    count = 0
    while items := [*islice(made, MOST_ITEMS)]:
        check_kept(house, items)
        count += len(items)
    assert count > 4


@pytest.mark.parametrize("kind", kinds())
def test_every_optional_member_of_an_item_may_be_null_where_the_document_lets_it(
    house: Watched, file: str, kind: str
) -> None:
    schema = resolved(SCHEMAS[kind])
    smallest = samples(file).smallest(schema)
    nulls = [name for name, inner in schema["properties"].items() if {"type": "null"} in inner.get("anyOf", ())]
    check_kept(house, [smallest | dict.fromkeys(nulls), *(smallest | {name: None} for name in nulls)])


@pytest.mark.parametrize("kind", sorted(REFUSED))
def test_what_is_no_item_is_refused(house: Watched, kind: str) -> None:
    items = [samples("file-x").smallest(SCHEMAS[kind])]
    conversation = house.made("/v1/conversations", {})
    assert house.ask("POST", f"/v1/conversations/{conversation}/items", {"items": items}).status in (400, 404)


def test_a_copy_is_shown_like_its_item(house: Watched, file: str) -> None:
    kept = [samples(file).smallest(SCHEMAS[kind]) for kind in kinds() if not kind.endswith("Message")][:MOST_ITEMS]
    conversation = house.made("/v1/conversations", {})
    path = f"/v1/conversations/{conversation}/items?{EVERYTHING}"
    shown = house.ask("POST", path, {"items": kept}).json["data"]
    copies = house.ask("POST", path, {"items": [{"id": item["id"]} for item in shown]}).json["data"]
    check_shown(copies, shown)
    for one, other in zip(shown, copies, strict=True):
        assert {**one, "id": ""} == {**other, "id": ""}


IMAGE = {"type": "input_image", "image_url": "https://a.example/x"}


@pytest.mark.parametrize(
    ("item", "more"),
    [
        ({"type": "function_call_output", "output": [IMAGE]}, {"output": [{**IMAGE, "detail": "auto"}]}),
        (
            {"type": "custom_tool_call_output", "call_id": "c", "output": [IMAGE]},
            {"output": [{**IMAGE, "detail": "auto"}]},
        ),
        ({"type": "tool_search_call", "arguments": {}}, {"call_id": None, "execution": "server"}),
        ({"type": "tool_search_call", "arguments": {}, "execution": "client", "call_id": "c"}, {}),
        ({"type": "tool_search_output", "tools": []}, {"call_id": None, "execution": "server"}),
        (
            {"type": "shell_call", "call_id": "c", "action": {"commands": ["ls"]}},
            {
                "action": {"commands": ["ls"], "timeout_ms": None, "max_output_length": None},
                "environment": None,
            },
        ),
        ({"type": "shell_call_output", "call_id": "c", "output": []}, {"max_output_length": None}),
        ({"type": "reasoning", "content": None, "encrypted_content": None}, {"summary": []}),
        ({"type": "image_generation_call"}, {"result": None}),
        ({"type": "web_search_call"}, {"action": {"type": "search"}}),
        (
            {"type": "additional_tools", "role": "developer", "tools": [{"type": "function", "name": "f"}]},
            {"tools": [{"type": "function", "name": "f", "strict": None, "parameters": None}]},
        ),
        # The SDK's form of it: the id is that of the call.
        ({"type": "local_shell_call_output", "id": "call_1", "output": "x"}, {"call_id": "call_1"}),
        ({"type": "local_shell_call_output", "id": "a", "call_id": "b", "output": "x"}, {"call_id": "b"}),
    ],
)
def test_what_a_request_leaves_out_has_its_default(house: Watched, item: dict[str, Any], more: dict[str, Any]) -> None:
    conversation = house.made("/v1/conversations", {"items": [item]})
    [shown] = house.ask("GET", f"/v1/conversations/{conversation}/items").json["data"]
    given = {name: value for name, value in item.items() if name != "id" and (value is not None or name in more)}
    kept = {name: value for name, value in shown.items() if name not in ("id", "status")}
    assert {"encrypted_content": None, **kept} == {"encrypted_content": None, **given, **more}


@pytest.mark.parametrize(
    "item",
    [
        dict.fromkeys(("call_id", "name", "namespace"), None) | {"type": "function_call_output", "output": "x"},
        {
            "type": "computer_call_output",
            "call_id": "c",
            "output": {"type": "computer_screenshot", "image_url": None, "file_id": None},
            "acknowledged_safety_checks": None,
        },
        {"type": "web_search_call", "action": {"type": "search", "query": None, "queries": None, "sources": None}},
        {
            "type": "function_call_output",
            "output": [{"type": "input_file", "file_url": "https://a.example/x", "filename": None, "file_data": None}],
        },
    ],
)
def test_a_null_that_may_not_be_shown_is_left_out(house: Watched, item: dict[str, Any]) -> None:
    conversation = house.made("/v1/conversations", {"items": [item]})
    for query in ("", f"?{EVERYTHING}"):
        [shown] = house.ask("GET", f"/v1/conversations/{conversation}/items{query}").json["data"]
        check_shown([shown], [item])
        assert "null" not in str(shown).replace("None", "null")


def test_a_member_without_a_meaning_is_not_made_up(house: Watched) -> None:
    """The document requires a `request_id` that it doesn't describe; its own SDKs neither send nor know it."""
    item = {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True}
    conversation = str(house.address.ask("POST", "/v1/conversations", ALICE, body={"items": [item]}).json["id"])
    listed = house.address.ask("GET", f"/v1/conversations/{conversation}/items", ALICE).json
    [path] = [path for path, fault in properties(SHOWN, listed["data"][0]) if fault is not None]
    assert path == "<mcp_approval_response>.request_id"


def test_the_answers_around_the_items_conform_too(house: Watched) -> None:
    house.ask("GET", "/v1/conversations/conv_none/items")
    assert house.conformity.wrong == {}
    assert len(house.conformity.faults) > 1500
