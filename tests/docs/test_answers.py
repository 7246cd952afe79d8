"""`docs/api/answers.md` says what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.http import protocol
from server.inference.answers import event_relay, model_name
from server.inference.providers import openai_compatible

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "api" / "answers.md").read_text()
MB = 1024 * 1024


@pytest.mark.parametrize(
    "row",
    [
        f"| time to connect to a provider | {openai_compatible.CONNECT_SECONDS:.0f} s |",
        f"before its answer or in the middle of it | {openai_compatible.SILENCE_SECONDS:.0f} s |",
        f"| one event of a stream | {event_relay.MAX_EVENT // MB} MB |",
        f"| an answer that is not streamed | {openai_compatible.MAX_ANSWER // MB} MB |",
        f"is silent for {openai_compatible.SILENCE_SECONDS:.0f} s",
        f"after {protocol.STALL_SECONDS:.0f} s the client is cut off",
        f"of more than {model_name.SMALL // 1024} KB",
    ],
)
def test_the_page_names_the_limit(row: str) -> None:
    assert row in PAGE
