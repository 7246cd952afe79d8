"""What removes many rows of `inline::faiss` does so in steps, between which others write."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from server.storage.vectors import faiss_rows
from server.storage.vectors.faiss_index import FaissIndex
from server.storage.vectors.index import Chunk
from tests.support.vector_indexes import DIMENSIONS, chunks, pieces, ready

ROWS = 240


async def removed(index: FaissIndex, key: str) -> None:
    await index.remove(key, [1])


async def dropped(index: FaissIndex, key: str) -> None:
    await index.drop(key)


async def purged(index: FaissIndex, key: str) -> None:
    assert await index.purge(key)


async def abandoned(index: FaissIndex, key: str) -> None:
    async def some() -> AsyncIterator[Sequence[Chunk]]:
        yield chunks(ROWS, 2)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await index.add(key, DIMENSIONS, 2, some())


@pytest.mark.parametrize("work", [removed, dropped, purged, abandoned])
def test_another_store_is_written_in_between(
    work: Callable[[FaissIndex, str], Awaitable[None]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faiss_rows, "REMOVED", 10)
    monkeypatch.setattr(faiss_rows, "MERGED", 1)

    async def run() -> None:
        index, key, other, ended = FaissIndex(tmp_path / "f.db"), secrets.token_hex(16), secrets.token_hex(16), []
        async with index.running():
            await ready(index)
            words = "".join(f" {secrets.token_hex(20)}" for _ in range(100)) + " {number}"
            await index.add(key, DIMENSIONS, 1, pieces(chunks(ROWS, 1, words), 20))
            await index.put(other, DIMENSIONS, {0: chunks(1, 1)})
            if work is purged:
                await index.add(key, DIMENSIONS, 3, pieces(chunks(ROWS, 1, words), 20))
                await index.remove(key, [1])

            async def removing() -> None:
                await work(index, key)
                ended.append("removal")

            async def writing() -> None:
                for part in (1, 2, 3):
                    await index.put(other, DIMENSIONS, {part: chunks(1, part)})
                ended.append("writing")

            await asyncio.gather(removing(), writing())
            assert ended == ["writing", "removal"]
            assert len(await index.chunks(key, 1, 0, 1)) == (work is abandoned)
            assert await index.chunks(key, 2, 0, 1) == []
            assert len(await index.matching(other, "text", [0, 1, 2, 3], 9)) == 4

    asyncio.run(run())


def test_no_word_of_what_was_purged_is_left_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faiss_rows, "REMOVED", 10)
    monkeypatch.setattr(faiss_rows, "MERGED", 1)
    gone, stays = (f"{letter}{secrets.token_hex(20)}" for letter in "xy")

    async def run() -> None:
        index, key = FaissIndex(tmp_path / "f.db"), secrets.token_hex(16)
        async with index.running():
            await ready(index)
            await index.add(key, DIMENSIONS, 1, pieces(chunks(ROWS, 1, f"{gone} a{{number}}"), 20))
            await index.add(key, DIMENSIONS, 2, pieces(chunks(ROWS, 1, f"{stays} b{{number}}"), 20))
            await index.remove(key, [1])
            assert await index.purge(key)
            assert len(await index.matching(key, stays, [1, 2], 1000)) == ROWS
            assert await index.matching(key, gone, [1, 2], 1000) == []

    asyncio.run(run())
    held = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert stays[:12].encode() in held
    assert gone[:12].encode() not in held
