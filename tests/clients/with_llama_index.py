"""LlamaIndex's classes for OpenAI and for servers like it."""

from __future__ import annotations

import openai
from llama_index.core.llms import ChatMessage
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai import OpenAIEmbedding
from llama_index.llms.openai import OpenAI, OpenAIResponses
from llama_index.llms.openai_like import OpenAILike
from parts import ALICE, BOB, CHAT, ECHO, URL, VECTORS, run
from pydantic import BaseModel

model = OpenAI(model=CHAT, api_base=URL, api_key=ALICE, max_retries=0)
like = OpenAILike(
    model=CHAT, api_base=URL, api_key=ALICE, is_chat_model=True, is_function_calling_model=True, max_retries=0
)
answering = OpenAIResponses(model=CHAT, api_base=URL, api_key=ALICE, max_retries=0)
asked = [ChatMessage(role="system", content="short"), ChatMessage(role="user", content="hi")]


class Report(BaseModel):
    """A report of the weather."""

    city: str
    degrees: int


class FromStore(BaseRetriever):
    """A retriever over a vector store, since the packages of this environment have none."""

    def __init__(self, store: str, key: str) -> None:
        super().__init__()
        self._store = store
        self._key = key

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        with openai.OpenAI(base_url=URL, api_key=self._key, max_retries=0) as client:
            found = client.vector_stores.search(self._store, query=query_bundle.query_str).data
        return [
            NodeWithScore(node=TextNode(text=part.text, id_=each.file_id), score=each.score)
            for each in found
            for part in each.content
        ]


def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"sun in {city}"


def chat() -> None:
    for each in (model, like):
        assert each.chat(asked).message.content == "you say: hi"
        assert each.complete("hi").text == "you say: hi"
    echo = OpenAILike(model=ECHO, api_base=URL, api_key=ALICE, is_chat_model=True)
    assert echo.chat(asked).message.content == "echo: hi"


def stream() -> None:
    for each in (model, like):
        pieces = [piece.delta or "" for piece in each.stream_chat(asked)]
        assert len(pieces) > 2 and "".join(pieces) == "you say: hi"


async def asynchronous() -> None:
    assert (await like.achat(asked)).message.content == "you say: hi"
    running = await like.astream_chat(asked)
    assert "".join([piece.delta or "" async for piece in running]) == "you say: hi"


def tools() -> None:
    tool = FunctionTool.from_defaults(weather)
    for each in (model, like):
        answer = each.chat_with_tools([tool], user_msg="how is the weather?")
        [call] = each.get_tool_calls_from_response(answer)
        assert (call.tool_name, call.tool_kwargs) == ("weather", {"city": "Berlin"})
        result = each.predict_and_call([tool], user_msg="how is the weather?")
        assert str(result.response) == "sun in Berlin"


def structured() -> None:
    for each in (model, like):
        found = each.as_structured_llm(Report).complete("report of the weather").raw
        assert found == Report(city="Berlin", degrees=21)


def embeddings() -> None:
    made = OpenAIEmbedding(model_name=VECTORS, api_base=URL, api_key=ALICE, max_retries=0)
    assert [vector[0] for vector in made.get_text_embedding_batch(["four", "fiver"])] == [4.0, 5.0]
    assert len(made.get_query_embedding("four")) == 8


def completions() -> None:
    texts = OpenAILike(model=CHAT, api_base=URL, api_key=ALICE, is_chat_model=False)
    assert texts.complete("once").text.strip() == "once and more"


def responses() -> None:
    assert answering.chat(asked).message.content == "you say: hi"
    assert answering.complete("hi").text == "you say: hi"
    assert "".join(piece.delta or "" for piece in answering.stream_chat(asked)) == "you say: hi"
    tool = FunctionTool.from_defaults(weather)
    answer = answering.chat_with_tools([tool], user_msg="how is the weather?")
    [call] = answering.get_tool_calls_from_response(answer)
    assert (call.tool_name, call.tool_kwargs) == ("weather", {"city": "Berlin"})
    assert str(answering.predict_and_call([tool], user_msg="how is the weather?").response) == "sun in Berlin"
    report = answering.as_structured_llm(Report).complete("report of the weather").raw
    assert report == Report(city="Berlin", degrees=21)


def chained_responses() -> None:
    chained = OpenAIResponses(model=CHAT, api_base=URL, api_key=ALICE, max_retries=0, track_previous_responses=True)
    chained.chat(asked)
    assert chained.chat([ChatMessage(role="user", content="more")]).message.content == "you say: more"


def retriever() -> None:
    client = openai.OpenAI(base_url=URL, api_key=ALICE, max_retries=0)
    store = client.vector_stores.create(name="notes")
    made = client.vector_stores.files.upload_and_poll(vector_store_id=store.id, file=("a.txt", b"a blue bicycle"))
    [found] = FromStore(store.id, ALICE).retrieve("a blue bicycle")
    assert (found.node.node_id, found.node.get_content()) == (made.id, "a blue bicycle")
    try:
        FromStore(store.id, BOB).retrieve("a blue bicycle")
    except openai.NotFoundError:
        assert client.vector_stores.delete(store.id).deleted
    else:
        raise AssertionError("another caller searches the store")


run(
    chat,
    stream,
    asynchronous,
    tools,
    structured,
    embeddings,
    completions,
    responses,
    chained_responses,
    retriever,
)
