"""Budgets of tokens over HTTP: set aside before the provider is asked, paid for by what it says, whatever happens."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.budgeted_server import PROMPT, RESERVED, budgeted, chat, left, provider
from tests.support.failing_provider import upstream
from tests.support.identity_services import Service, service
from tests.support.patience import PATIENCE
from tests.support.quota_period import is_until_midnight, seconds_of


def test_a_whole_answer_costs_what_the_provider_says(opa_binary: Path, tmp_path: Path) -> None:
    with service(provider({"total_tokens": 30})) as far, budgeted(far.url, opa_binary, tmp_path) as running:
        for remaining in ("70", "40"):
            answer = chat(running)
            assert answer.status == 200
            assert answer.headers["x-ratelimit-limit-tokens"] == "100"
            assert answer.headers["x-ratelimit-remaining-tokens"] == remaining
            assert is_until_midnight(seconds_of(answer.headers["x-ratelimit-reset-tokens"]))
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


def test_a_chat_that_a_worker_process_reads_is_paid_for_too(opa_binary: Path, tmp_path: Path) -> None:
    with service(provider({"total_tokens": 30})) as far, budgeted(far.url, opa_binary, tmp_path) as running:
        assert chat(running, user="x" * 100_000).status == 200
        assert left(running) == 70
        assert chat(running, stream=True, user="x" * 100_000, max_completion_tokens=1).status == 200
        assert json.loads(far.asked[-1].body)["stream_options"] == {"include_usage": True}


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
        assert chat(running, max_completion_tokens=1).status == 429


def test_who_asks_for_usage_sees_it(opa_binary: Path, tmp_path: Path) -> None:
    with service(provider({"total_tokens": 30})) as far, budgeted(far.url, opa_binary, tmp_path) as running:
        answer = chat(running, stream=True, stream_options={"include_usage": True})
        assert answer.body.count(b'"usage": null') == 3
        assert b'"usage": {"total_tokens": 30}' in answer.body
        assert left(running) == 70


def test_without_a_budget_nothing_is_told(opa_binary: Path, tmp_path: Path) -> None:
    limits = "anonymous_max_requests: 5"
    with service(provider({"total_tokens": 30})) as far, budgeted(far.url, opa_binary, tmp_path, limits) as running:
        answer = chat(running, stream=True)
        assert "x-ratelimit-limit-tokens" not in answer.headers
        assert b"usage" not in answer.body


def test_a_used_up_budget_is_429_and_the_provider_is_not_asked(opa_binary: Path, tmp_path: Path) -> None:
    with service(provider({"total_tokens": 85})) as far, budgeted(far.url, opa_binary, tmp_path) as running:
        assert chat(running).status == 200
        for streamed in (False, True):
            refused = chat(running, stream=streamed)
            assert refused.status == 429
            assert refused.error["message"] == "Quota exceeded"
            assert refused.error["code"] == "insufficient_quota"
            assert refused.headers["x-should-retry"] == "false"
            assert is_until_midnight(int(refused.headers["retry-after"]))
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
        with httpx.stream("POST", url, json=body, timeout=PATIENCE) as answer:
            assert next(answer.iter_raw())
        assert far.left.wait(PATIENCE)
        assert left(running) == 100 - 20 - RESERVED
    with upstream() as far, budgeted(far.url, opa_binary, tmp_path, name="sleepy") as running:
        with closing(HTTPConnection(running.address.host, running.address.port, timeout=PATIENCE)) as client:
            client.request(
                "POST",
                "/v1/chat/completions",
                json.dumps(body | {"stream": False}),
                {"Content-Type": "application/json"},
            )
            assert far.arrived.wait(PATIENCE)
        assert far.left.wait(PATIENCE)
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
        assert chat(running, max_completion_tokens=1).status == 429
