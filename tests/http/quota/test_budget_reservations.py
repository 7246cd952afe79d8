"""How much is set aside for a chat, of whose budget, and what a client sees of it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.support.application import ByToken
from tests.support.budgeted_server import PROMPT, RESERVED, budgeted, chat, left, provider
from tests.support.identity_services import Asked, Service, service


def test_without_a_limit_of_its_own_a_chat_gets_what_is_left(opa_binary: Path, tmp_path: Path) -> None:
    with service(provider({"total_tokens": 70})) as far, budgeted(far.url, opa_binary, tmp_path) as running:
        far.go_on.clear()
        with ThreadPoolExecutor(2) as many:
            first = many.submit(chat, running, max_completion_tokens=...)
            while not far.asked:
                pass
            # All of it is set aside meanwhile.
            assert chat(running, max_completion_tokens=1).status == 429
            far.go_on.set()
            assert first.result().status == 200
        assert left(running) == 30
        assert chat(running, max_completion_tokens=...).status == 200
        # It was one chat that cost more than was left; what comes next has to wait.
        assert chat(running, max_completion_tokens=1).status == 429
        assert len(far.asked) == 2


def test_what_is_set_aside_is_what_the_body_asks_for(opa_binary: Path, tmp_path: Path) -> None:
    cases: list[tuple[dict[str, Any], int]] = [
        ({"max_tokens": 10, "max_completion_tokens": ...}, RESERVED + 10),
        ({"max_tokens": 30, "max_completion_tokens": 10}, RESERVED + 30),
        ({"n": 3, "max_completion_tokens": 10}, RESERVED + 30),
        ({"n": None, "max_tokens": None, "max_completion_tokens": 10}, RESERVED + 10),
        ({"n_predict": 30, "max_completion_tokens": 10}, RESERVED + 30),
        ({"tools": [{"type": "function", "function": {"name": "f" * 60}}]}, RESERVED + 20 + 21),
        ({"max_completion_tokens": ...}, RESERVED + 1000),
        ({"max_completion_tokens": ..., "n": 2}, RESERVED + 2000),
        ({"functions": [{"name": "f" * 60}]}, RESERVED + 20 + 16),
        ({"response_format": {"type": "x" * 100}}, RESERVED + 20 + 26),
    ]
    limits, remaining = "max_tokens_per_period: 10000", 10_000
    with service(provider()) as far, budgeted(far.url, opa_binary, tmp_path, limits) as running:
        for more, reserved in cases:
            assert chat(running, **more).status == 200
            remaining -= reserved
            assert left(running) == remaining, more


@pytest.mark.parametrize("name", ["n", "max_tokens", "max_completion_tokens", "n_predict"])
@pytest.mark.parametrize("value", ["100", "1e5", 100.0, True, -1, 0, [100], {"a": 1}, ""])
def test_what_some_providers_would_take_for_a_number_is_refused(
    name: str, value: Any, opa_binary: Path, tmp_path: Path
) -> None:
    # Some take a text for the number in it, others take -1 for "without end": more than what would be set aside.
    with service(provider()) as far, budgeted(far.url, opa_binary, tmp_path) as running:
        refused = chat(running, **{name: value})
        assert (refused.status, refused.error["param"], refused.error["code"]) == (400, name, "invalid_value")
        assert left(running) == 100
        assert not far.asked


@pytest.mark.parametrize("name", ["N", "Max_Tokens", "MAX_COMPLETION_TOKENS", "max_to\u212aens", "Tools", "N_predict"])
def test_a_number_under_a_name_that_differs_in_its_case_is_refused(name: str, opa_binary: Path, tmp_path: Path) -> None:
    with service(provider()) as far, budgeted(far.url, opa_binary, tmp_path) as running:
        refused = chat(running, **{name: 5})
        assert (refused.status, refused.error["param"], refused.error["code"]) == (400, name, "invalid_value")
        assert not far.asked


@pytest.mark.parametrize("value", ["no", "false", 0, 1, "", [], [0], {}])
def test_usage_is_asked_for_or_not_and_nothing_between(value: Any, opa_binary: Path, tmp_path: Path) -> None:
    with service(provider({"total_tokens": 30})) as far, budgeted(far.url, opa_binary, tmp_path) as running:
        refused = chat(running, stream=True, stream_options={"include_usage": value})
        assert (refused.status, refused.error["param"]) == (400, "stream_options.include_usage")
        hidden = chat(running, stream=True, stream_options={"include_usage": True, "Include_Usage": False})
        assert (hidden.status, hidden.error["param"]) == (400, "stream_options.Include_Usage")
        assert not far.asked


def test_no_number_is_too_large_to_be_refused(opa_binary: Path, tmp_path: Path) -> None:
    with service(provider()) as far, budgeted(far.url, opa_binary, tmp_path) as running:
        for number in (10**9, 10**18, 10**40):
            assert chat(running, max_completion_tokens=number).status == 429
            assert chat(running, max_tokens=number, n=number).status == 429
        assert left(running) == 100
        assert not far.asked


def test_an_image_is_not_counted_by_its_bytes(opa_binary: Path, tmp_path: Path) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 200_000}}
    limits = "max_tokens_per_period: 2000"
    with service(provider()) as far, budgeted(far.url, opa_binary, tmp_path, limits) as running:
        messages = [{"role": "user", "content": [image, {"type": "text", "text": "what is it"}]}]
        assert chat(running, messages=messages).status == 200
        assert 900 < left(running) < 1000


def test_case_39_a_new_token_for_each_request_finds_the_same_budget(opa_binary: Path, tmp_path: Path) -> None:
    def one_person(asked: Asked) -> tuple[int, Any]:
        return 200, {"principal": "alice", "attributes": {"roles": ["user"]}}

    far: Service
    with service(one_person) as judge, service(provider({"total_tokens": 30})) as far:
        identity = f"{{type: custom, endpoint: '{judge.url}', name_key: '{'k' * 32}'}}"
        with budgeted(far.url, opa_binary, tmp_path, identity=identity) as running:
            found = [chat(running, f"Authorization: Bearer token-{number}").status for number in range(6)]
    assert found == [200, 200, 200, 429, 429, 429]
    assert len(judge.asked) == 6


def test_a_budget_of_a_role_is_the_policys_to_name(opa_binary: Path, tmp_path: Path) -> None:
    limits = """max_tokens_per_period: 50
        limits:
        - {when: user with alice in roles, max_tokens_per_period: 100}
        - {when: user with carol in roles, max_requests: 7}"""
    far: Service
    with (
        service(provider({"total_tokens": 30})) as far,
        budgeted(far.url, opa_binary, tmp_path, limits, known=ByToken()) as running,
    ):
        budgets = {
            name: chat(running, f"Authorization: Bearer {name}").headers.get("x-ratelimit-limit-tokens")
            for name in ("alice", "bob", "carol")
        }
        streamed = chat(running, "Authorization: Bearer carol", stream=True)
    assert budgets == {"alice": "100", "bob": "50", "carol": None}
    assert streamed.headers["x-ratelimit-limit-requests"] == "7"
    # It is counted without a budget too.
    assert json.loads(far.asked[-1].body)["stream_options"] == {"include_usage": True}
    assert b"usage" not in streamed.body


def test_a_budget_that_stands_among_the_named_limits_alone_is_charged(opa_binary: Path, tmp_path: Path) -> None:
    limits = """authenticated_max_requests: 1000
        limits:
        - {when: user with alice in roles, max_tokens_per_period: 100}"""
    alice = "Authorization: Bearer alice"
    with (
        service(provider({"total_tokens": 30})) as far,
        budgeted(far.url, opa_binary, tmp_path, limits, known=ByToken()) as running,
    ):
        assert chat(running, alice).status == 200
        assert left(running, alice) == 70
        assert chat(running, alice, stream=True).status == 200
        assert left(running, alice) == 40
        # Ten tokens are left then, and a chat sets aside 27.
        assert [chat(running, alice).status for _ in range(2)] == [200, 429]
        assert "x-ratelimit-limit-tokens" not in chat(running, "Authorization: Bearer bob").headers


def test_the_sdk_reads_a_budgeted_stream_as_any_other(opa_binary: Path, tmp_path: Path) -> None:
    far: Service
    with (
        service(provider({"total_tokens": 30})) as far,
        budgeted(far.url, opa_binary, tmp_path) as running,
        openai.OpenAI(base_url=f"{running.address.url}/v1", api_key="none", max_retries=0) as client,
    ):
        asking: dict[str, Any] = {"model": "m", "messages": PROMPT["messages"], "max_completion_tokens": 20}
        chunks = list(client.chat.completions.create(stream=True, **asking))
        assert [chunk.choices[0].delta.content for chunk in chunks] == ["x"] * 3
        for _ in range(2):
            client.chat.completions.create(**asking)
        with pytest.raises(openai.RateLimitError):
            client.chat.completions.create(**asking)
    assert len(far.asked) == 3
