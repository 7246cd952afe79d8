"""After a purge no byte of what was removed is left in the files."""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.storage.vectors import lance_upkeep
from server.storage.vectors.index import Chunk
from tests.support.vector_indexes import KINDS, Opened, chunks, index_of, opened, vectors

WIDE = 64


class InFolder(Opened):
    """An index with the directory of its files."""

    folder: Path

    def holds(self, chunk: Chunk) -> bool:
        """Whether the vector of a chunk stands in a file."""
        length = math.hypot(*chunk.vector)
        # The first numbers, since a row may be split between pages; each may be rounded otherwise than here.
        first = type(chunk.vector)("f", [number / length for number in chunk.vector[:8]]).tobytes()
        signs = [first[place : place + 4] for place in range(0, 32, 4)]
        texts = [path.read_bytes() for path in self.folder.rglob("*") if path.is_file()]
        return any(
            sum(_follows(text, signs, place)) > 5 for text in texts for place in _places(text, signs[0], signs[1])
        )


def _places(text: bytes, first: bytes, second: bytes) -> Iterator[int]:
    for sign, back in ((first, 0), (second, 4)):
        place = text.find(sign)
        while place >= 0:
            yield place - back
            place = text.find(sign, place + 1)


def _follows(text: bytes, signs: list[bytes], place: int) -> Iterator[bool]:
    for number, sign in enumerate(signs):
        yield text[place + 4 * number : place + 4 * number + 4] == sign


@pytest.fixture(scope="module", params=KINDS)
def files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[InFolder]:
    folder = tmp_path_factory.mktemp(request.param)
    with opened(index_of(request.param, folder)) as found:
        found.__class__ = InFolder
        assert isinstance(found, InFolder)
        found.folder = folder
        yield found


@pytest.fixture
def key() -> str:
    return secrets.token_hex(16)


def wide(count: int, seed: int) -> list[Chunk]:
    return chunks(count, seed, dimensions=WIDE)


def test_the_bytes_are_there_before_the_purge(files: InFolder, key: str) -> None:
    given = wide(30, 1)
    files.add(key, 1, given, WIDE)
    assert all(files.holds(chunk) for chunk in given[:3])
    files(files.index.remove(key, [1]))
    assert files(files.index.purge(key)) is True
    assert not any(files.holds(chunk) for chunk in given)


def test_few_rows_of_many_go_too(files: InFolder, key: str) -> None:
    """A small part of a large file that was merged already: what LanceDB leaves alone by itself."""
    many, few = wide(3000, 2), wide(10, 3)
    files.add(key, 1, many, WIDE, step=1000)
    files.add(key, 2, few, WIDE)
    assert files(files.index.purge(key)) is True
    files(files.index.remove(key, [2]))
    assert files.holds(few[0])
    assert files(files.index.purge(key)) is True
    assert not any(files.holds(chunk) for chunk in few)
    assert files.holds(many[5])
    assert len(files.nearest(key, many[5].vector, [1, 2], 5000)) == 3000
    assert files.matching(key, "text 17", [1, 2], 1)[0] == (1, 17)


def test_single_chunks_go_too(files: InFolder, key: str) -> None:
    given = wide(200, 4)
    files.add(key, 1, given, WIDE)
    files(files.index.remove_chunks(key, {1: [7]}))
    assert files(files.index.purge(key)) is True
    assert not files.holds(given[7])
    assert files.holds(given[8])


def test_a_twin_in_another_part_stays(files: InFolder, key: str) -> None:
    twin = Chunk(0, "the same", vectors(1, 5, WIDE)[0])
    files.add(key, 1, [twin], WIDE)
    files.add(key, 2, [twin, *wide(3, 6)], WIDE)
    files(files.index.remove(key, [1]))
    assert files(files.index.purge(key)) is True
    assert files.nearest(key, twin.vector, [1, 2], 1) == [((2, 0), pytest.approx(1.0, abs=1e-5))]


def test_words_of_removed_texts_go(files: InFolder, key: str) -> None:
    secret = "xanthophyll"
    files.add(key, 1, chunks(50, 7, "plain {number}", WIDE), WIDE)
    files.add(key, 2, chunks(2, 8, secret + " {number}", WIDE), WIDE)
    files(files.index.remove(key, [2]))
    assert files(files.index.purge(key)) is True
    texts = [path.read_bytes() for path in files.folder.rglob("*") if path.is_file()]
    assert not any(secret.encode() in text for text in texts)
    assert files.matching(key, secret, [1, 2]) == []


def test_a_part_of_a_large_table_goes_though_its_index_of_words_stays(
    files: InFolder, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lance_upkeep, "MOST_RENEWED", 0)
    many = wide(500, 12)
    files.add(key, 1, many, WIDE)
    assert files(files.index.purge(key)) is True
    for part in (2, 3):
        few = chunks(5, 20 + part, f"only{part}", WIDE)
        files.add(key, part, few, WIDE)
        assert files(files.index.purge(key)) is True
        files(files.index.remove(key, [part]))
        files(files.index.remove_chunks(key, {1: [part]}))
        assert files(files.index.purge(key)) is True
        assert not any(files.holds(chunk) for chunk in (*few, many[part]))
        assert files.matching(key, f"only{part}", [1, part]) == []
        assert files.matching(key, "text 17", [1], 1) == [(1, 17)]
    found = files.nearest(key, many[9].vector, [1], 1000)
    assert found[0] == ((1, 9), pytest.approx(1.0, abs=1e-5))
    assert len(found) == 498


def test_a_store_that_was_dropped_leaves_nothing(files: InFolder, key: str) -> None:
    given = wide(40, 9)
    files.add(key, 1, given, WIDE)
    files(files.index.drop(key))
    assert files(files.index.purge(key)) is True
    assert not any(files.holds(chunk) for chunk in given)
    assert not any(key in path.name and path.suffix == ".lance" for path in files.folder.rglob("*"))


@pytest.mark.parametrize("dropped", [False, True])
def test_what_a_killed_process_was_writing_goes_too(tmp_path: Path, key: str, dropped: bool) -> None:
    """LanceDB doesn't see such files, and so removes none."""
    with opened(index_of("lancedb", tmp_path)) as index:
        index.add(key, 1, wide(5, 11), WIDE)
        table = tmp_path / f"{key}.lance"
        for place in (
            "data/.tmpZRuEd8",
            "data/01.lance#1",
            "_indices/0a/part_0_tokens.lance#12",
            "_versions/7.manifest#1",
        ):
            (table / place).parent.mkdir(exist_ok=True, parents=True)
            (table / place).write_bytes(b"half")
        if dropped:
            index(index.index.drop(key))
        assert index(index.index.purge(key)) is True
        assert [path for path in table.rglob("*") if path.is_file() and path.read_bytes() == b"half"] == []
        assert table.exists() is not dropped
        assert len(index.nearest(key, vectors(1, 1, WIDE)[0], [1])) == (0 if dropped else 5)


def test_a_purge_may_be_repeated(files: InFolder, key: str) -> None:
    files.add(key, 1, wide(5, 10), WIDE)
    for _ in range(3):
        assert files(files.index.purge(key)) is True
    files(files.index.remove(key, [1]))
    assert files(files.index.purge(key)) is True
    assert files(files.index.purge(key)) is True
    assert files.nearest(key, vectors(1, 1, WIDE)[0], [1]) == []
    files.add(key, 2, wide(5, 10), WIDE)
    assert len(files.nearest(key, vectors(1, 1, WIDE)[0], [2])) == 5
