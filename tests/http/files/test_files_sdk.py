"""Files with the real `openai` client: what app developers see."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.support.files_process import files_server
from tests.support.files_server import Keeping, keeping


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def kept(
    request: pytest.FixtureRequest, opa_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Keeping]:
    postgres = None if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))
    with keeping(opa_binary, tmp_path_factory.mktemp("sdk"), postgres) as running:
        yield running


def client(kept: Keeping, token: str) -> OpenAI:
    return OpenAI(base_url=f"{kept.house.address.url}/v1", api_key=token, max_retries=0)


@pytest.fixture
def alice(kept: Keeping) -> Iterator[OpenAI]:
    with client(kept, "alice") as made:
        yield made


@pytest.fixture
def bob(kept: Keeping) -> Iterator[OpenAI]:
    with client(kept, "bob") as made:
        yield made


def test_a_file_from_its_first_to_its_last_day(alice: OpenAI, tmp_path: Path) -> None:
    path = tmp_path / "lines of größe.jsonl"
    path.write_bytes(b'{"a": 1}\n' * 1000)
    made = alice.files.create(file=path, purpose="batch")
    assert (made.filename, made.purpose, made.bytes, made.object) == (path.name, "batch", 9000, "file")
    assert abs(made.created_at - time.time()) < 60
    assert alice.files.wait_for_processing(made.id, poll_interval=0.01).status == "processed"
    assert alice.files.retrieve(made.id) == made
    assert alice.files.content(made.id).read() == path.read_bytes()
    deleted = alice.files.delete(made.id)
    assert (deleted.id, deleted.object, deleted.deleted) == (made.id, "file", True)
    with pytest.raises(openai.NotFoundError) as caught:
        alice.files.retrieve(made.id)
    assert caught.value.code == "not_found"


def test_a_file_may_end_by_itself(alice: OpenAI) -> None:
    made = alice.files.create(
        file=("x.txt", b"x", "text/plain"), purpose="user_data", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert made.expires_at == made.created_at + 3600


def test_a_content_goes_to_a_file_piece_by_piece(alice: OpenAI, tmp_path: Path) -> None:
    content = bytes(range(256)) * 700
    made = alice.files.create(file=content, purpose="vision")
    with alice.files.with_streaming_response.content(made.id) as response:
        response.stream_to_file(tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == content


def test_all_of_ones_files_come_page_by_page_and_no_others(alice: OpenAI, bob: OpenAI) -> None:
    made = [alice.files.create(file=(f"{number}.txt", b"x"), purpose="evals").id for number in range(7)]
    theirs = bob.files.create(file=("b.txt", b"x"), purpose="evals")
    assert [file.id for file in alice.files.list(purpose="evals", limit=3, order="asc")] == made
    assert [file.id for file in alice.files.list(purpose="evals", limit=3)] == made[::-1]
    assert [file.id for file in bob.files.list(purpose="evals")] == [theirs.id]


@pytest.mark.parametrize("use", ["retrieve", "content", "delete"])
def test_anothers_file_is_none(alice: OpenAI, bob: OpenAI, use: str) -> None:
    made = alice.files.create(file=("a.txt", b"canary"), purpose="assistants")
    with pytest.raises(openai.NotFoundError) as caught:
        getattr(bob.files, use)(made.id)
    assert "canary" not in str(caught.value)
    assert alice.files.content(made.id).read() == b"canary"


def test_what_is_wrong_is_said(alice: OpenAI) -> None:
    wrong: Any = "theft"
    with pytest.raises(openai.BadRequestError) as caught:
        alice.files.create(file=("a.txt", b"x"), purpose=wrong)
    assert (caught.value.param, caught.value.code) == ("purpose", "invalid_value")
    with pytest.raises(openai.BadRequestError) as caught:
        alice.files.create(file=("a.txt", b""), purpose="batch")
    assert caught.value.param == "file"
    with pytest.raises(openai.APIStatusError) as larger:
        alice.files.create(file=("a.txt", b"x" * 200_001), purpose="batch")
    assert larger.value.status_code == 413


def test_a_large_file_goes_through_little_memory(tmp_path: Path) -> None:
    """Both ways: the server's peak grows by a fraction of the file."""
    config = f"""
version: 2
apis: [inference]
storage:
  backends: {{sql: {{type: sql_sqlite, db_path: {tmp_path}/files.db}}}}
  stores: {{files: {{backend: sql, table_name: files}}}}
  blobs: {{type: local, path: {tmp_path}/blobs}}
"""
    path = tmp_path / "large.bin"
    path.write_bytes(b"0123456789abcdef" * 6_250_000)
    with files_server(config) as (address, process):

        def peak() -> int:
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

        with OpenAI(base_url=f"{address.url}/v1", api_key="any", max_retries=0) as anybody:
            anybody.files.create(file=("x", b"x"), purpose="batch")
            before = peak()
            made = anybody.files.create(file=path, purpose="batch")
            with anybody.files.with_streaming_response.content(made.id) as response:
                assert sum(map(len, response.iter_bytes(1_000_000))) == 100_000_000
            assert peak() - before < 25_000  # kilobytes
