"""LangChain's classes for OpenAI."""

from __future__ import annotations

import openai
from langchain.agents import create_agent
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings
from parts import ALICE, BOB, CHAT, ECHO, URL, VECTORS, run
from pydantic import BaseModel

model = ChatOpenAI(model=CHAT, base_url=URL, api_key=ALICE, max_retries=0)

answering = ChatOpenAI(model=CHAT, base_url=URL, api_key=ALICE, max_retries=0, use_responses_api=True)


class Report(BaseModel):
    """A report of the weather."""

    city: str
    degrees: int


class FromStore(BaseRetriever):
    """A retriever over a vector store, since langchain-openai has none."""

    store: str
    key: str

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        with openai.OpenAI(base_url=URL, api_key=self.key, max_retries=0) as client:
            found = client.vector_stores.search(self.store, query=query).data
        return [Document(part.text, id=each.file_id) for each in found for part in each.content]


@tool
def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"sun in {city}"


def chat() -> None:
    answer = model.invoke([SystemMessage("short"), HumanMessage("hi")])
    assert answer.content == "you say: hi"
    assert answer.usage_metadata is not None and answer.usage_metadata["total_tokens"] == 12
    assert answer.response_metadata["finish_reason"] == "stop"
    echo = ChatOpenAI(model=ECHO, base_url=URL, api_key=ALICE)
    assert echo.invoke("hello there").content == "echo: hello there"


def batch() -> None:
    assert [answer.content for answer in model.batch(["a", "b"])] == ["you say: a", "you say: b"]


def stream() -> None:
    whole = None
    for chunk in model.stream("one two", stream_usage=True):
        whole = chunk if whole is None else whole + chunk
    assert whole is not None and whole.content == "you say: one two"
    assert whole.usage_metadata is not None and whole.usage_metadata["total_tokens"] == 12


async def asynchronous() -> None:
    pieces = [chunk.content async for chunk in model.astream("one two")]
    assert len(pieces) > 2 and "".join(map(str, pieces)) == "you say: one two"


def tools() -> None:
    able = model.bind_tools([weather])
    asked = HumanMessage("how is the weather?")
    first = able.invoke([asked])
    [call] = first.tool_calls
    assert (call["name"], call["args"]) == ("weather", {"city": "Berlin"})
    result = weather.invoke(call)
    assert isinstance(result, ToolMessage)
    assert able.invoke([asked, first, result]).content == "the tool says: sun in Berlin"
    forced = model.bind_tools([weather], tool_choice="weather").invoke("hi")
    assert isinstance(forced, AIMessage) and forced.tool_calls


def streamed_tools() -> None:
    whole = None
    for chunk in model.bind_tools([weather], strict=True).stream("the weather"):
        whole = chunk if whole is None else whole + chunk
    assert whole is not None and [call["args"] for call in whole.tool_calls] == [{"city": "Berlin"}]


def structured() -> None:
    for method in ("json_schema", "function_calling"):
        assert model.with_structured_output(Report, method=method).invoke("report") == Report(city="Berlin", degrees=21)
    assert model.with_structured_output(None, method="json_mode").invoke("report as JSON") == {
        "city": "Berlin",
        "degrees": 21,
    }


def embeddings() -> None:
    made = OpenAIEmbeddings(model=VECTORS, base_url=URL, api_key=ALICE, check_embedding_ctx_length=False)
    assert [vector[0] for vector in made.embed_documents(["four", "fiver"])] == [4.0, 5.0]
    assert len(made.embed_query("four")) == 8
    small = OpenAIEmbeddings(
        model=VECTORS, base_url=URL, api_key=ALICE, check_embedding_ctx_length=False, dimensions=3, chunk_size=2
    )
    assert [len(vector) for vector in small.embed_documents(["a", "b", "c"])] == [3, 3, 3]


def completions() -> None:
    texts = OpenAI(model=CHAT, base_url=URL, api_key=ALICE, max_retries=0)
    assert texts.invoke("once").strip() == "once and more"
    assert "".join(texts.stream("once")).strip() == "once and more"


def responses() -> None:
    first = answering.invoke([SystemMessage("short"), HumanMessage("hi")])
    assert first.text == "you say: hi"
    assert first.usage_metadata is not None and first.usage_metadata["total_tokens"] == 12
    more = answering.invoke("more", previous_response_id=first.response_metadata["id"])
    assert more.text == "you say: more"
    whole = None
    for chunk in answering.stream("one two"):
        whole = chunk if whole is None else whole + chunk
    assert whole is not None and whole.text == "you say: one two"
    assert whole.response_metadata["id"].startswith("resp_")
    report = answering.with_structured_output(Report, method="json_schema").invoke("report")
    assert report == Report(city="Berlin", degrees=21)


def tools_of_responses() -> None:
    asked = HumanMessage("how is the weather?")
    # It sends the whole chat, or what follows the response before.
    for is_chained in (False, True):
        able = answering.model_copy(update={"use_previous_response_id": is_chained}).bind_tools([weather])
        first = able.invoke([asked])
        [call] = first.tool_calls
        assert (call["name"], call["args"]) == ("weather", {"city": "Berlin"})
        assert able.invoke([asked, first, weather.invoke(call)]).text == "the tool says: sun in Berlin"
    whole = None
    for chunk in answering.bind_tools([weather], strict=True).stream("the weather"):
        whole = chunk if whole is None else whole + chunk
    assert whole is not None and [call["args"] for call in whole.tool_calls] == [{"city": "Berlin"}]


def agent() -> None:
    acting = create_agent(answering, tools=[weather], system_prompt="be brief")
    said = acting.invoke({"messages": [{"role": "user", "content": "how is the weather?"}]})["messages"]
    assert [message.type for message in said] == ["human", "ai", "tool", "ai"]
    assert said[-1].text == "the tool says: sun in Berlin"
    kinds = {kind for kind, _ in acting.stream({"messages": [("user", "the weather?")]}, stream_mode=["messages"])}
    assert kinds == {"messages"}


def retriever() -> None:
    client = openai.OpenAI(base_url=URL, api_key=ALICE, max_retries=0)
    store = client.vector_stores.create(name="notes")
    made = client.vector_stores.files.upload_and_poll(vector_store_id=store.id, file=("a.txt", b"a blue bicycle"))
    [found] = FromStore(store=store.id, key=ALICE).invoke("a blue bicycle")
    assert (found.id, found.page_content) == (made.id, "a blue bicycle")
    try:
        FromStore(store=store.id, key=BOB).invoke("a blue bicycle")
    except openai.NotFoundError:
        assert client.vector_stores.delete(store.id).deleted
    else:
        raise AssertionError("another caller searches the store")


run(
    chat,
    batch,
    stream,
    asynchronous,
    tools,
    streamed_tools,
    structured,
    embeddings,
    completions,
    responses,
    tools_of_responses,
    agent,
    retriever,
)
