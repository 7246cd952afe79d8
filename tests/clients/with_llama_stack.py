"""The client of Llama Stack."""

from __future__ import annotations

import time
from typing import Any

from llama_stack_client import AsyncLlamaStackClient, LlamaStackClient, NotFoundError
from parts import ALICE, BOB, CHAT, ECHO, URL, VECTORS, run

SERVER = URL.removesuffix("/v1")
alice = LlamaStackClient(base_url=SERVER, api_key=ALICE, max_retries=0)
bob = LlamaStackClient(base_url=SERVER, api_key=BOB, max_retries=0)

WEATHER: Any = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


CHUNK: Any = {
    "content": "a red car",
    "chunk_id": "c1",
    "chunk_metadata": {},
    "metadata": {"document_id": "d1"},
    "embedding": [1.0] * 8,
    "embedding_model": "echo-vectors",
    "embedding_dimension": 8,
}


def said(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def chat() -> None:
    answer = alice.chat.completions.create(model=ECHO, messages=said("hello there"))
    assert answer.choices[0].message.content == "echo: hello there"


def stream() -> None:
    chunks = [*alice.chat.completions.create(model=CHAT, messages=said("one two"), stream=True)]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "you say: one two"


def tools() -> None:
    answer = alice.chat.completions.create(model=CHAT, messages=said("the weather"), tools=[WEATHER])
    [call] = answer.choices[0].message.tool_calls
    assert (call.function.name, call.function.arguments) == ("weather", '{"city": "Berlin"}')


def embeddings() -> None:
    found = alice.embeddings.create(model=VECTORS, input=["four", "fiver"])
    assert [each.embedding[0] for each in found.data] == [4.0, 5.0]


def completions() -> None:
    assert alice.completions.create(model=CHAT, prompt="once").choices[0].text == "once and more"
    chunks = [*alice.completions.create(model=CHAT, prompt="once", stream=True)]
    assert "".join(chunk.choices[0].text for chunk in chunks).strip() == "once and more"


def models() -> None:
    found = {model.identifier: model for model in alice.models.list()}
    assert len(found) == 4
    assert {model.model_type for model in found.values()} == {"llm", "embedding"}
    assert {model.provider_id for model in found.values()} == {"echo", "far"}
    assert all(alice.models.retrieve(name).id == name for name in found)


def files() -> None:
    made = alice.files.create(file=("notes.txt", b"doors"), purpose="assistants")
    assert alice.files.retrieve(made.id).bytes == 5
    assert alice.files.content(made.id) == "doors"
    assert [each.id for each in alice.files.list()] == [made.id]
    assert [*bob.files.list()] == []
    assert alice.files.delete(made.id).deleted


def conversations() -> None:
    message: Any = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "0"}]}
    made = alice.conversations.create(metadata={"topic": "demo"}, items=[message])
    alice.conversations.items.create(made.id, items=[message])
    assert len([*alice.conversations.items.list(made.id)]) == 2
    assert alice.conversations.update(made.id, metadata={"topic": "other"}).metadata == {"topic": "other"}
    try:
        bob.conversations.retrieve(made.id)
    except NotFoundError:
        assert alice.conversations.delete(made.id).deleted
    else:
        raise AssertionError("another caller reads the conversation")


def stored() -> None:
    made = alice.chat.completions.create(model=ECHO, messages=said("keep"), extra_body={"store": True})
    assert alice.chat.completions.retrieve(made.id).choices[0].message.content == "echo: keep"
    assert made.id in [each.id for each in alice.chat.completions.list().data]
    try:
        bob.chat.completions.retrieve(made.id)
    except NotFoundError:
        assert bob.chat.completions.list().data == []
    else:
        raise AssertionError("another caller reads the chat")


def prompts() -> None:
    made = alice.prompts.create(prompt="say {{ what }}", variables=["what"])
    assert (made.version, made.variables) == (1, ["what"])
    newer = alice.prompts.update(made.prompt_id, prompt="sing {{ what }}", version=1, variables=["what"])
    assert newer.version == 2
    assert [prompt.prompt_id for prompt in alice.prompts.list()] == [made.prompt_id]
    assert len(alice.prompts.versions.list(made.prompt_id)) == 2
    assert alice.prompts.set_default_version(made.prompt_id, version=1).is_default
    assert [*bob.prompts.list()] == []
    alice.prompts.delete(made.prompt_id)


def about_the_server() -> None:
    assert alice.inspect.health().status == "OK"
    assert alice.inspect.version().version
    assert {provider.provider_id for provider in alice.providers.list()} >= {"echo", "far"}
    assert alice.providers.retrieve("echo").provider_type == "inline::echo"
    assert "/v1/chat/completions" in {route.route for route in alice.routes.list()}


def vector_stores() -> None:
    # It has no `vector_dbs` any more.
    assert not hasattr(alice, "vector_dbs")
    store = alice.vector_stores.create(name="notes", extra_body={"embedding_model": "echo-vectors"})
    file = alice.files.create(file=("a.txt", b"a blue bicycle"), purpose="assistants")
    made = alice.vector_stores.files.create(store.id, file_id=file.id)
    until = time.monotonic() + 60
    while made.status == "in_progress" and time.monotonic() < until:
        time.sleep(0.05)
        made = alice.vector_stores.files.retrieve(file.id, vector_store_id=store.id)
    assert made.status == "completed", made.last_error
    assert [each.id for each in alice.vector_stores.files.list(store.id)] == [file.id]
    assert alice.vector_stores.files.content(file.id, vector_store_id=store.id).data[0].text == "a blue bicycle"
    [found] = alice.vector_stores.search(store.id, query="a blue bicycle").data
    assert (found.file_id, found.content[0].text) == (file.id, "a blue bicycle")
    alice.vector_io.insert(vector_store_id=store.id, chunks=[CHUNK])
    asked: Any = {"vector_store_id": store.id, "query": "red", "params": {"mode": "keyword"}}
    assert [chunk.content for chunk in alice.vector_io.query(**asked).chunks] == ["a red car"]
    for act in (lambda: bob.vector_stores.search(store.id, query="a"), lambda: bob.vector_io.query(**asked)):
        try:
            act()
        except NotFoundError:
            continue
        raise AssertionError("another caller searches the store")
    assert [each.id for each in alice.vector_stores.list()] == [store.id]
    assert [*bob.vector_stores.list()] == []
    assert alice.vector_stores.delete(store.id).deleted
    alice.files.delete(file.id)


def batches() -> None:
    store = alice.vector_stores.create(name="notes")
    file = alice.files.create(file=("b.txt", b"a green door"), purpose="assistants")
    batch = alice.vector_stores.file_batches.create(store.id, file_ids=[file.id])
    until = time.monotonic() + 60
    while batch.status == "in_progress" and time.monotonic() < until:
        time.sleep(0.05)
        batch = alice.vector_stores.file_batches.retrieve(batch.id, vector_store_id=store.id)
    assert (batch.status, batch.file_counts.completed) == ("completed", 1)
    listed = alice.vector_stores.file_batches.list_files(batch.id, vector_store_id=store.id)
    assert [each.id for each in listed] == [file.id]
    assert alice.vector_stores.delete(store.id).deleted
    alice.files.delete(file.id)


def responses() -> None:
    first = alice.responses.create(model=CHAT, input="hi")
    assert first.output_text == "you say: hi"
    more = alice.responses.create(model=CHAT, input="more", previous_response_id=first.id)
    assert more.output_text == "you say: more"
    assert {each.id for each in alice.responses.list()} == {first.id, more.id}
    assert alice.responses.retrieve(first.id).output_text == "you say: hi"
    assert [item.type for item in alice.responses.input_items.list(first.id).data] == ["message"]
    try:
        bob.responses.retrieve(first.id)
    except NotFoundError:
        assert [*bob.responses.list()] == []
    else:
        raise AssertionError("another caller reads the response")
    assert alice.responses.delete(first.id).deleted
    assert alice.responses.delete(more.id).deleted


def streamed_responses() -> None:
    function = {"type": "function", **WEATHER["function"]}
    for text, tools in (("one two", []), ("the weather", [function])):
        events = [*alice.responses.create(model=CHAT, input=text, tools=tools, stream=True, store=False)]
        kinds = [event.type for event in events]
        assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
        [done] = [event for event in events if event.type == "response.output_item.done"]
        # Of an event that its types can't read it makes another one.
        assert type(done).__name__.endswith("OutputItemDone")
        assert done.item.type == ("function_call" if tools else "message")


async def asynchronous() -> None:
    async with AsyncLlamaStackClient(base_url=SERVER, api_key=ALICE, max_retries=0) as client:
        running = await client.chat.completions.create(model=CHAT, messages=said("hi"), stream=True)
        pieces = [chunk.choices[0].delta.content or "" async for chunk in running if chunk.choices]
        assert "".join(pieces) == "you say: hi"


run(
    chat,
    stream,
    tools,
    embeddings,
    completions,
    models,
    files,
    conversations,
    stored,
    prompts,
    about_the_server,
    vector_stores,
    batches,
    responses,
    streamed_responses,
    asynchronous,
)
