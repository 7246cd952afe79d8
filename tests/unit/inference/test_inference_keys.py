"""Keys in files: read again when they change, and kept while the file holds none."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from pathlib import Path

import pytest

from server.inference.providers import keys
from server.inference.providers.keys import FileKey
from tests.support.patience import PATIENCE


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(keys, "LOOK_SECONDS", 0.0)
    file = tmp_path / "key"
    file.write_text("first\n")
    return file


def test_a_key_follows_its_file(file: Path) -> None:
    with asyncio.Runner() as runner:
        key = FileKey("p", file, "first")
        assert runner.run(key.text()) == "first"
        file.write_text("second\n")
        assert runner.run(key.text()) == "second"
        # As a secret of Kubernetes changes: another file in its place, of the same size and age.
        times = file.stat()
        other = file.with_name("other")
        other.write_text("thirds\n")
        os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
        other.replace(file)
        assert runner.run(key.text()) == "thirds"


@pytest.mark.parametrize("content", [None, b"", b"a b", b"line\r\nline", b"\xff", b"k" * 65537])
def test_a_file_without_a_key_leaves_the_one_before(
    content: bytes | None, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with asyncio.Runner() as runner:
        key = FileKey("p", file, "first")
        assert runner.run(key.text()) == "first"
        if content is None:
            file.unlink()
        else:
            file.write_bytes(content)
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                assert runner.run(key.text()) == "first"
        [line] = [record.getMessage() for record in caplog.records]
        assert line.startswith("a file with a key of the provider `p` ")
        assert "first" not in line
        file.write_text("second")
        assert runner.run(key.text()) == "second"


def test_a_file_is_looked_at_once_in_a_while(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "LOOK_SECONDS", 60.0)

    with asyncio.Runner() as runner:
        key = FileKey("p", file, "first")
        assert runner.run(key.text()) == "first"
        file.write_text("second")
        assert runner.run(key.text()) == "first"


def test_a_disk_that_hangs_keeps_one_request_for_a_moment_and_no_other(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released, looks = threading.Event(), list[int]()

    def hang(_self: FileKey) -> None:
        looks.append(1)
        released.wait(PATIENCE)

    monkeypatch.setattr(FileKey, "_look", hang)

    async def follow() -> None:
        key, loop = FileKey("p", file, "first"), asyncio.get_running_loop()
        start = loop.time()
        assert await key.text() == "first"
        assert loop.time() - start < 3
        for _ in range(5):
            assert await key.text() == "first"
        assert len(looks) == 1
        released.set()

    asyncio.run(follow())
