"""What becomes of a provider's refusal, by value."""

from __future__ import annotations

from json import dumps
from typing import Any

import pytest

from server.inference.provider import Fault
from tests.support.provider_refusals import provider_refusal


def refused(status: int, error: dict[str, Any] | None = None, **headers: str) -> tuple[Fault, str | None, str | None]:
    failure = provider_refusal(
        "p", status, {name.replace("_", "-"): value for name, value in headers.items()}, body(error)
    )
    return failure.fault, failure.code, failure.param


def body(error: dict[str, Any] | None) -> bytes:
    return dumps({"error": {"message": "secret", "code": None, "param": None} | (error or {})}).encode()


@pytest.mark.parametrize(
    ("status", "fault", "sentence"),
    [
        (400, Fault.REQUEST, "the provider `p` refused the request as invalid"),
        (413, Fault.REQUEST, "the provider `p` refused the request as invalid"),
        (422, Fault.REQUEST, "the provider `p` refused the request as invalid"),
        (429, Fault.BUSY, "the provider `p` takes no more requests now"),
        *((status, Fault.PROVIDER, f"the provider `p` answered with status {status}") for status in (201, 302, 401)),
        *((status, Fault.PROVIDER, f"the provider `p` answered with status {status}") for status in (403, 404, 409)),
        *((status, Fault.PROVIDER, f"the provider `p` answered with status {status}") for status in (415, 500, 503)),
    ],
)
def test_a_status_says_whose_fault_it_is_and_that_nothing_was_spent(status: int, fault: Fault, sentence: str) -> None:
    failure = provider_refusal("p", status, {}, body(None))
    assert (failure.fault, failure.message, failure.spent) == (fault, sentence, False)


@pytest.mark.parametrize(
    ("wait", "seconds"),
    [("7", 7), ("0", 0), ("9999", 9999), ("10000", None), ("7s", None), ("7 secret", None), ("-1", None), ("", None)],
)
def test_a_time_to_wait_is_a_number_of_seconds_or_nothing(wait: str, seconds: int | None) -> None:
    assert provider_refusal("p", 429, {"Retry-After": wait}, b"").retry_after == seconds


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("invalid_value", "invalid_value"),
        ("context_length_exceeded", "context_length_exceeded"),
        ("invalid_value\nsecret", None),
        ("secret", None),
        (400, None),
        (["invalid_value"], None),
    ],
)
def test_a_code_is_one_that_is_known(code: object, told: str | None) -> None:
    assert refused(400, {"code": code})[1] == told
    assert refused(429, {"code": code})[1] == (told or "rate_limit_exceeded")


@pytest.mark.parametrize(
    ("param", "told"),
    [
        ("messages[0].content", "messages[0].content"),
        ("temperature", "temperature"),
        ("messages[0].content secret", None),
        ("`secret`", None),
        ("a" * 42, None),
        (7, None),
    ],
)
def test_a_place_is_a_path_in_the_body(param: object, told: str | None) -> None:
    assert refused(400, {"param": param})[2] == told


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 5 tokens",
        "the request exceeds the available context size, try to increase it",
    ],
)
def test_a_prompt_that_is_too_long_is_known_by_its_words(message: str) -> None:
    assert refused(400, {"message": message, "code": 400}) == (Fault.REQUEST, "context_length_exceeded", None)
    flat = provider_refusal("p", 400, {}, dumps({"message": message, "code": 400}).encode())
    assert flat.code == "context_length_exceeded"


@pytest.mark.parametrize("said", [b"", b"secret", b"[]", b'{"error":"secret"}', b"[" * 100_000, b"\xff"])
def test_what_can_not_be_read_says_nothing_more(said: bytes) -> None:
    failure = provider_refusal("p", 400, {}, said)
    assert (failure.fault, failure.code, failure.param) == (Fault.REQUEST, None, None)
