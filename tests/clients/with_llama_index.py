"""LlamaIndex's classes for OpenAI and for servers like it."""

from __future__ import annotations

from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai import OpenAIEmbedding
from llama_index.llms.openai import OpenAI
from llama_index.llms.openai_like import OpenAILike
from parts import ALICE, CHAT, ECHO, URL, VECTORS, run
from pydantic import BaseModel

model = OpenAI(model=CHAT, api_base=URL, api_key=ALICE, max_retries=0)
like = OpenAILike(
    model=CHAT, api_base=URL, api_key=ALICE, is_chat_model=True, is_function_calling_model=True, max_retries=0
)
asked = [ChatMessage(role="system", content="short"), ChatMessage(role="user", content="hi")]


class Report(BaseModel):
    """A report of the weather."""

    city: str
    degrees: int


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


run(chat, stream, asynchronous, tools, structured, embeddings, completions)
