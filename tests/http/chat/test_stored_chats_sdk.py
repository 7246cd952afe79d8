"""Stored chats with the real `openai` client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionMessageParam

from tests.support.chats_server import Chatting, chatting
from tests.support.failing_provider import TEXT, upstream

HELLO: list[ChatCompletionMessageParam] = [
    {"role": "system", "content": "be kind"},
    {"role": "user", "content": [{"type": "text", "text": "hello there"}]},
]


@pytest.fixture(scope="module")
def kept(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chatting]:
    with (
        upstream() as far,
        chatting(opa_binary, tmp_path_factory.mktemp("chats"), upstream=far.url) as running,
    ):
        yield running


@pytest.fixture
def client(kept: Chatting) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{kept.house.address.url}/v1", api_key="alice", max_retries=0) as made:
        yield made


@pytest.fixture
def stranger(kept: Chatting) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{kept.house.address.url}/v1", api_key="bob", max_retries=0) as made:
        yield made


@pytest.mark.parametrize(("model", "text"), [("small", "echo: hello there"), ("far/m", "".join(TEXT))])
@pytest.mark.parametrize("how", ["whole", "stream", "helper"])
def test_a_chat_from_its_first_word_to_its_deletion(
    client: OpenAI, stranger: OpenAI, model: str, text: str, how: str
) -> None:
    chats = client.chat.completions
    about = {"how": how, "model": model}
    match how:
        case "whole":
            made = chats.create(model=model, messages=HELLO, store=True, metadata=about).id
        case "stream":
            chunks = list(chats.create(model=model, messages=HELLO, store=True, metadata=about, stream=True))
            made = chunks[0].id
            assert {chunk.id for chunk in chunks} == {made}
        case _:
            with chats.stream(model=model, messages=HELLO, store=True, metadata=about) as stream:
                made = stream.get_final_completion().id

    found = chats.retrieve(made)
    assert (found.id, found.object, found.choices[0].message.content) == (made, "chat.completion", text)
    assert found.choices[0].finish_reason == "stop"
    ChatCompletion.model_validate(found.model_dump())

    listed = list(chats.list(metadata=about, limit=1))
    assert [each.id for each in listed] == [made]
    assert list(chats.list(metadata={"how": "other"})) == []
    assert made in [each.id for each in chats.list(model=model, order="desc", limit=2)]
    assert made not in [each.id for each in chats.list(model="other")]

    messages = list(chats.messages.list(made, limit=1))
    assert [message.id for message in messages] == [f"{made}-0", f"{made}-1"]
    assert messages[0].content == "be kind"
    assert messages[1].content is None
    assert messages[1].content_parts is not None and messages[1].content_parts[0].type == "text"

    changed = chats.update(made, metadata={"how": "changed"})
    assert (changed.id, changed.metadata) == (made, {"how": "changed"})

    for attempt in (stranger.chat.completions.retrieve, stranger.chat.completions.delete):
        with pytest.raises(openai.NotFoundError) as failure:
            attempt(made)
        assert failure.value.code == "not_found"
    assert list(stranger.chat.completions.list()) == []

    deleted = chats.delete(made)
    assert (deleted.id, deleted.object, deleted.deleted) == (made, "chat.completion.deleted", True)
    with pytest.raises(openai.NotFoundError):
        chats.retrieve(made)


def test_a_list_is_read_to_its_end(kept: Chatting) -> None:
    with OpenAI(base_url=f"{kept.house.address.url}/v1", api_key="carol", max_retries=0) as client:
        made = [client.chat.completions.create(model="small", messages=HELLO, store=True).id for _ in range(7)]
        assert [each.id for each in client.chat.completions.list(limit=3)] == made
        assert [each.id for each in client.chat.completions.list(limit=3, order="desc")] == made[::-1]


def test_who_may_not_store_is_refused(kept: Chatting) -> None:
    with OpenAI(base_url=f"{kept.house.address.url}/v1", api_key="reader", max_retries=0) as client:
        with pytest.raises(openai.PermissionDeniedError):
            client.chat.completions.create(model="small", messages=HELLO, store=True)
        with pytest.raises(openai.PermissionDeniedError):
            client.chat.completions.create(model="small", messages=HELLO, store=True, stream=True)
