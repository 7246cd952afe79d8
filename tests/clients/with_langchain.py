"""LangChain's classes for OpenAI."""

from __future__ import annotations

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings
from parts import ALICE, CHAT, ECHO, URL, VECTORS, run
from pydantic import BaseModel

model = ChatOpenAI(model=CHAT, base_url=URL, api_key=ALICE, max_retries=0)


class Report(BaseModel):
    """A report of the weather."""

    city: str
    degrees: int


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


run(chat, batch, stream, asynchronous, tools, streamed_tools, structured, embeddings, completions)
