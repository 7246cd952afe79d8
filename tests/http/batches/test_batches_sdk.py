"""Batches with the real `openai` client, as its own suite calls them: whole, raw, streamed and asynchronous."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types import Batch

from tests.support.batches_server import CHAT, Batching, batching, chat, written
from tests.support.files_server import wait_until
from tests.support.line_provider import LineProvider, line_provider

OUTPUT_EXPIRES: Any = {"anchor": "created_at", "seconds": 3600}


@pytest.fixture(scope="module")
def far() -> Iterator[LineProvider]:
    with line_provider() as running:
        yield running


@pytest.fixture(scope="module")
def place(far: LineProvider, opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Batching]:
    with batching(opa_binary, tmp_path_factory.mktemp("batches_sdk"), None, far.url) as running:
        yield running


@pytest.fixture
def client(place: Batching, far: LineProvider) -> Iterator[OpenAI]:
    far.forget()
    with client_of(place, "sdk") as made:
        yield made


def client_of(place: Batching, name: str) -> OpenAI:
    return OpenAI(base_url=f"{place.house.address.url}/v1", api_key=name, max_retries=0)


def made(client: OpenAI, *lines: Any, **more: Any) -> Batch:
    sent = client.files.create(file=("lines.jsonl", io.BytesIO(written(lines))), purpose="batch")
    assert (sent.purpose, sent.status) == ("batch", "processed")
    return client.batches.create(input_file_id=sent.id, endpoint=CHAT, completion_window="24h", **more)


def is_batch(found: object) -> Batch:
    """The batch, which has the types that the client knows."""
    assert isinstance(found, Batch)
    Batch.model_validate(found.to_dict(), strict=True)
    return found


def test_a_batch_from_its_file_to_its_answers(client: OpenAI, place: Batching) -> None:
    batch = is_batch(
        made(client, chat("a"), chat("b", stream=True), metadata={"k": "v"}, output_expires_after=OUTPUT_EXPIRES)
    )
    assert (batch.object, batch.endpoint, batch.completion_window, batch.metadata) == ("batch", CHAT, "24h", {"k": "v"})
    place.over(batch.id, "Authorization: Bearer sdk")
    batch = is_batch(client.batches.retrieve(batch.id))
    counts = batch.request_counts
    assert counts is not None
    assert (batch.status, counts.total, counts.completed, counts.failed) == ("completed", 2, 1, 1)
    for file in (batch.output_file_id, batch.error_file_id):
        assert file is not None
        shown = client.files.retrieve(file)
        assert (shown.purpose, shown.expires_at) == ("batch_output", shown.created_at + 3600)
        assert client.files.content(file).text.count("\n") == 1
        assert client.files.delete(file).deleted


def test_pages_of_batches_are_gone_through(place: Batching) -> None:
    with client_of(place, "pages") as client:
        ids = [made(client, chat("a")).id for _ in range(5)]
        first = client.batches.list(limit=2)
        assert [each.id for each in first.data] == ids[:2:-1]
        assert first.has_more
        assert first.has_next_page()
        assert [each.id for each in first.get_next_page().data] == [ids[2], ids[1]]
        assert [is_batch(each).id for each in client.batches.list(limit=2)] == ids[::-1]
        assert [each.id for each in client.batches.list(after=ids[1])] == [ids[0]]
        with pytest.raises(openai.BadRequestError) as refused:
            client.batches.list(limit=101)
        assert refused.value.param == "limit"


def test_raw_and_streamed_answers_are_the_same(client: OpenAI) -> None:
    batch = made(client, chat("a"))
    raw = client.batches.with_raw_response.retrieve(batch.id)
    assert is_batch(raw.parse()).id == batch.id
    with client.batches.with_streaming_response.retrieve(batch.id) as streamed:
        assert is_batch(streamed.parse()).id == batch.id
    assert client.batches.with_raw_response.list().parse().data[0].id == batch.id
    for method in (client.batches.retrieve, client.batches.cancel):
        with pytest.raises(ValueError, match="non-empty"):
            method("")


def test_a_batch_is_cancelled(client: OpenAI, place: Batching, far: LineProvider) -> None:
    batch = made(client, *(chat(str(number), "hold here") for number in range(40)))
    wait_until(lambda: "hold here" in far.asked)
    cancelled = is_batch(client.batches.cancel(batch.id))
    assert cancelled.status == "cancelling"
    assert is_batch(client.batches.with_raw_response.cancel(batch.id).parse()).status == "cancelling"
    far.go_on.set()
    done = is_batch(Batch.model_validate(place.over(batch.id, "Authorization: Bearer sdk")))
    assert done.status == "cancelled"
    with client_of(place, "stranger-to-it") as other, pytest.raises(openai.NotFoundError):
        other.batches.cancel(batch.id)


def test_an_asynchronous_client_does_the_same(place: Batching) -> None:
    async def batches() -> None:
        async with AsyncOpenAI(base_url=f"{place.house.address.url}/v1", api_key="async", max_retries=0) as client:
            sent = await client.files.create(file=("a.jsonl", written([chat("a")])), purpose="batch")
            batch = await client.batches.create(input_file_id=sent.id, endpoint=CHAT, completion_window="24h")
            while batch.status != "completed":
                assert batch.status in ("validating", "in_progress", "finalizing")
                await asyncio.sleep(0.02)
                batch = is_batch(await client.batches.retrieve(batch.id))
            assert [each.id async for each in client.batches.list(limit=1)] == [batch.id]
            content = await client.files.content(batch.output_file_id or "")
            assert '"custom_id":"a"' in content.text
            with pytest.raises(openai.BadRequestError):
                await client.batches.cancel(batch.id)

    asyncio.run(batches())
