"""OpenAI's SDK for agents, over chat completions."""

from __future__ import annotations

from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI
from parts import ALICE, CHAT, URL, run
from pydantic import BaseModel

set_tracing_disabled(True)


class Report(BaseModel):
    city: str
    degrees: int


@function_tool
def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"sun in {city}"


def model() -> OpenAIChatCompletionsModel:
    return OpenAIChatCompletionsModel(CHAT, AsyncOpenAI(base_url=URL, api_key=ALICE, max_retries=0))


async def chat() -> None:
    done = await Runner.run(Agent("demo", instructions="short", model=model()), "hi")
    assert done.final_output == "you say: hi"


async def tools() -> None:
    done = await Runner.run(Agent("demo", model=model(), tools=[weather]), "how is the weather?")
    assert done.final_output == "the tool says: sun in Berlin"


async def stream() -> None:
    running = Runner.run_streamed(Agent("demo", model=model(), tools=[weather]), "how is the weather?")
    kinds = {event.type async for event in running.stream_events()}
    assert "raw_response_event" in kinds
    assert running.final_output == "the tool says: sun in Berlin"


async def structured() -> None:
    done = await Runner.run(Agent("demo", model=model(), output_type=Report), "report")
    assert done.final_output == Report(city="Berlin", degrees=21)


run(chat, tools, stream, structured)
