"""The real `openai` client: what app developers see."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionToolParam, ChatCompletionUserMessageParam

from server.api.models.model import Model
from server.inference.providers.echo import Echo
from server.inference.providers.http_provider import Limits
from server.inference.providers.openai_compatible import OpenAICompatible
from server.json_input.reader import Reader
from tests.support.application import CREATED, MODELS, ByToken, house
from tests.support.failing_provider import SECRET, TEXT, Upstream, upstream
from tests.support.serving import serving

HELLO: ChatCompletionUserMessageParam = {"role": "user", "content": "hello there"}
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
}


@pytest.fixture(scope="module")
def server() -> Iterator[Upstream]:
    with upstream() as running:
        yield running


@pytest.fixture(scope="module")
def url(server: Upstream) -> Iterator[str]:
    provider = OpenAICompatible("p", f"{server.url}/v1", "sk-key", limits=Limits(silence=1.0))
    names = ("m", "status-400", "status-429", "status-500", "stops")
    models = MODELS + tuple(Model(name, "p", name, "llm", {}) for name in names)
    app = house(models=models, providers={"echo": Echo(Reader()), "p": provider}, authenticator=ByToken())
    with serving(app) as address:
        yield f"{address.url}/v1"


@pytest.fixture
def client(url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=url, api_key="alice", max_retries=0) as made:
        yield made


def test_models_are_listed_under_their_canonical_names(client: OpenAI) -> None:
    models = list(client.models.list())
    assert [model.id for model in models[:2]] == ["echo/llama3.2", "echo/meta/llama-3"]
    assert {(model.object, model.created) for model in models} == {("model", CREATED)}
    assert models[0].owned_by == "echo"


@pytest.mark.parametrize("name", ["echo/llama3.2", "echo/llama", "llama"])
def test_a_model_is_retrieved_by_any_of_its_names(client: OpenAI, name: str) -> None:
    assert client.models.retrieve(name).id == "echo/llama3.2"


@pytest.mark.parametrize("name", ["llama3.2", "p", "echo", "echo/", "other/llama3.2", "p/llama3.2", "LLAMA"])
def test_no_other_name_leads_to_a_model(client: OpenAI, server: Upstream, name: str) -> None:
    server.forget()
    with pytest.raises(openai.NotFoundError) as retrieved:
        client.models.retrieve(name)
    with pytest.raises(openai.NotFoundError) as chatted:
        client.chat.completions.create(model=name, messages=[HELLO])
    assert retrieved.value.code == chatted.value.code == "model_not_found"
    assert server.asked == []


def test_a_chat_is_answered(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="llama", messages=[HELLO])
    assert answer.choices[0].message.content == "echo: hello there"
    assert (answer.model, answer.choices[0].finish_reason) == ("echo/llama3.2", "stop")
    assert answer.usage is not None and answer.usage.total_tokens == 5
    assert answer._request_id is not None and answer._request_id.startswith("req_")


@pytest.mark.parametrize(("model", "text"), [("llama", "echo: hello there"), ("p/m", "".join(TEXT))])
def test_a_chat_streams(client: OpenAI, model: str, text: str) -> None:
    with client.chat.completions.create(model=model, messages=[HELLO], stream=True) as chunks:
        found = list(chunks)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in found) == text
    assert found[0].choices[0].delta.role == "assistant"
    assert found[-1].choices[0].finish_reason == "stop"
    assert len({chunk.id for chunk in found}) == 1


def test_the_accumulating_helper_is_content(client: OpenAI) -> None:
    with client.chat.completions.stream(
        model="llama",
        messages=[HELLO],
        stream_options={"include_usage": True},
    ) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.content == "echo: hello there"
    assert final.usage is not None and final.usage.completion_tokens == 3


def test_the_accumulating_helper_is_content_with_a_provider_too(client: OpenAI) -> None:
    with client.chat.completions.stream(model="p/m", messages=[HELLO]) as stream:
        final = stream.get_final_completion()
    assert (final.model, final.choices[0].message.content) == ("p/m", "".join(TEXT))
    assert final.choices[0].finish_reason == "stop"


def test_an_error_in_a_stream_reaches_the_accumulating_helper(client: OpenAI) -> None:
    with (
        pytest.raises(openai.APIError, match="ended its answer in the middle"),
        client.chat.completions.stream(model="p/stops", messages=[HELLO]) as stream,
    ):
        stream.get_final_completion()


def test_a_tool_call_streams(client: OpenAI) -> None:
    with client.chat.completions.stream(
        model="llama",
        messages=[HELLO],
        tools=[WEATHER],
        tool_choice="required",
    ) as stream:
        choice = stream.get_final_completion().choices[0]
    assert choice.message.tool_calls is not None
    assert (choice.message.tool_calls[0].function.name, choice.finish_reason) == ("weather", "tool_calls")


@pytest.mark.parametrize(
    ("model", "kind", "code"),
    [
        ("nothing", openai.NotFoundError, "model_not_found"),
        ("p/status-400", openai.BadRequestError, "invalid_value"),
        ("p/status-429", openai.RateLimitError, "rate_limit_exceeded"),
        ("p/status-500", openai.InternalServerError, "server_error"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_an_error_is_the_exception_that_it_should_be(
    client: OpenAI, model: str, kind: type[openai.APIStatusError], code: str, stream: bool
) -> None:
    with pytest.raises(kind) as failure:
        client.chat.completions.create(model=model, messages=[HELLO], stream=stream)
    assert failure.value.code == code
    assert failure.value.request_id is not None and failure.value.request_id.startswith("req_")
    assert SECRET not in str(failure.value)


def test_an_error_in_a_stream_is_an_exception(client: OpenAI) -> None:
    with (
        pytest.raises(openai.APIError, match="ended its answer in the middle"),
        client.chat.completions.create(model="p/stops", messages=[HELLO], stream=True) as chunks,
    ):
        list(chunks)


def test_a_bad_key_is_an_authentication_error(url: str) -> None:
    with OpenAI(base_url=url, api_key="bad") as made, pytest.raises(openai.AuthenticationError) as failure:
        made.models.list()
    assert failure.value.code == "invalid_api_key"


def test_a_wrong_body_names_its_place(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as failure:
        client.chat.completions.create(model="llama", messages=[HELLO, 5])  # type: ignore[list-item]
    assert failure.value.param == "messages[1]"


def test_an_organization_and_a_project_change_nothing(url: str) -> None:
    with OpenAI(base_url=url, api_key="alice", organization="org-x", project="proj-x") as made:
        assert made.models.retrieve("llama").id == "echo/llama3.2"
