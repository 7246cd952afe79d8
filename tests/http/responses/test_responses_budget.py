"""Responses and budgets: what is set aside, what is charged, and that it is counted once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.budgeted_server import budgeted, provider
from tests.support.identity_services import service
from tests.support.responses_server import RESPONSES, events_of

ASKED = {"model": "m", "input": "hello there", "store": False}


@pytest.mark.parametrize("stream", [False, True])
def test_a_response_is_charged_what_it_has_cost(opa_binary: Path, tmp_path: Path, stream: bool) -> None:
    with service(provider({"total_tokens": 60})) as far, budgeted(far.url, opa_binary, tmp_path) as running:
        first = running.address.post(RESPONSES, {**ASKED, "stream": stream})
        assert first.status == 200
        told = events_of(first.body)[-1]["response"] if stream else first.json
        assert told["usage"]["total_tokens"] == 60
        assert running.address.post(RESPONSES, ASKED).status == 200
        refused = running.address.post(RESPONSES, {**ASKED, "stream": stream})
        assert (refused.status, refused.json["error"]["code"]) == (429, "insufficient_quota")


def test_what_is_asked_for_is_set_aside(opa_binary: Path, tmp_path: Path) -> None:
    with service(provider({"total_tokens": 10})) as far, budgeted(far.url, opa_binary, tmp_path) as running:
        assert running.address.post(RESPONSES, {**ASKED, "max_output_tokens": 1_000}).status == 429
        assert running.address.post(RESPONSES, {**ASKED, "max_output_tokens": 50}).status == 200
