"""A store and the model that has filled it: another one of the same name and size is not taken for it."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from secrets import token_hex

import pytest

from policy.vocabulary import Principal
from server.api.models.fingerprints import Fingerprints
from server.api.models.model import Model
from server.api.vector_stores.direct_body import NewChunk
from server.api.vector_stores.documents import Documents
from server.api.vector_stores.links import Status
from server.api.vector_stores.ranking import Mode
from server.background.lasting import LastingWork
from server.config.local_models import WordLlamaSettings
from server.http.errors import ApiError
from server.inference.provider import Provider
from server.inference.providers.vector_answers import VectorRoom
from server.json_input.reader import Reader
from server.storage.records.record import Record
from server.wiring.local_models import word_llama
from tests.support.vector_world import VectorWorld
from tests.unit.api.conftest import InWorld

ANN = Principal("ann", "https://a.example", {"roles": ("ann",)})
MODEL = Model("words", "local", "words", "embedding", {})


@contextmanager
def another_model(world: VectorWorld) -> Iterator[None]:
    """Another model has the name of the one in the world, and makes as many numbers."""
    providers = world.embedder._catalogue._providers
    found = providers["local"]
    world.embedder._catalogue._providers = {"local": replace(found, kind="remote::vllm")}
    yield
    world.embedder._catalogue._providers = providers


async def put(world: VectorWorld, store: Record, chunk: NewChunk) -> None:
    of = Documents(world.records.stores, world.records.queue, world.embedder, lambda _: world.index, LastingWork())
    found, permit = await world.records.stores.changeable(world.gate(ANN), store.id)
    await of.insert(world.gate(ANN), found, permit, [chunk])


@pytest.mark.parametrize("by", ["a file", "a text"])
def test_another_model_of_the_same_name_and_size_is_refused(vectors: InWorld, by: str) -> None:
    async def work(world: VectorWorld) -> None:
        store = await world.records.new_store(f"vs_{token_hex(8)}", ANN, dimensions=256)
        text = NewChunk("c", "d", "a blue bicycle", {}, "", array("f"))
        if by == "a file":
            await world.put(store, ANN, "a blue bicycle")
        else:
            await put(world, store, text)
        with another_model(world):
            asked = len(world.model.asked)
            for mode in (Mode.VECTOR, Mode.HYBRID):
                with pytest.raises(ApiError) as caught:
                    await world.find(store, ANN, "a blue bicycle", mode=mode)
                assert (caught.value.status, caught.value.code) == (409, "model_changed")
            with pytest.raises(ApiError) as caught:
                await put(world, store, replace(text, id="c2"))
            assert caught.value.code == "model_changed"
            failed = await world.put(store, ANN, "another text")
            assert failed.status is Status.FAILED
            assert failed.last_error is not None
            assert "were made by another model that was called `words` then" in failed.last_error["message"]
            # What needs no model goes on.
            assert len(world.model.asked) == asked
            assert [each.text for each in await world.find(store, ANN, "bicycle", mode=Mode.KEYWORD)] == [text.text]
            own = array("f", [1.0] + [0.0] * 255)
            await put(world, store, replace(text, id="c3", text="with a vector", vector=own))
        assert len(await world.find(store, ANN, "a blue bicycle")) == 2

    vectors(work)


def test_a_store_takes_the_first_model_that_fills_it(vectors: InWorld) -> None:
    async def work(world: VectorWorld) -> None:
        store = await world.records.new_store(f"vs_{token_hex(8)}", ANN)
        # One that an earlier version has made says nothing of its model.
        earlier = {name: value for name, value in store.body.items() if name != "made_by"} | {"dimensions": 256}
        stores = world.records.stores
        await stores.links.database.write(stores._stores.changing(store, earlier, store.facet, None))
        await put(world, store, NewChunk("c", "d", "own", {}, "", array("f", [1.0] + [0.0] * 255)))
        with another_model(world):
            assert (await world.put(store, ANN, "a text")).status is Status.COMPLETED
        with pytest.raises(ApiError, match="another model"):
            await world.find(store, ANN, "a text")

    vectors(work)


def fingerprint(provider: Provider, model: Model = MODEL) -> str | None:
    return asyncio.run(Fingerprints().of(provider, model))


def test_a_fingerprint_is_that_of_the_type_the_name_and_the_files(tmp_path: Path) -> None:
    made = replace(word_llama("local", WordLlamaSettings(), Reader(), VectorRoom()), kind="inline::wordllama")
    found = fingerprint(made)
    assert found is not None
    assert found == fingerprint(made, replace(MODEL, model_id="other", aliases=("more",)))
    copies = [tmp_path / path.name for path in made.files()]
    assert len(copies) == 2
    for path, copy in zip(made.files(), copies, strict=True):
        copy.write_bytes(path.read_bytes())
    assert fingerprint(replace(made, files=lambda: copies)) == found
    for copy in copies:
        whole = copy.read_bytes()
        copy.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert fingerprint(replace(made, files=lambda: copies)) not in (found, None)
        copy.write_bytes(whole)
    others = [
        fingerprint(replace(made, kind="inline::other")),
        fingerprint(made, replace(MODEL, provider_model_id="other")),
        fingerprint(replace(made, files=tuple)),
    ]
    assert len({found, *others}) == 4


def test_files_that_cannot_be_read_are_read_again(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    provider = replace(word_llama("local", WordLlamaSettings(), Reader(), VectorRoom()), kind="k", files=lambda: [file])

    async def work() -> None:
        prints = Fingerprints()
        assert await prints.of(provider, MODEL) is None
        file.write_bytes(b"a")
        first = await prints.of(provider, MODEL)
        file.write_bytes(b"b")  # the model in memory is the one that was read
        assert first == await prints.of(provider, MODEL) is not None

    asyncio.run(work())
