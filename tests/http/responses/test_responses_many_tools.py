"""Many streams at the same time, each with a search of files: all of them end, and others are served beside them."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx
import pytest

from tests.support.responses_server import events_of
from tests.support.tools_server import calling, tooled

STREAMS = 200


@pytest.mark.skipif(os.environ.get("OSTIARY_NIGHTLY") != "1", reason="takes half a minute")
@pytest.mark.alone
def test_every_stream_ends(opa_binary: Path, tmp_path: Path) -> None:
    with tooled(opa_binary, tmp_path) as place:
        store = place.store("a blue bicycle")
        text = calling("file_search", {"queries": ["a blue bicycle"]}, then={"content": "found"})
        tools = [{"type": "file_search", "vector_store_ids": [store]}]
        body = {"model": "small", "input": text, "tools": tools, "stream": True}
        ends, waits = asyncio.run(_streams(place.house.address.url, body))
    assert ends == ["response.completed"] * STREAMS
    # The slowest may have met a pause of the machine.
    assert sorted(waits)[len(waits) * 9 // 10] < 0.25


async def _streams(url: str, body: Any) -> tuple[list[str], list[float]]:
    """Return how each stream ends, and how long another caller waits for answers at that time."""
    limits, waits = httpx.Limits(max_connections=STREAMS + 1), list[float]()
    async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits, trust_env=False) as client:

        async def stream() -> str:
            answer = await client.post("/v1/responses", json=body, headers={"Authorization": "Bearer alice"})
            assert answer.status_code == 200, answer.text
            return str(events_of(answer.content)[-1]["type"])

        running = [asyncio.ensure_future(stream()) for _ in range(STREAMS)]
        while not all(each.done() for each in running):
            began = perf_counter()
            answer = await client.get("/v1/models", headers={"Authorization": "Bearer bob"})
            assert answer.status_code == 200
            waits.append(perf_counter() - began)
            await asyncio.sleep(0.05)
        return [await each for each in running], waits
