"""A search shows chunks of the parts that links have now, with scores that tell nothing of what others have."""

from __future__ import annotations

from array import array
from collections.abc import AsyncIterator
from pathlib import Path
from secrets import token_hex

from policy.vocabulary import Principal
from server.api.vector_stores.findable import Place
from server.api.vector_stores.links import Status
from server.api.vector_stores.ranking import Mode
from server.api.vector_stores.search import Wanted
from server.storage.vectors.faiss_index import FaissIndex
from server.storage.vectors.index import Chunk, Hit
from tests.support.vector_world import VectorWorld, ready
from tests.unit.api.conftest import InWorld

ANN = Principal("ann", "https://a.example", {"roles": ("ann",)})


def test_a_chunk_of_a_part_that_its_link_has_left_is_not_shown(vectors: InWorld) -> None:
    async def work(world: VectorWorld) -> None:
        store = await world.records.new_store(f"vs_{token_hex(8)}", ANN)
        link = await world.put(store, ANN, "a text")
        for part, shown in ((link.part, ["a text"]), (link.part + 1, [])):
            place = Place(link.id, link.file_id)
            found = await world.search._shown([Hit(part, 0, "a text", 1.0)], {part: place})
            assert [each.text for each in found] == shown

    vectors(work)


def test_nothing_is_looked_for_in_a_link_that_is_not_completed(vectors: InWorld) -> None:
    async def work(world: VectorWorld) -> None:
        store = await world.records.new_store(f"vs_{token_hex(8)}", ANN)
        link = await world.put(store, ANN, "a text")
        findable = world.search._findable
        assert [*await findable.parts(world.gate(ANN), store, None)] == [link.part]
        await world.records.stores.changed(link, Status.CANCELLED, {})
        assert await findable.parts(world.gate(ANN), store, None) == {}

    vectors(work)


def test_no_score_tells_what_others_have_put_in(vectors: InWorld, tmp_path: Path) -> None:
    """The words of Faiss's index are counted in all parts of a store."""

    async def work(world: VectorWorld) -> None:
        store = await world.records.new_store(f"vs_{token_hex(8)}", ANN)
        index, wanted = FaissIndex(tmp_path / "chunks.db"), Wanted(("apples",), mode=Mode.KEYWORD)
        async with index.running():
            await ready(index)
            await index.add(store.body["index"], 1, 1, texts("apples and pears", "pears"))
            before = await world.search._hits(store, wanted, index, [], [1])
            await index.add(store.body["index"], 1, 2, texts(*["apples, apples and apples"] * 9))
            after = await world.search._hits(store, wanted, index, [], [1])
        assert after == before
        assert [hit.text for hit in before] == ["apples and pears"]

    vectors(work)


async def texts(*found: str) -> AsyncIterator[list[Chunk]]:
    """Chunks of these texts."""
    yield [Chunk(place, text, array("f", [1.0])) for place, text in enumerate(found)]
