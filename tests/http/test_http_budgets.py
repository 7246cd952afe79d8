"""Budgets of tokens over HTTP: set aside before the provider is asked, paid for by what it says, whatever happens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from server.authenticators import authenticator
from server.authn import Authenticator
from tests.http.decided import Decided, decided, read
from tests.http.house import ByToken
from tests.http.serving import Answer
from tests.http.upstream import upstream
from tests.identity.services import Asked, Service, service

CONFIG = """
    version: 2
    apis: [inference]
    providers:
      inference:
      - {provider_id: far, provider_type: remote::vllm, config: {url: "PROVIDER"}}
    models:
    - {model_id: m, provider_id: far, provider_model_id: NAME}
    server:
      quota:
        kvstore: {type: sqlite, db_path: FOLDER/quotas.db}
        LIMITS
"""
BUDGET = "max_tokens_per_period: 100"
KNOWN = """
      auth:
        provider_config: PROVIDER_OF_IDENTITY
        access_policy: [{permit: {actions: [read]}}]
"""
CUSTOM = '{type: custom, endpoint: "https://auth.example.com/validate"}'
PROMPT = {"messages": [{"role": "user", "content": "hello there"}]}
RESERVED = 7  # a quarter of the letters in PROMPT, names and values alike, and one


@contextmanager
def budgeted(
    url: str,
    opa: Path,
    folder: Path,
    limits: str = BUDGET,
    *,
    name: str = "m",
    known: Authenticator | None = None,
    identity: str = "",
) -> Iterator[Decided]:
    """The server in front of the provider at `url`, which has the model under that `name`."""
    text = (
        CONFIG.replace("PROVIDER", url).replace("NAME", name).replace("FOLDER", str(folder)).replace("LIMITS", limits)
    )
    if known is not None or identity:
        text += KNOWN.replace("PROVIDER_OF_IDENTITY", identity or CUSTOM)
    vouching = authenticator(read(text).server.auth) if identity else known
    with decided(text, opa, folder, authenticator=vouching) as running:
        yield running


def completion(usage: Any, words: str = "hi") -> dict[str, Any]:
    """A provider's whole answer; `...` leaves usage out."""
    told = {} if usage is ... else {"usage": usage}
    choices = [{"index": 0, "message": {"role": "assistant", "content": words}, "finish_reason": "stop"}]
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": choices, **told}


def stream(asked: Asked, usage: Any, count: int = 3) -> bytes:
    """A provider's events; usage is told only to who asks for it, as OpenAI has it."""
    wanted = (json.loads(asked.body).get("stream_options") or {}).get("include_usage")
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    untold = {"usage": None} if wanted else {}
    chunks = [
        {**head, "choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": None}], **untold}
        for _ in range(count)
    ]
    chunks += [{**head, "choices": [], "usage": usage}] if wanted and usage is not ... else []
    return b"".join(b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in chunks) + b"data: [DONE]\n\n"


def provider(usage: Any = ..., *, count: int = 3, words: str = "hi", status: int = 200) -> Any:
    """How a provider answers whose answers cost `usage`."""

    def reply(asked: Asked) -> tuple[int, Any] | tuple[int, Any, dict[str, str]]:
        if status != 200:
            return status, {"error": {"message": "no"}}
        if json.loads(asked.body).get("stream"):
            return 200, stream(asked, usage, count), {"content-type": "text/event-stream"}
        return 200, completion(usage, words), {"content-type": "application/json"}

    return reply


def chat(running: Decided, *headers: str, **more: Any) -> Answer:
    """The answer to a chat that may have twenty tokens, unless told otherwise."""
    body = {"model": "m", "max_completion_tokens": 20, **PROMPT, **more}
    return running.address.post("/v1/chat/completions", {k: v for k, v in body.items() if v is not ...}, *headers)


def left(running: Decided, *headers: str) -> int:
    """The tokens that are left, as a request says that costs none."""
    answer = running.address.get("/v1/models", *headers)
    return int(answer.headers["x-ratelimit-remaining-tokens"])


def test_a_whole_answer_costs_what_the_provider_says(opa_binary: Path, tmp_path: Path) -> None:
    with service(provider({"total_tokens": 30})) as far, budgeted(far.url, opa_binary, tmp_path) as running:
        for remaining in ("70", "40"):
            answer = chat(running)
            assert answer.status == 200
            assert answer.headers["x-ratelimit-limit-tokens"] == "100"
            assert answer.headers["x-ratelimit-remaining-tokens"] == remaining
            assert answer.headers["x-ratelimit-reset-tokens"][-1] == "s"
            assert "x-ratelimit-limit-requests" not in answer.headers
        assert "stream_options" not in json.loads(far.asked[-1].body)


def test_a_large_answer_costs_what_the_provider_says(opa_binary: Path, tmp_path: Path) -> None:
    far: Service
    with (
        service(provider({"total_tokens": 30}, words="x" * 2_000_000)) as far,
        budgeted(far.url, opa_binary, tmp_path) as running,
    ):
        assert chat(running).status == 200
        assert left(running) == 70


def test_a_stream_is_asked_what_it_costs_and_the_caller_does_not_see_it(opa_binary: Path, tmp_path: Path) -> None:
    with service(provider({"total_tokens": 30})) as far, budgeted(far.url, opa_binary, tmp_path) as running:
        for number, options in enumerate((..., None, {}, {"include_usage": False, "x": [1]})):
            answer = chat(running, stream=True, stream_options=options, max_completion_tokens=1)
            assert answer.headers["x-ratelimit-remaining-tokens"] == str(100 - 30 * number - 1 - RESERVED)
            assert b"usage" not in answer.body
            assert answer.body.count(b'"content": "x"') == 3
            assert answer.body.endswith(b"data: [DONE]\n\n")
            asked = json.loads(far.asked[-1].body)
            kept = options if isinstance(options, dict) else {}
            assert asked.pop("stream_options") == {**kept, "include_usage": True}
            assert asked == {"model": "m", "max_completion_tokens": 1, "stream": True, **PROMPT}
            if number == 3:
                break
            assert left(running) == 70 - 30 * number
        assert running.address.get("/v1/models").status == 429


def test_who_asks_for_usage_sees_it(opa_binary: Path, tmp_path: Path) -> None:
    with service(provider({"total_tokens": 30})) as far, budgeted(far.url, opa_binary, tmp_path) as running:
        answer = chat(running, stream=True, stream_options={"include_usage": True})
        assert answer.body.count(b'"usage": null') == 3
        assert b'"usage": {"total_tokens": 30}' in answer.body
        assert left(running) == 70


def test_without_a_budget_nothing_is_changed_or_told(opa_binary: Path, tmp_path: Path) -> None:
    limits = "anonymous_max_requests: 5"
    with service(provider({"total_tokens": 30})) as far, budgeted(far.url, opa_binary, tmp_path, limits) as running:
        answer = chat(running, stream=True)
        assert "x-ratelimit-limit-tokens" not in answer.headers
        assert "stream_options" not in json.loads(far.asked[-1].body)


def test_a_used_up_budget_is_429_and_the_provider_is_not_asked(opa_binary: Path, tmp_path: Path) -> None:
    with service(provider({"total_tokens": 85})) as far, budgeted(far.url, opa_binary, tmp_path) as running:
        assert chat(running).status == 200
        for streamed in (False, True):
            refused = chat(running, stream=streamed)
            assert refused.status == 429
            assert refused.error["message"] == "Quota exceeded"
            assert refused.error["code"] == "insufficient_quota"
            assert refused.headers["x-should-retry"] == "false"
            assert 0 < int(refused.headers["retry-after"]) <= 24 * 3600
            assert refused.headers["x-ratelimit-remaining-tokens"] == "15"
        assert len(far.asked) == 1
        # What is small enough may still be had.
        assert chat(running, max_completion_tokens=5).status == 200
        assert chat(running, max_completion_tokens=5).status == 429
        assert len(far.asked) == 2


LIES: list[Any] = [
    ...,
    None,
    "30",
    {"total_tokens": -1000},
    {"total_tokens": 0},
    {"total_tokens": 10**18},
    {"total_tokens": 10**40},
    {"total_tokens": 3.5},
    {"total_tokens": True},
    {"total_tokens": "30"},
    {"total_tokens": [30]},
]


def test_case_39_a_provider_that_lies_leaves_what_was_set_aside(opa_binary: Path, tmp_path: Path) -> None:
    limits = "max_tokens_per_period: 10000"
    with service(provider()) as far, budgeted(far.url, opa_binary, tmp_path, limits) as running:
        remaining = 10_000
        for usage in LIES:
            far.reply = provider(usage)
            for streamed in (False, True):
                assert chat(running, stream=streamed).status == 200
                remaining -= 20 + RESERVED
                assert left(running) == remaining, usage


@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_that_is_visibly_longer_than_what_was_set_aside_costs_more(
    streamed: bool, opa_binary: Path, tmp_path: Path
) -> None:
    far: Service
    with (
        service(provider(..., count=60, words="x" * 1400)) as far,
        budgeted(far.url, opa_binary, tmp_path) as running,
    ):
        assert chat(running, stream=streamed).status == 200
        assert left(running) < 100 - 20 - RESERVED - 20


def test_a_refusal_of_the_provider_costs_nothing(opa_binary: Path, tmp_path: Path) -> None:
    with service(provider()) as far, budgeted(far.url, opa_binary, tmp_path) as running:
        for status in (400, 429, 500):
            far.reply = provider(status=status)
            for streamed in (False, True):
                assert chat(running, stream=streamed).status >= 400
                assert left(running) == 100
    # There is nobody at the address any more.
    with budgeted(far.url, opa_binary, tmp_path) as running:
        for streamed in (False, True):
            assert chat(running, stream=streamed).status == 502
            assert left(running) == 100


@pytest.mark.parametrize("model", ["dies", "garbage", "html"])
def test_a_provider_that_breaks_off_leaves_what_was_set_aside(model: str, opa_binary: Path, tmp_path: Path) -> None:
    with upstream() as far, budgeted(far.url, opa_binary, tmp_path, name=model) as running:
        chat(running, stream=model != "html")
        assert left(running) == 100 - 20 - RESERVED


def test_case_39_who_hangs_up_before_the_usage_has_used_what_was_set_aside(opa_binary: Path, tmp_path: Path) -> None:
    with upstream() as far, budgeted(far.url, opa_binary, tmp_path, name="gated") as running:
        url = f"{running.address.url}/v1/chat/completions"
        body = {"model": "m", "max_completion_tokens": 20, "stream": True, **PROMPT}
        with httpx.stream("POST", url, json=body) as answer:
            assert next(answer.iter_raw())
        assert far.left.wait(10)
        assert left(running) == 100 - 20 - RESERVED
    with upstream() as far, budgeted(far.url, opa_binary, tmp_path, name="sleepy") as running:
        with pytest.raises(httpx.TimeoutException):
            httpx.post(f"{running.address.url}/v1/chat/completions", json=body | {"stream": False}, timeout=1.0)
        assert far.left.wait(10)
        assert left(running) == 100 - 2 * (20 + RESERVED)


def test_case_39_of_a_burst_as_many_are_served_as_fit_and_the_provider_sees_no_more(
    opa_binary: Path, tmp_path: Path
) -> None:
    with service(provider({"total_tokens": 25})) as far, budgeted(far.url, opa_binary, tmp_path) as running:
        far.go_on.clear()
        with ThreadPoolExecutor(40) as many:
            under_way = [many.submit(chat, running, max_completion_tokens=18) for _ in range(40)]
            refused = 0
            while refused < 36:
                refused = sum(1 for one in under_way if one.done())
            assert all(one.result().status == 429 for one in under_way if one.done())
            far.go_on.set()
        assert sorted(one.result().status for one in under_way) == [200] * 4 + [429] * 36
        assert len(far.asked) == 4
        assert running.address.get("/v1/models").status == 429


def test_without_a_limit_of_its_own_a_chat_gets_what_is_left(opa_binary: Path, tmp_path: Path) -> None:
    with service(provider({"total_tokens": 70})) as far, budgeted(far.url, opa_binary, tmp_path) as running:
        far.go_on.clear()
        with ThreadPoolExecutor(2) as many:
            first = many.submit(chat, running, max_completion_tokens=...)
            while not far.asked:
                pass
            # All of it is set aside meanwhile.
            assert running.address.get("/v1/models").status == 429
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
        ({"n": -3, "max_completion_tokens": 10}, RESERVED + 10),
        ({"max_tokens": "many", "max_completion_tokens": 10}, RESERVED + 10),
        ({"tools": [{"type": "function", "function": {"name": "f" * 60}}]}, RESERVED + 20 + 21),
        ({"max_completion_tokens": ...}, RESERVED + 1000),
        ({"max_completion_tokens": ..., "n": 2}, RESERVED + 2000),
    ]
    limits, remaining = "max_tokens_per_period: 10000", 10_000
    with service(provider()) as far, budgeted(far.url, opa_binary, tmp_path, limits) as running:
        for more, reserved in cases:
            assert chat(running, **more).status == 200
            remaining -= reserved
            assert left(running) == remaining, more


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
    assert "stream_options" not in json.loads(far.asked[-1].body)


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
