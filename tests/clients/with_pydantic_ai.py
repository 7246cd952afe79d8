"""Pydantic AI."""

from __future__ import annotations

from parts import ALICE, CHAT, URL, run
from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel, OpenAIResponsesModelSettings
from pydantic_ai.providers.openai import OpenAIProvider

model = OpenAIChatModel(CHAT, provider=OpenAIProvider(base_url=URL, api_key=ALICE))

answering = OpenAIResponsesModel(CHAT, provider=OpenAIProvider(base_url=URL, api_key=ALICE))


class Report(BaseModel):
    """A report."""

    city: str
    degrees: int


def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"sun in {city}"


def chat() -> None:
    done = Agent(model, instructions="short").run_sync("hi")
    assert done.output == "you say: hi"
    usage = done.usage() if callable(done.usage) else done.usage
    assert usage.output_tokens == 5


def tools() -> None:
    assert Agent(model, tools=[weather]).run_sync("how is the weather?").output == "the tool says: sun in Berlin"


async def stream() -> None:
    async with Agent(model).run_stream("one two") as running:
        pieces = [piece async for piece in running.stream_text(delta=True, debounce_by=None)]
    assert "".join(pieces) == "you say: one two"


def structured() -> None:
    expected = Report(city="Berlin", degrees=21)
    assert Agent(model, output_type=Report).run_sync("report").output == expected
    assert Agent(model, output_type=NativeOutput(Report)).run_sync("report").output == expected


def responses() -> None:
    done = Agent(answering, instructions="short").run_sync("hi")
    assert done.output == "you say: hi"
    assert Agent(answering, tools=[weather]).run_sync("how is the weather?").output == "the tool says: sun in Berlin"
    expected = Report(city="Berlin", degrees=21)
    assert Agent(answering, output_type=Report).run_sync("report").output == expected
    assert Agent(answering, output_type=NativeOutput(Report)).run_sync("report").output == expected


async def streamed_responses() -> None:
    async with Agent(answering).run_stream("one two") as running:
        pieces = [piece async for piece in running.stream_text(delta=True, debounce_by=None)]
    assert len(pieces) > 2 and "".join(pieces) == "you say: one two"


def chained_responses() -> None:
    chained = OpenAIResponsesModelSettings(openai_previous_response_id="auto")
    agent = Agent(answering, tools=[weather], model_settings=chained)
    first = agent.run_sync("how is the weather?")
    assert first.output == "the tool says: sun in Berlin"
    assert agent.run_sync("more", message_history=first.all_messages()).output == "you say: more"


run(
    chat,
    tools,
    stream,
    structured,
    responses,
    streamed_responses,
    chained_responses,
)
