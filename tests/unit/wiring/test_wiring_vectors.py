"""The indexes that a configuration brings along."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from server.config import Config
from server.inference.provider import HealthStatus
from server.storage.vectors.opening import STARTING
from server.telemetry.dependencies import Dependencies, State
from server.wiring.providers import index_entry
from server.wiring.vectors import VectorIndexes, default_index
from tests.support.config_texts import load
from tests.support.vector_indexes import DIMENSIONS, chunks, pieces, ready

KEY = "0123456789abcdef" * 2
LANCE = "{provider_id: near, provider_type: 'inline::lancedb', config: {db_path: 'HERE/near'}}"
FAISS = "{provider_id: f, provider_type: 'inline::faiss', config: {kvstore: {type: sqlite, db_path: 'HERE/f.db'}}}"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OSTIARY_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def config(text: str, folder: Path) -> Config:
    return load(text.replace("HERE", str(folder)))


def indexes(text: str, folder: Path) -> VectorIndexes:
    return VectorIndexes(config(text, folder), Dependencies())


@pytest.mark.parametrize(
    ("text", "ids", "starts"),
    [
        ("version: 2", ("lancedb",), False),
        ("apis: [vector_io]", ("lancedb",), True),
        ("apis: [vector_io]\nproviders: {vector_io: []}", ("lancedb",), True),
        ("apis: [inference]", (), False),
        (f"providers: {{vector_io: [{LANCE}, {FAISS}]}}", ("near", "f"), True),
    ],
)
def test_an_index_opens_with_the_server_where_the_configuration_speaks_of_it(
    text: str, ids: tuple[str, ...], starts: bool, tmp_path: Path
) -> None:
    async def run() -> None:
        made = indexes(text, tmp_path)
        assert made.ids == ids
        assert made.of("another") is None
        async with made.running():
            assert {index.fault for name in ids if (index := made.of(name))} == {STARTING if starts else None} - (
                set() if ids else {None}
            )

    asyncio.run(run())


def test_the_default_index_is_in_the_directory_of_the_user(home: Path, tmp_path: Path) -> None:
    async def run() -> None:
        made = indexes("apis: [vector_io]", tmp_path)
        index = made.of("lancedb")
        assert index is not None
        async with made.running():
            await ready(index)
            await index.add(KEY, DIMENSIONS, 1, pieces(chunks(3, 1)))
        assert (home / "vectors" / f"{KEY}.lance").is_dir()

    asyncio.run(run())


def test_the_vectors_of_a_backend_are_in_a_file_beside_its_own_and_one_index_has_it(tmp_path: Path) -> None:
    one = "{provider_id: NAME, provider_type: 'inline::faiss', config: {persistence: {namespace: NAME, backend: k}}}"
    text = (
        "storage: {backends: {k: {type: kv_sqlite, db_path: 'HERE/keys.db'}}}\n"
        f"providers: {{vector_io: [{one.replace('NAME', 'a')}, {one.replace('NAME', 'b')}]}}"
    )

    async def run() -> None:
        made = indexes(text, tmp_path)
        first = made.of("a")
        assert first is made.of("b")
        assert first is not None
        async with made.running():
            await ready(first)
        assert (tmp_path / "keys.db.vectors").is_file()
        assert not (tmp_path / "keys.db").exists()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("apis: [inference]", None),
        ("version: 2", "lancedb"),
        (f"providers: {{vector_io: [{FAISS}, {LANCE}]}}", "f"),
        (f"providers: {{vector_io: [{FAISS}, {LANCE}]}}\nvector_stores: {{default_provider_id: near}}", "near"),
    ],
)
def test_stores_that_name_no_index_have_that_of_the_settings_or_the_first(
    text: str, wanted: str | None, tmp_path: Path
) -> None:
    assert default_index(config(text, tmp_path)) == wanted


def test_readiness_and_providers_say_why_an_index_is_not_ready(tmp_path: Path) -> None:
    (tmp_path / "near").write_text("a file")
    text = f"providers: {{vector_io: [{LANCE}]}}"

    async def run() -> None:
        dependencies = Dependencies()
        given = config(text, tmp_path)
        made = VectorIndexes(given, dependencies)
        [dependency] = dependencies
        assert (dependency.name, dependency.provider_id, dependency.needed) == ("vectors:near", "near", False)
        entry = index_entry(given.providers["vector_io"][0], made)
        async with made.running():
            finding = await dependency.found()
            assert (finding.state, finding.reason) == (
                State.DOWN,
                "the directory of the vector index can't be used: a file is in its place; move it away, or choose "
                "another place",
            )
            health = await entry.provider.connection.health()
            assert (health.status, health.message) == (HealthStatus.ERROR, finding.reason)
            assert str(tmp_path) not in str(finding.reason)

    asyncio.run(run())


def test_an_entry_of_a_provider_shows_no_secret(tmp_path: Path) -> None:
    text = (
        "providers: {vector_io: [{provider_id: b, provider_type: 'inline::lancedb', config: {uri: 's3://bucket/p', "
        "storage_options: {endpoint: 'http://127.0.0.1:1', access_key_id: canary-1, secret_access_key: canary-2}}}]}"
    )
    given = config(text, tmp_path)
    entry = index_entry(given.providers["vector_io"][0], VectorIndexes(given, Dependencies()))
    assert "canary" not in str(entry.config)
    assert (entry.api, entry.provider_id, entry.provider_type) == ("vector_io", "b", "inline::lancedb")
    assert entry.config["uri"] == "s3://bucket/p"
    assert not entry.provider.tasks
