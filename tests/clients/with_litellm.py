"""LiteLLM, with the prefix `openai/`."""

from __future__ import annotations

from typing import Any

import litellm
from parts import ALICE, BOB, CHAT, URL, VECTORS, run

ASKED: Any = {"model": f"openai/{CHAT}", "api_base": URL, "api_key": ALICE, "num_retries": 0}
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def chat() -> None:
    answer = litellm.completion(messages=said("hi"), **ASKED)
    assert answer.choices[0].message.content == "you say: hi"
    assert answer.usage.total_tokens == 12


def stream() -> None:
    chunks = [*litellm.completion(messages=said("one two"), stream=True, **ASKED)]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "you say: one two"


async def asynchronous() -> None:
    assert (await litellm.acompletion(messages=said("hi"), **ASKED)).choices[0].message.content == "you say: hi"


def tools() -> None:
    message = litellm.completion(messages=said("the weather"), tools=[WEATHER], **ASKED).choices[0].message
    assert message.tool_calls[0].function.arguments == '{"city": "Berlin"}'


def embeddings() -> None:
    found = litellm.embedding(model=f"openai/{VECTORS}", input=["four", "fiver"], api_base=URL, api_key=ALICE)
    assert [each["embedding"][0] for each in found.data] == [4.0, 5.0]


def completions() -> None:
    answer = litellm.text_completion(model=f"text-completion-openai/{CHAT}", prompt="once", api_base=URL, api_key=ALICE)
    assert answer.choices[0].text == "once and more"


def errors() -> None:
    for model, kind in (("openai/none", litellm.NotFoundError), (f"openai/{VECTORS}", litellm.BadRequestError)):
        try:
            litellm.completion(messages=said("hi"), **{**ASKED, "model": model})
        except kind:
            continue
        raise AssertionError(f"{kind.__name__} is not raised")


def responses() -> None:
    first = litellm.responses(input="hi", **ASKED)
    assert first.output[0].content[0].text == "you say: hi"
    more = litellm.responses(input="more", previous_response_id=first.id, **ASKED)
    assert more.output[0].content[0].text == "you say: more"
    kinds = [str(event.type.value) for event in litellm.responses(input="hi", stream=True, **ASKED)]
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
    function = {"type": "function", **WEATHER["function"]}
    [call] = litellm.responses(input="the weather", tools=[function], **ASKED).output
    assert (call.type, call.arguments) == ("function_call", '{"city": "Berlin"}')
    kept: Any = {"response_id": first.id, "custom_llm_provider": "openai", "api_base": URL, "api_key": ALICE}
    assert litellm.get_responses(**kept).output[0].content[0].text == "you say: hi"
    assert litellm.delete_responses(**kept).deleted
    try:
        litellm.get_responses(**{**kept, "response_id": more.id, "api_key": BOB})
    except litellm.NotFoundError:
        return
    raise AssertionError("another caller reads the response")


def chat_by_responses() -> None:
    answer = litellm.completion(messages=said("hi"), **{**ASKED, "model": f"openai/responses/{CHAT}"})
    assert answer.choices[0].message.content == "you say: hi"


def vector_stores() -> None:
    # It sends no `embedding_model`, so the store has the default one.
    asked: Any = {"custom_llm_provider": "openai", "api_base": URL, "api_key": ALICE}
    store = litellm.vector_stores.create(name="notes", **asked)
    assert litellm.vector_stores.search(vector_store_id=store["id"], query="a", **asked)["data"] == []


run(
    chat,
    stream,
    asynchronous,
    tools,
    embeddings,
    completions,
    errors,
    responses,
    chat_by_responses,
    vector_stores,
)
