"""The client of OGX."""

from __future__ import annotations

import time
from typing import Any

from ogx_client import AsyncOgxClient, OgxClient
from ogx_client.exceptions import NotFoundException
from parts import ALICE, BOB, CHAT, ECHO, URL, VECTORS, run

SERVER = URL.removesuffix("/v1")
alice = OgxClient(base_url=SERVER, api_key=ALICE)
bob = OgxClient(base_url=SERVER, api_key=BOB)

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
    assert len(found.data) == 2


def completions() -> None:
    assert alice.completions.create(model=CHAT, prompt="once").choices[0].text == "once and more"


def models() -> None:
    names = {model.id for model in alice.models.list().data}
    assert len(names) == 4
    assert all(alice.models.retrieve(name).id == name for name in names)


def files() -> None:
    made = alice.files.create(file=("notes.txt", b"doors"), purpose="assistants")
    assert alice.files.retrieve(made.id).bytes == 5
    assert [each.id for each in alice.files.list().data] == [made.id]
    assert bob.files.list().data == []
    assert alice.files.delete(made.id).deleted


def conversations() -> None:
    message: Any = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "0"}]}
    made = alice.conversations.create(metadata={"topic": "demo"}, items=[message])
    assert len(alice.conversations.items.list(made.id).data) == 1
    try:
        bob.conversations.retrieve(made.id)
    except NotFoundException:
        assert alice.conversations.delete(made.id).deleted
    else:
        raise AssertionError("another caller reads the conversation")


def stored() -> None:
    made = alice.chat.completions.create(model=ECHO, messages=said("keep"), store=True)
    assert alice.chat.completions.retrieve(made.id).choices[0].message.content == "echo: keep"
    assert made.id in [each.id for each in alice.chat.completions.list().data]
    try:
        bob.chat.completions.retrieve(made.id)
    except NotFoundException:
        assert bob.chat.completions.list().data == []
    else:
        raise AssertionError("another caller reads the chat")


def prompts() -> None:
    made = alice.prompts.create(prompt="say {{ what }}", variables=["what"])
    assert (made.version, made.variables) == (1, ["what"])
    assert [prompt.prompt_id for prompt in alice.prompts.list()] == [made.prompt_id]
    assert bob.prompts.list() == []
    alice.prompts.delete(made.prompt_id)


def about_the_server() -> None:
    assert alice.inspect.health().status == "OK"
    assert alice.inspect.version().version
    assert {provider.provider_id for provider in alice.providers.list()} >= {"echo", "far"}
    assert "/v1/chat/completions" in {route.route for route in alice.routes.list()}


def vector_stores() -> None:
    store = alice.vector_stores.create(name="notes", embedding_model="echo-vectors")
    file = alice.files.create(file=("a.txt", b"a blue bicycle"), purpose="assistants")
    made = alice.vector_stores.files.create(store.id, file_id=file.id)
    until = time.monotonic() + 60
    while made.status == "in_progress" and time.monotonic() < until:
        time.sleep(0.05)
        made = alice.vector_stores.files.retrieve(store.id, file.id)
    assert made.status == "completed", made.last_error
    assert [each.id for each in alice.vector_stores.files.list(store.id).data] == [file.id]
    assert alice.vector_stores.files.content(store.id, file.id).data[0].text == "a blue bicycle"
    [found] = alice.vector_stores.search(store.id, query="a blue bicycle").data
    assert (found.file_id, found.content[0].text) == (file.id, "a blue bicycle")
    alice.vector_io.insert(vector_store_id=store.id, chunks=[CHUNK])
    asked: Any = {"vector_store_id": store.id, "query": "red", "params": {"mode": "keyword"}}
    assert [chunk.content for chunk in alice.vector_io.query(**asked).chunks] == ["a red car"]
    for act in (lambda: bob.vector_stores.search(store.id, query="a"), lambda: bob.vector_io.query(**asked)):
        try:
            act()
        except NotFoundException:
            continue
        raise AssertionError("another caller searches the store")
    assert [each.id for each in alice.vector_stores.list().data] == [store.id]
    assert bob.vector_stores.list().data == []
    assert alice.vector_stores.delete(store.id).deleted
    alice.files.delete(file.id)


def responses() -> None:
    first = alice.responses.create(model=CHAT, input="hi")
    assert first.output[0].content[0].text == "you say: hi"
    more = alice.responses.create(model=CHAT, input="more", previous_response_id=first.id)
    assert more.output[0].content[0].text == "you say: more"
    assert {each.id for each in alice.responses.list().data} == {first.id, more.id}
    assert alice.responses.retrieve(first.id).id == first.id
    assert [item.type for item in alice.responses.input_items.list(first.id).data] == ["message"]
    try:
        bob.responses.retrieve(first.id)
    except NotFoundException:
        assert bob.responses.list().data == []
    else:
        raise AssertionError("another caller reads the response")
    assert alice.responses.delete(first.id).deleted
    assert alice.responses.delete(more.id).deleted


def compacted() -> None:
    made = alice.responses.compact(model=CHAT, input="remember the door")
    assert [item.actual_instance.type for item in made.output][-1] == "compaction"


def streamed_responses() -> None:
    function = {"type": "function", **WEATHER["function"]}
    for text, tools in (("one two", []), ("the weather", [function])):
        events = [*alice.responses.create(model=CHAT, input=text, tools=tools, stream=True, store=False)]
        # An event that its types can't read comes as a dictionary.
        kinds = [event.type for event in events]
        assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
        assert {"response.output_item.added", "response.output_item.done"} <= {*kinds}
        assert [event.sequence_number for event in events] == [*range(len(events))]


async def asynchronous() -> None:
    async with AsyncOgxClient(base_url=SERVER, api_key=ALICE) as client:
        answer = await client.chat.completions.create(model=CHAT, messages=said("hi"))
        assert answer.choices[0].message.content == "you say: hi"


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
    responses,
    compacted,
    streamed_responses,
    asynchronous,
)
