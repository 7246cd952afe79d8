"""The real `openai` client with responses: its types, its stream helper, and its parsing of forms and tools."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import openai
import pydantic
import pytest
from openai import OpenAI

from tests.support.openai_upstream import openai_upstream
from tests.support.responses_server import NOBODYS, Responding, responding, script


class City(pydantic.BaseModel):
    """A form for an answer."""

    name: str


class GetWeather(pydantic.BaseModel):
    """The arguments of a tool."""

    city: str


@pytest.fixture(scope="module")
def place(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Responding]:
    with (
        openai_upstream() as far,
        responding(opa_binary, tmp_path_factory.mktemp("sdk"), upstream=far.removesuffix("/v1")) as running,
    ):
        yield running


@pytest.fixture
def client(place: Responding) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{place.house.address.url}/v1", api_key="alice", max_retries=0) as made:
        yield made


def test_a_response_from_its_beginning_to_its_end(client: OpenAI) -> None:
    first = client.responses.create(model="small", input="hello", metadata={"topic": "doors"})
    assert (first.output_text, first.status, first.metadata) == ("echo: hello", "completed", {"topic": "doors"})
    second = client.responses.create(model="small", input="again", previous_response_id=first.id)
    items = client.responses.input_items.list(second.id, order="asc").data
    assert [item.type for item in items] == ["message"] * 3
    assert client.responses.retrieve(second.id).output_text == second.output_text
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first.id)
    with pytest.raises(openai.NotFoundError) as missing:
        client.responses.create(model="small", input="x", previous_response_id=NOBODYS)
    assert (missing.value.code, missing.value.param) == ("previous_response_not_found", "previous_response_id")


def test_the_helper_follows_a_stream(client: OpenAI) -> None:
    text = script(reasoning="hm", content="a b", refusal="c", tool_calls=[{"name": "f", "arguments": {"a": [1, 2, 3]}}])
    with client.responses.stream(model="small", input=text) as stream:
        events = [*stream]
        final = stream.get_final_response()
    assert final.output_text == "a b"
    assert [item.type for item in final.output] == ["reasoning", "message", "function_call"]
    assert events[-1].type == "response.completed"
    snapshots = [event.snapshot for event in events if event.type == "response.output_text.delta"]
    assert snapshots == ["a ", "a b"]


def test_a_form_is_parsed(client: OpenAI) -> None:
    parsed = client.responses.parse(model="m", input="hi", text_format=City)
    assert parsed.output_parsed == City(name="Berlin")
    with client.responses.stream(model="m", input="hi", text_format=City) as stream:
        assert stream.get_final_response().output_parsed == City(name="Berlin")


def test_a_tool_is_called_and_answered(client: OpenAI) -> None:
    tools = [openai.pydantic_function_tool(GetWeather)]
    tool = {"type": "function", **tools[0]["function"]}
    with client.responses.stream(model="m", input="what is the weather?", tools=[tool]) as stream:  # type: ignore[list-item]
        first = stream.get_final_response()
    [call] = [item for item in first.output if item.type == "function_call"]
    assert call.name == "GetWeather"
    second = client.responses.create(
        model="m",
        previous_response_id=first.id,
        input=[{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}],
    )
    assert "sunny" in second.output_text


def test_a_response_in_a_conversation(client: OpenAI) -> None:
    conversation = client.conversations.create()
    client.responses.create(model="small", input="one", conversation=conversation.id)
    made = client.responses.create(model="small", input="two", conversation={"id": conversation.id})
    assert made.conversation is not None and made.conversation.id == conversation.id
    items = client.conversations.items.list(conversation.id, order="asc").data
    assert [item.type for item in items] == ["message"] * 4
    assert items[3].id == made.output[0].id
