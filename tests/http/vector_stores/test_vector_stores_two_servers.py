"""Two servers on one database: what both are asked at once is done once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.vector_server import Holding, holding, new_token


@pytest.fixture(scope="module")
def both(
    opa_binary: Path, tmp_path_factory: pytest.TempPathFactory, postgres: str | None
) -> Iterator[tuple[Holding, Holding]]:
    """Two servers that share their records and their files."""
    folder, token = tmp_path_factory.mktemp("two"), new_token()
    with (
        holding(opa_binary, folder, postgres, token=token) as one,
        holding(opa_binary, folder, postgres, token=token) as two,
    ):
        yield one, two


def test_a_file_that_both_attach_is_there_once(both: tuple[Holding, Holding]) -> None:
    store, files = both[0].made(), [both[0].file() for _ in range(3)]
    asked = [(both[number % 2], files[number % 3]) for number in range(24)]
    with ThreadPoolExecutor(len(asked)) as pool:
        made = [*pool.map(lambda pair: pair[0].ask("POST", f"/{store}/files", {"file_id": pair[1]}), asked)]
    assert {answer.status for answer in made} == {200}
    assert {(answer.json["id"], answer.json["created_at"]) for answer in made} == {
        (file_id, both[1].got("GET", f"/{store}/files/{file_id}")["created_at"]) for file_id in files
    }
    for server in both:
        assert server.got("GET", f"/{store}")["file_counts"]["total"] == len(files)
        assert {*server.listed(f"/{store}/files")} == {*files}


def test_what_one_removes_is_gone_for_the_other(both: tuple[Holding, Holding]) -> None:
    store = both[0].made()
    file_id = both[1].attached(store)
    asked = [both[number % 2] for number in range(6)]
    with ThreadPoolExecutor(len(asked)) as pool:
        statuses = [*pool.map(lambda server: server.ask("DELETE", f"/{store}/files/{file_id}").status, asked)]
    assert sorted(statuses) == [200, 404, 404, 404, 404, 404]
    assert both[1].got("GET", f"/{store}")["file_counts"]["total"] == 0
    assert both[1].got("DELETE", f"/{store}")["deleted"]
    assert both[0].ask("GET", f"/{store}").status == 404
