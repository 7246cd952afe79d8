"""OpenAI's SDK for agents, over responses, which are its default, and over chat completions."""

from __future__ import annotations

from json import dumps

from agents import (
    Agent,
    FileSearchTool,
    HostedMCPTool,
    MCPToolApprovalFunctionResult,
    MCPToolApprovalRequest,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIConversationsSession,
    OpenAIResponsesCompactionSession,
    OpenAIResponsesModel,
    Runner,
    SQLiteSession,
    function_tool,
    set_default_openai_client,
    set_tracing_disabled,
)
from openai import AsyncOpenAI, OpenAI
from openai.types.responses.response_output_item import McpCall
from parts import ALICE, CHAT, ECHO, TOOLS, URL, run
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
    return OpenAIChatCompletionsModel(CHAT, client())


def client() -> AsyncOpenAI:
    return AsyncOpenAI(base_url=URL, api_key=ALICE, max_retries=0)


def answering() -> OpenAIResponsesModel:
    return OpenAIResponsesModel(CHAT, client())


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


async def responses() -> None:
    set_default_openai_client(client(), use_for_tracing=False)
    done = await Runner.run(Agent("demo", model=CHAT, tools=[weather]), "how is the weather?")
    assert done.final_output == "the tool says: sun in Berlin"
    more = await Runner.run(Agent("demo", model=CHAT), "more", previous_response_id=done.last_response_id)
    assert more.final_output == "you say: more"
    formed = await Runner.run(Agent("demo", model=CHAT, output_type=Report), "report")
    assert formed.final_output == Report(city="Berlin", degrees=21)


async def streamed_responses() -> None:
    running = Runner.run_streamed(Agent("demo", model=answering(), tools=[weather]), "how is the weather?")
    kinds = {event.type async for event in running.stream_events()}
    assert {"raw_response_event", "run_item_stream_event"} <= kinds
    assert running.final_output == "the tool says: sun in Berlin"


async def handoff() -> None:
    second = Agent("second", model=answering())
    done = await Runner.run(Agent("first", model=answering(), handoffs=[second]), "who tells the weather?")
    assert done.last_agent.name == "second"
    assert done.final_output == 'the tool says: {"assistant": "second"}'


async def session() -> None:
    kept = OpenAIConversationsSession(openai_client=client())
    agent = Agent("demo", model=answering(), tools=[weather])
    assert (await Runner.run(agent, "how is the weather?", session=kept)).final_output == "the tool says: sun in Berlin"
    assert (await Runner.run(agent, "again", session=kept)).final_output == "you say: again"
    kinds = [item["type"] for item in await kept.get_items()]
    assert kinds == ["message", "function_call", "function_call_output", "message", "message", "message"]
    last = await kept.pop_item()
    assert last is not None and last["content"][0]["text"] == "you say: again"
    await kept.clear_session()


async def compacted_session() -> None:
    kept = OpenAIResponsesCompactionSession(
        "demo",
        SQLiteSession("demo"),
        client=client(),
        model=CHAT,
        should_trigger_compaction=lambda context: len(context["session_items"]) > 3,
    )
    agent = Agent("demo", model=answering())
    for text in ("one", "two", "three"):
        assert (await Runner.run(agent, text, session=kept)).final_output == f"you say: {text}"
    kinds = [item["type"] for item in await kept.get_items()]
    assert kinds.count("compaction") == 1 and len(kinds) < 7


async def searches() -> None:
    async with client() as own:
        store = await own.vector_stores.create(name="notes")
        files = own.vector_stores.files
        await files.upload_and_poll(vector_store_id=store.id, file=("notes.txt", b"a blue bicycle"))
        search = FileSearchTool(vector_store_ids=[store.id], max_num_results=1, include_search_results=True)
        call = {"name": "file_search", "arguments": {"queries": ["a blue bicycle"]}}
        text = dumps({"echo": {"tool_calls": [call], "then": {"content": "it is blue"}}})
        agent = Agent("demo", model=OpenAIResponsesModel(ECHO, own), tools=[search])
        done = await Runner.run(agent, text)
        running = Runner.run_streamed(agent, text)
        async for _ in running.stream_events():
            pass
    for each in (done, running):
        assert each.final_output == "it is blue"
        called, said = (item.raw_item for item in each.new_items)
        assert called.type == "file_search_call" and called.results[0].text == "a blue bicycle"
        assert said.content[0].annotations[0].filename == "notes.txt"


async def hosted_tools() -> None:
    call = {"name": "s__echo", "arguments": {"text": "hello"}}
    text = dumps({"echo": {"tool_calls": [call], "then": {"content": "it said so"}}})
    asked = list[str]()

    def approve(request: MCPToolApprovalRequest) -> MCPToolApprovalFunctionResult:
        asked.append(request.data.arguments)
        return {"approve": True}

    server = {"type": "mcp", "server_label": "s", "server_url": TOOLS}
    async with client() as own:
        free = HostedMCPTool(tool_config={**server, "require_approval": "never"})
        guarded = HostedMCPTool(tool_config={**server, "require_approval": "always"}, on_approval_request=approve)
        for tool, storing in ((free, True), (guarded, True), (guarded, False)):
            agent = Agent(
                "demo",
                model=OpenAIResponsesModel(ECHO, own),
                tools=[tool],
                model_settings=ModelSettings(store=storing),
            )
            done = await Runner.run(agent, text)
            assert done.final_output == "it said so"
            [made] = [item.raw_item for item in done.new_items if isinstance(item.raw_item, McpCall)]
            assert (made.name, made.output) == ("echo", "hello")
        running = Runner.run_streamed(agent, text)
        kinds = {event.type async for event in running.stream_events()}
    assert "run_item_stream_event" in kinds
    assert running.final_output == "it said so"
    assert asked == ['{"text":"hello"}'] * 3


async def conversation() -> None:
    async with client() as own:
        made = await own.conversations.create()
        agent = Agent("demo", model=OpenAIResponsesModel(CHAT, own), tools=[weather])
        await Runner.run(agent, "how is the weather?", conversation_id=made.id)
        kinds = [item.type async for item in own.conversations.items.list(made.id, order="asc")]
    assert kinds == ["message", "function_call", "function_call_output", "message"]


def websocket() -> None:
    with OpenAI(base_url=URL, api_key=ALICE).responses.connect() as connection:
        previous = None
        for text in ("one", "two"):
            connection.response.create(model=CHAT, input=text, store=False, previous_response_id=previous)
            last = next(event for event in connection if event.type == "response.completed").response
            assert (last.output_text, last.previous_response_id) == (f"you say: {text}", previous)
            previous = last.id
        connection.response.create(model="nothing", input="three")
        error = next(iter(connection))
        assert (error.type, error.error.code) == ("error", "model_not_found")


run(
    chat,
    tools,
    stream,
    structured,
    responses,
    streamed_responses,
    handoff,
    session,
    compacted_session,
    conversation,
    searches,
    hosted_tools,
    websocket,
)
