"""The real `openai` client with conversations and their items."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from openai import OpenAI

from tests.support.conversations_server import NOBODYS, Talking, talking


@pytest.fixture(scope="module")
def talk(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talking]:
    with talking(opa_binary, tmp_path_factory.mktemp("sdk")) as running:
        yield running


@pytest.fixture
def client(talk: Talking) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{talk.house.address.url}/v1", api_key="alice", max_retries=0) as made:
        yield made


@pytest.fixture
def other(talk: Talking) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{talk.house.address.url}/v1", api_key="bob", max_retries=0) as made:
        yield made


def test_a_conversation_from_its_beginning_to_its_end(client: OpenAI) -> None:
    made = client.conversations.create(
        metadata={"topic": "demo"}, items=[{"type": "message", "role": "user", "content": "Hello!"}]
    )
    assert (made.object, made.metadata) == ("conversation", {"topic": "demo"})
    assert client.conversations.retrieve(made.id) == made
    assert client.conversations.update(made.id, metadata={"topic": "other"}).metadata == {"topic": "other"}
    [first] = client.conversations.items.list(made.id)
    assert first.type == "message" and first.role == "user" and first.status == "completed"
    assert first.content[0].type == "input_text" and first.content[0].text == "Hello!"
    added = client.conversations.items.create(
        made.id,
        items=[
            {"role": "assistant", "content": "Let me see."},
            {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"at": "here"}'},
            {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "weather first"}]},
        ],
        include=["message.output_text.logprobs"],
    )
    assert [item.type for item in added.data] == ["message", "function_call", "function_call_output", "reasoning"]
    call = client.conversations.items.retrieve(added.data[1].id or "", conversation_id=made.id)
    assert call.type == "function_call" and call.arguments == '{"at": "here"}'
    after = client.conversations.items.delete(added.data[1].id or "", conversation_id=made.id)
    assert after.id == made.id
    deleted = client.conversations.delete(made.id)
    assert (deleted.id, deleted.object, deleted.deleted) == (made.id, "conversation.deleted", True)
    with pytest.raises(openai.NotFoundError) as gone:
        client.conversations.retrieve(made.id)
    assert gone.value.code == "not_found"


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_follow_each_other_by_themselves(client: OpenAI, order: str) -> None:
    made = client.conversations.create()
    for start in range(0, 45, 15):
        client.conversations.items.create(
            made.id, items=[{"role": "user", "content": f"{number}"} for number in range(start, start + 15)]
        )
    for limit in (7, 15, 45, 100):
        texts = []
        for item in client.conversations.items.list(
            made.id, limit=limit, order="asc" if order == "asc" else "desc", include=["message.input_image.image_url"]
        ):
            assert item.type == "message" and item.content[0].type == "input_text"
            texts.append(int(item.content[0].text))
        assert texts == sorted(range(45), reverse=order == "desc")


def test_another_caller_meets_nothing(client: OpenAI, other: OpenAI) -> None:
    made = client.conversations.create(items=[{"role": "user", "content": "secret"}])
    [item] = client.conversations.items.list(made.id)
    for call in (
        lambda: other.conversations.retrieve(made.id),
        lambda: other.conversations.update(made.id, metadata={}),
        lambda: other.conversations.delete(made.id),
        lambda: other.conversations.items.list(made.id),
        lambda: other.conversations.items.create(made.id, items=[{"role": "user", "content": "mine now"}]),
        lambda: other.conversations.items.retrieve(item.id or "", conversation_id=made.id),
        lambda: other.conversations.items.delete(item.id or "", conversation_id=made.id),
        lambda: other.conversations.retrieve(NOBODYS),
    ):
        with pytest.raises(openai.NotFoundError):
            call()
    assert len(list(client.conversations.items.list(made.id))) == 1


def test_what_is_wrong_is_an_exception_with_its_place(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as wrong:
        client.conversations.create(metadata={"k": "v" * 513})
    assert (wrong.value.param, wrong.value.code) == ("metadata.k", "invalid_value")
    with pytest.raises(openai.BadRequestError) as wrong:
        client.conversations.create(items=[{"role": "user", "content": [{"type": "input_text"}]}])  # type: ignore[typeddict-item, list-item]
    assert wrong.value.param == "items[0].content[0].text"
