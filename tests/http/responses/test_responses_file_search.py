"""`file_search`: what a model finds, for whom, what is told of it and what is cited."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.support.responses_server import RESPONSES
from tests.support.tools_server import Tooled, calling, file_search, looking_for, told, tooled

RESULTS = ["file_search_call.results"]
NOBODYS = "vs_" + "0" * 48


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def place(
    request: pytest.FixtureRequest, opa_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tooled]:
    postgres = request.getfixturevalue("postgres_url") if request.param == "postgres" else None
    with tooled(opa_binary, tmp_path_factory.mktemp("searches"), postgres) as running:
        yield running


def test_what_is_found_reaches_the_model_and_is_cited(place: Tooled) -> None:
    store = place.store()
    bicycle = place.put(store, "a blue bicycle", name="things.txt", attributes={"kind": "thing"})
    place.put(store, "the weather of tomorrow", name="later.txt")
    text = looking_for("a blue bicycle", then={"content": "it is blue 【4:0†made-up.txt】"})
    response = place.made(text, tools=file_search(store, max_num_results=1))
    call, message = response["output"]
    assert call == {
        "id": call["id"],
        "type": "file_search_call",
        "status": "completed",
        "queries": ["a blue bicycle"],
        "results": None,
    }
    [part] = message["content"]
    # A mark that a model writes cites nothing, and is no more than its text.
    assert part["text"] == "it is blue 【4:0†made-up.txt】"
    assert part["annotations"] == [
        {"type": "file_citation", "file_id": bicycle, "filename": "things.txt", "index": len(part["text"])}
    ]
    assert (response["status"], response["tools"]) == ("completed", file_search(store, max_num_results=1))
    [found] = told(place, looking_for("a blue bicycle"), file_search(store, max_num_results=1))
    assert (found["filename"], found["text"], found["score"]) == ("things.txt", "a blue bicycle", 1)


def test_results_are_shown_where_they_are_asked_for(place: Tooled) -> None:
    store = place.store("a blue bicycle")
    text = looking_for("a blue bicycle", then={"content": "found"})
    response = place.made(text, tools=file_search(store), include=RESULTS)
    [result] = response["output"][0]["results"]
    assert (result["text"], result["attributes"], result["filename"]) == ("a blue bicycle", {}, "notes.txt")
    hidden = place.made(text, tools=file_search(store))
    assert hidden["output"][0]["results"] is None
    one = f"{RESPONSES}/{hidden['id']}"
    assert place.got("GET", one)["output"][0]["results"] is None
    assert place.got("GET", f"{one}?include[]={RESULTS[0]}")["output"][0]["results"] == [result]
    for include, expected in (([], None), (RESULTS, [result])):
        events = place.streamed(text, tools=file_search(store), include=include)
        [done] = [event["item"] for event in events if event["type"] == "response.output_item.done"][:1]
        assert (done["results"], events[-1]["response"]["output"][0]["results"]) == (expected, expected)


def test_a_stream_tells_of_searches_in_the_canonical_order(place: Tooled) -> None:
    store = place.store("a blue bicycle")
    events = place.streamed(looking_for("a blue bicycle", then={"content": "found"}), tools=file_search(store))
    assert [event["type"].removeprefix("response.") for event in events] == [
        *("created", "in_progress", "output_item.added", "file_search_call.in_progress", "file_search_call.searching"),
        *("file_search_call.completed", "output_item.done", "output_item.added", "content_part.added"),
        *("output_text.delta", "output_text.annotation.added", "output_text.done", "content_part.done"),
        *("output_item.done", "completed"),
    ]
    assert [event["sequence_number"] for event in events] == [*range(len(events))]
    assert events[-1]["response"]["usage"]["input_tokens"] > 0
    assert place.got("GET", f"{RESPONSES}/{events[-1]['response']['id']}") == events[-1]["response"]


def test_stores_are_searched_together_within_one_limit(place: Tooled) -> None:
    first, second = place.store("a blue bicycle", "one"), place.store("a blue bicycle", "two")
    tools = file_search(first, second, first, max_num_results=2)
    assert [each["text"] for each in told(place, looking_for("a blue bicycle"), tools)] == ["a blue bicycle"] * 2
    assert len(told(place, looking_for("a blue bicycle"), file_search(first, second, max_num_results=3))) == 3


def test_filters_and_thresholds_hold_for_every_store(place: Tooled) -> None:
    store = place.store("a blue bicycle")
    place.put(store, "a blue bicycle of bob", attributes={"team": "x"})
    only = {"type": "eq", "key": "team", "value": "x"}
    assert [each["text"] for each in told(place, looking_for("a"), file_search(store, filters=only))] == [
        "a blue bicycle of bob"
    ]
    exact = file_search(store, ranking_options={"score_threshold": 0.999})
    assert [each["text"] for each in told(place, looking_for("a blue bicycle"), exact)] == ["a blue bicycle"]


@pytest.mark.parametrize("arguments", ["no json", "[]", '{"queries": 7}', '{"queries": ["  "]}', "[" * 50_000])
def test_arguments_without_a_query_fail_the_call_alone(place: Tooled, arguments: str) -> None:
    store = place.store()
    text = calling("file_search", arguments) if len(arguments) < 100 else calling("file_search", arguments[:20_000])
    response = place.made(text, tools=file_search(store))
    call, message = response["output"]
    assert (call["status"], call["queries"], response["status"]) == ("failed", [], "completed")
    assert "the arguments hold no query" in message["content"][0]["text"]


def test_what_was_found_before_is_not_told_again(place: Tooled) -> None:
    store = place.store("a blue bicycle")
    first = place.made(looking_for("a blue bicycle", then={"content": "found"}), tools=file_search(store))
    second = place.made("and now?", tools=file_search(store), previous_response_id=first["id"])
    assert second["output"][-1]["content"][0]["annotations"] == []
    items = place.got("GET", f"{RESPONSES}/{second['id']}/input_items?order=asc")["data"]
    assert [item["type"] for item in items] == ["message", "file_search_call", "message", "message"]
    assert items[1]["results"] is None
    # Clients send the items back that they got.
    again = [{"role": "user", "content": "hi"}, *first["output"], {"role": "user", "content": "and"}]
    assert place.made(again, tools=file_search(store), store=False)["status"] == "completed"


def test_a_choice_makes_the_model_search_once(place: Tooled) -> None:
    store = place.store("a blue bicycle")
    for choice in ({"type": "file_search"}, "required"):
        # The model of the tests calls a function without arguments if it has no choice.
        response = place.made("hi", tools=file_search(store), tool_choice=choice)
        assert [item["type"] for item in response["output"]] == ["file_search_call", "message"]
    none = place.made("hi", tools=file_search(store), tool_choice="none")
    assert [item["type"] for item in none["output"]] == ["message"]
    allowed = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "file_search"}]}
    functions = [{"type": "function", "name": "f", "parameters": {"type": "object"}}]
    response = place.made("hi", tools=[*functions, *file_search(store)], tool_choice=allowed)
    assert response["output"][0]["type"] == "file_search_call"


WRONG: dict[str, tuple[Any, str]] = {
    "no stores": ({"vector_store_ids": []}, "tools[0].vector_store_ids"),
    "a store that is no text": ({"vector_store_ids": [7]}, "tools[0].vector_store_ids"),
    "too many stores": ({"vector_store_ids": ["vs"] * 17}, "tools[0].vector_store_ids"),
    "no results": ({"vector_store_ids": ["vs"], "max_num_results": 0}, "tools[0].max_num_results"),
    "too many results": ({"vector_store_ids": ["vs"], "max_num_results": 51}, "tools[0].max_num_results"),
    "a filter": ({"vector_store_ids": ["vs"], "filters": {"type": "like"}}, "tools[0].filters.type"),
    "a ranking": (
        {"vector_store_ids": ["vs"], "ranking_options": {"ranker": "x"}},
        "tools[0].ranking_options.ranker",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_tool_is_refused(place: Tooled, what: str) -> None:
    members, param = WRONG[what]
    answer = place.create("hi", tools=[{"type": "file_search", **members}])
    assert (answer.status, answer.json["error"]["param"]) == (400, param), answer.body


def test_a_function_may_not_have_the_name_of_the_tool(place: Tooled) -> None:
    functions = [{"type": "function", "name": "file_search", "parameters": {"type": "object"}}]
    answer = place.create("hi", tools=[*file_search(place.store()), *functions])
    assert (answer.status, answer.json["error"]["param"]) == (400, "tools[0]")


def test_the_sdk_searches_and_reads_its_citations(place: Tooled) -> None:
    store = place.store("a blue bicycle")
    tools: Any = file_search(store)
    text = looking_for("a blue bicycle", then={"content": "it is blue"})
    with openai.OpenAI(base_url=f"{place.house.address.url}/v1", api_key="alice", max_retries=0) as client:
        whole = client.responses.create(
            model="small", input=text, tools=tools, include=["file_search_call.results"], max_tool_calls=3
        )
        with client.responses.stream(model="small", input=text, tools=tools) as stream:
            kinds = [event.type for event in stream]
            streamed = stream.get_final_response()
    assert "response.file_search_call.searching" in kinds
    for response, shown in ((whole, 1), (streamed, 0)):
        call, message = response.output
        assert call.type == "file_search_call" and len(call.results or []) == shown
        assert message.type == "message" and message.content[0].type == "output_text"
        [citation] = message.content[0].annotations
        assert citation.type == "file_citation" and citation.filename == "notes.txt"
        assert response.output_text == "it is blue"


def test_a_search_that_is_not_chosen_is_not_made(place: Tooled) -> None:
    store = place.store("a blue bicycle")
    response = place.made(looking_for("a blue bicycle"), tools=file_search(store), tool_choice="none", include=RESULTS)
    [call] = [item for item in response["output"] if item["type"] == "file_search_call"]
    assert (call["status"], call["results"]) == ("failed", None)
