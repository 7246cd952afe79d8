"""The real `openai` client with responses in the background."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from openai import OpenAI

from tests.support.patience import PATIENCE
from tests.support.responses_server import Responding, responding, script


@pytest.fixture(scope="module")
def place(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Responding]:
    with responding(opa_binary, tmp_path_factory.mktemp("background_sdk")) as running:
        yield running


@pytest.fixture
def client(place: Responding) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{place.house.address.url}/v1", api_key="alice", max_retries=0) as made:
        yield made


def test_it_is_polled(client: OpenAI) -> None:
    made = client.responses.create(model="small", input="hello", background=True)
    assert (made.status, made.background) == ("queued", True)
    until = time.monotonic() + PATIENCE
    while made.status in {"queued", "in_progress"}:
        assert time.monotonic() < until
        time.sleep(0.02)
        made = client.responses.retrieve(made.id)
    assert (made.status, made.output_text) == ("completed", "echo: hello")


def test_its_stream_is_left_and_gone_on_with(client: OpenAI) -> None:
    asked = script(content="one two three four", delay_ms=20)
    seen = []
    with client.responses.create(model="small", input=asked, background=True, stream=True) as stream:
        for event in stream:
            seen.append(event)
            if event.type == "response.output_text.delta":
                break
    last = seen[-1].sequence_number
    identity = seen[0].response.id  # type: ignore[union-attr]
    with client.responses.retrieve(identity, stream=True, starting_after=last) as stream:
        seen += [*stream]
    assert [event.sequence_number for event in seen] == [*range(len(seen))]
    assert "".join(e.delta for e in seen if e.type == "response.output_text.delta") == "one two three four"
    assert seen[-1].type == "response.completed"
    assert client.responses.retrieve(identity).output_text == "one two three four"


def test_it_is_cancelled(client: OpenAI) -> None:
    made = client.responses.create(model="small", input=script(content="a", delay_ms=5_000), background=True)
    for _ in range(2):
        assert client.responses.cancel(made.id).status == "cancelled"
    assert client.responses.retrieve(made.id).status == "cancelled"
    with pytest.raises(openai.BadRequestError):
        client.responses.cancel(client.responses.create(model="small", input="x").id)
