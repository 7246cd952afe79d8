"""Members by which a router would choose another model or place reach no provider; names of caches are the caller's."""

from __future__ import annotations

from collections.abc import Iterator
from json import dumps
from typing import Any

import pytest

from tests.support.relay_server import CHATS, MESSAGES, Relaying, relaying

PLACE: dict[str, Any] = {"city": "Munich", "country": "DE", "timezone": "Europe/Berlin"}
CHOOSING: dict[str, Any] = {
    # LiteLLM
    "fallbacks": [{"m": ["other"]}],
    "context_window_fallbacks": [],
    "api_base": "http://elsewhere",
    "base_url": "http://elsewhere",
    "api_key": "k",
    "user_config": {"model_list": []},
    "custom_llm_provider": "openai",
    "specific_deployment": True,
    "extra_body": {"models": ["other"]},
    "extra_headers": {"x-route": "other"},
    "headers": {"x-route": "other"},
    "litellm_params": {},
    "tags": ["free"],
    # OpenRouter and other gateways
    "models": ["other"],
    "route": "fallback",
    "provider": {"order": ["other"]},
    "plugins": [{"id": "web"}],
    "preset": "p",
    "providerOptions": {"gateway": {"order": ["other"]}},
    # Azure and older SDKs
    "deployment": "other",
    "engine": "other",
    "data_sources": [{"type": "azure_search"}],
    # servers that load adapters
    "lora": [{"id": 0, "scale": 1}],
    "lora_path": "other",
    "adapter_id": "other",
    "bootstrap_host": "elsewhere",
    # spellings
    "Models": ["other"],
    "FALLBACKS": [],
    "apiBase": "http://elsewhere",
    "api-base": "http://elsewhere",
    "extra_body.models": ["other"],
    "a_name_that_no_router_has_yet": 1,
}
INSIDE: dict[str, tuple[str, Any]] = {
    "web_search_options.provider": ("web_search_options", {"provider": "other"}),
    # OpenAI's document has `region` in one place alone, and as a text.
    "web_search_options.region": ("web_search_options", {"region": "eu", "user_location": {"approximate": {}}}),
    "stream_options.extra_body": ("stream_options", {"inner": [{"extra_body": {}}]}),
    "reasoning.Model": ("reasoning", {"Model": "other"}),
    "chat_template_kwargs.api-base": ("chat_template_kwargs", {"api-base": "x"}),
    "metadata.tags": ("metadata", {"tags": ["free"]}),
    "tools.type": ("tools", [{"type": "mcp", "server_url": "http://elsewhere"}]),
}
PASSING: dict[str, Any] = {
    "temperature": 0.5,
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"model": {}, "url": {}}}}}],
    "response_format": {"type": "json_schema", "json_schema": {"schema": {"properties": {"models": {}}}}},
    "chat_template_kwargs": {"enable_thinking": False},
    "top_k": 5,
    "guided_json": {"type": "object"},
    "metadata": {"model": "a note"},
    "seed": 1,
    "web_search_options": {"user_location": {"type": "approximate", "approximate": {**PLACE, "region": "Bavaria"}}},
}


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relaying]:
    with relaying(
        tmp_path_factory.mktemp("strict"), "provider_type: remote::openai, config: {base_url: URL}"
    ) as running:
        yield running


@pytest.fixture(scope="module")
def lenient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Relaying]:
    allowed = "[fallbacks, user, priority, tools.type, reasoning.route]"
    provider = f"provider_type: remote::openai, config: {{base_url: URL, allow_members: {allowed}}}"
    with relaying(tmp_path_factory.mktemp("lenient"), provider) as running:
        yield running


@pytest.mark.parametrize("name", CHOOSING)
def test_a_member_that_may_choose_another_model_reaches_no_provider(strict: Relaying, name: str) -> None:
    strict.far.asked.clear()
    answer = strict.chat(**{name: CHOOSING[name]})
    assert answer.status == 400
    assert (answer.error["param"], answer.error["code"]) == (name, "unsupported_parameter")
    assert strict.far.asked == []


@pytest.mark.parametrize("path", INSIDE)
def test_one_inside_of_another_member_reaches_no_provider(strict: Relaying, path: str) -> None:
    strict.far.asked.clear()
    name, value = INSIDE[path]
    answer = strict.chat(**{name: value})
    assert (answer.status, answer.error["param"], strict.far.asked) == (400, path, [])


@pytest.mark.parametrize(
    "options",
    [
        {"user_location": {"region": "eu"}},
        {"user_location": {"Approximate": {"region": "eu"}}},
        {"user_location": {"approximate": {"Region": "eu"}}},
        {"user_location": {"approximate": {"region": {"name": "eu"}}}},
        {"user_location": {"approximate": {"region": "eu", "city": {"region": "eu"}}}},
        {"user_location": [{"approximate": {"region": "eu"}}]},
    ],
)
def test_a_region_elsewhere_than_the_users_place_reaches_no_provider(strict: Relaying, options: Any) -> None:
    strict.far.asked.clear()
    answer = strict.chat(web_search_options=options)
    assert answer.status == 400
    assert answer.error["param"].casefold() == "web_search_options.region"
    assert strict.far.asked == []


@pytest.mark.parametrize(
    "part",
    [
        {"type": "file", "file": {"fileId": "file-1", "file_data": "x"}},
        {"type": "input_file", "file_id": "file-1"},
        {"type": "image_url", "image_url": {"File-ID": "file-1"}},
    ],
)
def test_a_file_at_the_provider_is_not_read(strict: Relaying, part: Any) -> None:
    strict.far.asked.clear()
    message = {"role": "user", "content": [{"type": "text", "text": "what is in it?"}, part]}
    answer = strict.chat(messages=[*MESSAGES, message])
    assert (answer.status, answer.error["param"], strict.far.asked) == (400, "file_id", [])
    assert "file_data" in answer.error["message"]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "file", "file": {"file_data": "data:text/plain;base64,aGk=", "filename": "file_id"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk=", "detail": "low"}},
        {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}},
    ],
)
def test_what_is_sent_along_reaches_the_provider(strict: Relaying, part: Any) -> None:
    messages = [{"role": "user", "content": [{"type": "text", "text": "file_id"}, part]}]
    assert strict.chat(messages=messages).status == 200
    assert strict.body["messages"] == messages


@pytest.mark.parametrize("name", PASSING)
def test_other_members_reach_the_provider_as_they_came(strict: Relaying, name: str) -> None:
    assert strict.chat(**{name: PASSING[name]}).status == 200
    assert strict.body == {"model": "far-m", "messages": MESSAGES, name: PASSING[name]}


def test_a_large_body_is_checked_in_the_same_way(strict: Relaying) -> None:
    strict.far.asked.clear()
    pad = [{"role": "user", "content": "x" * 100_000}]
    assert strict.chat(messages=pad, models=["other"]).error["param"] == "models"
    assert strict.far.asked == []
    assert strict.chat(messages=pad, user="ann", priority=1).status == 200
    assert strict.body.keys() == {"model", "messages", "user"}


def test_a_priority_and_a_place_in_a_cache_are_cut_out(strict: Relaying) -> None:
    cut = {"priority": -5, "service_tier": "priority", "kv_transfer_params": {"remote_host": "h"}, "id_slot": 1}
    more = {"prompt_cache_retention": "24h", "prompt_cache_options": {}, "slot_id": 2, "cache_prompt": True}
    assert strict.chat(**cut, seed=1, **more).status == 200
    assert strict.body == {"model": "far-m", "messages": MESSAGES, "seed": 1}


@pytest.mark.parametrize(
    "body",
    [
        '{"priority":1,"model":"p/m","messages":M}',
        '{"model":"p/m","priority":1,"messages":M}',
        '{"model":"p/m","messages":M,"priority":1}',
        '{"model":"p/m","messages":M , "priority" : 1 , "service_tier" : "x" } ',
        '{"priority":1,"service_tier":null,"model":"p/m","id_slot":1,"messages":M,"slot_id":1,"cache_prompt":false}',
        '{"pri\\u006frity":"ä","model":"p/m","messages":M,"pr\\u0069ority2":1}'.replace(',"pr\\u0069ority2":1', ""),
    ],
)
def test_what_is_cut_leaves_an_object(strict: Relaying, body: str) -> None:
    raw = body.replace("M", dumps(MESSAGES)).encode()
    assert strict.address.post(CHATS, raw, "Authorization: Bearer alice").status == 200
    assert strict.body == {"model": "far-m", "messages": MESSAGES}


@pytest.mark.parametrize(
    "name", ["user", "safety_identifier", "prompt_cache_key", "cache_salt", "user_id", "session_id", "extra_key"]
)
def test_the_name_of_a_cache_belongs_to_the_caller(strict: Relaying, name: str) -> None:
    def sent(caller: str, value: str) -> str:
        assert strict.chat(caller, **{name: value}).status == 200
        return str(strict.body[name])

    first = sent("alice", "shared")
    assert first == sent("alice", "shared")
    assert len({first, sent("bob", "shared"), sent("alice", "other")}) == 3
    assert len(first) <= 64
    assert not any(word in first for word in ("shared", "alice"))


@pytest.mark.parametrize("value", [5, ["a"], {"a": 1}, True])
def test_a_name_that_is_no_text_is_refused(strict: Relaying, value: Any) -> None:
    strict.far.asked.clear()
    answer = strict.chat(user=value)
    assert (answer.status, answer.error["param"], strict.far.asked) == (400, "user", [])


def test_a_long_name_is_as_good_as_a_short_one(strict: Relaying) -> None:
    def sent(value: str) -> str:
        assert strict.chat(user=value).status == 200
        return str(strict.body["user"])

    assert len({sent("x" * 100_000), sent("x" * 100_001), sent("x")}) == 3


def test_no_name_is_made_up(strict: Relaying) -> None:
    assert strict.chat(user=None).status == 200
    assert strict.body["user"] is None
    assert strict.chat().status == 200
    assert strict.body == {"model": "far-m", "messages": MESSAGES}


def test_headers_of_the_caller_choose_nothing(strict: Relaying) -> None:
    own = ("x-portkey-config: c", "x-litellm-tags: a", "helicone-target-url: http://elsewhere", "X-Route: other")
    answer = strict.address.post(CHATS, {"model": "p/m", "messages": MESSAGES}, "Authorization: Bearer alice", *own)
    assert answer.status == 200
    assert not any(word in strict.head for word in ("portkey", "litellm", "helicone", "X-Route"))


def test_a_provider_takes_what_its_operator_allows_and_nothing_else(lenient: Relaying) -> None:
    allowed = {
        "fallbacks": ["x"],
        "user": "ann",
        "priority": 1,
        "tools": [{"type": "mcp"}],
        "reasoning": {"route": "x"},
    }
    assert lenient.chat(**allowed).status == 200
    assert lenient.body == {"model": "far-m", "messages": MESSAGES, **allowed}
    assert lenient.chat(models=["other"], **allowed).error["param"] == "models"
    assert lenient.chat(reasoning={"model": "other"}).error["param"] == "reasoning.model"


def test_more_unknown_members_than_may_be_allowed_are_refused(lenient: Relaying) -> None:
    many = {f"a{number}": 1 for number in range(5000)}
    assert lenient.chat(**many).error["param"] == "a0"


@pytest.mark.parametrize("name", ["fallbacks", "Models", "api_base", "engine", "provider"])
def test_the_echo_refuses_them_too(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    with relaying(tmp_path_factory.mktemp("echo"), "provider_type: inline::echo") as running:
        assert running.chat(**{name: "other"}).error["param"] == name
        assert running.chat(nothing_of_the_kind=1, user="ann").status == 200
