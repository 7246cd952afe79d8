"""Every answer has its request id, every error its envelope, whoever raised it."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Iterator

import pytest

from server.inference.provider import ChatRequest, ChatStream
from server.inference.providers.echo import Echo
from server.json_input.reader import Reader
from tests.support.application import MODELS, ByToken, house
from tests.support.serving import Address, Answer, serving

CHAT = "/v1/chat/completions"
GOOD = {"model": "llama", "messages": [{"role": "user", "content": "prompt-canary"}]}
CANARIES = ("prompt-canary", "token-canary", "exception-canary")


class Broken(Echo):
    """A provider with a fault of ours in it."""

    async def complete(self, request: ChatRequest) -> bytes:
        """Fail in a way that nobody has foreseen."""
        raise KeyError("exception-canary")

    async def stream(self, request: ChatRequest) -> ChatStream:
        """Fail likewise, after the first piece."""
        return _BrokenStream()


class _BrokenStream:
    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"data: {}\n\n"
        raise KeyError("exception-canary")

    async def aclose(self) -> None:
        """Nothing to close."""


@pytest.fixture(scope="module")
def address() -> Iterator[Address]:
    with serving(house(authenticator=ByToken())) as running:
        yield running


@pytest.fixture(scope="module")
def broken() -> Iterator[Address]:
    with serving(house(providers={"echo": Broken(Reader())}, models=MODELS)) as running:
        yield running


def every_kind_of_answer(address: Address) -> list[Answer]:
    return [
        address.get("/v1/health"),
        address.get("/v1/nothing"),
        address.get("/v1/models", method="DELETE"),
        address.get("/v1/models//"),
        address.get("/v1/models/../x"),
        address.get("/v1/models", "Authorization: Basic x"),
        address.get("/v1/models", "Authorization: Bearer bad"),
        address.get("/v1/models", "Authorization: Bearer down"),
        address.get("/v1/models/unknown"),
        address.get("/v1/models", method="get"),
        address.post(CHAT, b"{"),
        address.post(CHAT, GOOD, kind="text/plain"),
        address.post(CHAT, GOOD),
        address.post(CHAT, {**GOOD, "stream": True}),
        address.get("/v1/health", method="HEAD"),
    ]


def test_every_answer_names_its_request_and_no_two_are_the_same(address: Address) -> None:
    answers = every_kind_of_answer(address)
    ids = {answer.headers["x-request-id"] for answer in answers}
    assert len(ids) == len(answers)
    assert all(re.fullmatch("req_[0-9a-f]{32}", found) for found in ids)
    assert {answer.headers["openai-version"] for answer in answers} == {"2020-10-01"}
    assert all("server" not in answer.headers for answer in answers)


def test_every_error_is_an_envelope(address: Address) -> None:
    errors = [answer for answer in every_kind_of_answer(address) if answer.status >= 400]
    assert len(errors) == 10
    assert all(answer.error["message"][0].islower() or answer.error["message"][0] == "`" for answer in errors)
    assert not any(answer.error["message"].endswith(".") for answer in errors)


def test_the_time_that_an_answer_took_is_in_whole_milliseconds(address: Address) -> None:
    assert 0 <= int(address.get("/v1/health").headers["openai-processing-ms"]) < 10_000


@pytest.mark.parametrize("sent", ["abc", "req_1", "a" * 128, "2f9c:1/x+y=._-"])
def test_a_plain_id_of_the_clients_comes_back_beside_ours(address: Address, sent: str) -> None:
    answer = address.get("/v1/health", f"X-Request-Id: {sent}")
    assert answer.headers["x-client-request-id"] == sent
    assert answer.headers["x-request-id"] != sent


@pytest.mark.parametrize("target", ["/v1/health", "/v1/models", "/v1/nothing", "/v1/models/..", "/metrics"])
@pytest.mark.parametrize("token", ["alice", "bad"])
def test_no_answer_is_kept_guessed_at_or_shown_in_somebody_elses_page(
    address: Address, target: str, token: str
) -> None:
    headers = address.get(target, f"Authorization: Bearer {token}").headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert "server" not in headers
    assert "strict-transport-security" not in headers


@pytest.mark.parametrize("sent", ["", "a" * 129, "a b", "a\x1b[31m", "<script>", "a,b", "é", '"'])
def test_an_odd_id_of_the_clients_does_not_come_back(address: Address, sent: str) -> None:
    answer = address.get("/v1/health", f"X-Request-Id: {sent}")
    assert answer.status in (200, 400)
    assert "x-client-request-id" not in answer.headers


def test_two_ids_of_the_clients_are_none(address: Address) -> None:
    assert "x-client-request-id" not in address.get("/v1/health", "X-Request-Id: a", "X-Request-Id: b").headers


@pytest.mark.parametrize("value", ["Bearer bad", "Bearer  two", "Bearer", "Bearer ", "Basic abc", "bad", "Bearer a b"])
def test_a_token_that_proves_nothing_is_refused_at_once(address: Address, value: str) -> None:
    answer = address.get("/v1/health", f"Authorization: {value}")
    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert answer.error["type"] == "invalid_request_error"


def test_a_good_token_is_good(address: Address) -> None:
    assert address.get("/v1/models", "Authorization: Bearer alice").status == 200


@pytest.mark.parametrize("target", ["/v1/models?access_token=alice", "/v1/models?token=alice"])
def test_a_token_is_read_from_its_header_alone(address: Address, target: str) -> None:
    assert address.get(target, "Cookie: token=bad; Authorization=bad", "X-Api-Key: bad").status == 200


def test_an_identity_provider_that_does_not_answer_is_a_503_to_try_again(address: Address) -> None:
    answer = address.get("/v1/models", "Authorization: Bearer down")
    assert (answer.status, answer.error["code"], answer.error["type"]) == (503, "identity_unavailable", "server_error")
    assert (answer.headers["retry-after"], answer.headers["x-should-retry"]) == ("1", "true")


def test_a_token_is_not_looked_at_where_authentication_is_not_configured(broken: Address) -> None:
    assert broken.get("/v1/models", "Authorization: Basic odd").status == 200


def test_a_fault_of_ours_tells_the_caller_what_to_quote_and_the_log_what_happened(
    broken: Address, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        answer = broken.post(CHAT, GOOD, "Authorization: Bearer token-canary")
    assert (answer.status, answer.error["code"], answer.error["type"]) == (500, "server_error", "server_error")
    assert answer.headers["x-request-id"] in answer.error["message"]
    assert not any(canary in answer.body.decode() for canary in CANARIES)
    assert answer.headers["x-request-id"] in caplog.text
    assert "KeyError" in caplog.text
    assert "prompt-canary" not in caplog.text
    assert "token-canary" not in caplog.text


def test_a_fault_of_ours_in_the_middle_of_a_stream_ends_it_with_an_error(broken: Address) -> None:
    answer = broken.post(CHAT, {**GOOD, "stream": True})
    assert answer.status == 200
    first, last, rest = answer.body.split(b"\n\n")
    assert (first, rest) == (b"data: {}", b"")
    assert b'"code":"server_error"' in last
    assert answer.headers["x-request-id"].encode() in last
    assert b"canary" not in last


def test_a_missing_model_is_told_by_its_name(address: Address) -> None:
    answer = address.get("/v1/models/some/thing")
    assert (answer.status, answer.error["code"], answer.error["param"]) == (404, "model_not_found", "model")
    assert "`some/thing`" in answer.error["message"]
    same = address.post(CHAT, {**GOOD, "model": "some/thing"})
    assert same.body == answer.body


def test_a_missing_provider_is_told_by_its_name(address: Address) -> None:
    assert address.get("/v1/providers/other").error["code"] == "provider_not_found"


def test_a_missing_path_is_told_by_its_name(address: Address) -> None:
    answer = address.get("/v1/%22nothing%3Cb%3E")
    assert answer.status == 404
    assert '`/v1/"nothing<b>`' in answer.error["message"]
