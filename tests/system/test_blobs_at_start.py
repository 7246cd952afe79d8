"""A place for files that can't be used keeps a server from starting, with one sentence that says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.ostiary_run import OPEN, environment, refusal, running, written
from tests.support.s3 import BUCKET, running_s3


def config_of(folder: Path, blobs: str) -> Path:
    return written(folder, OPEN + f"storage:\n  blobs: {blobs}\n")


def errors(said: str) -> list[str]:
    return [line for line in said.splitlines() if line.startswith("error: ")]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_bucket_that_does_not_exist_is_told_at_the_start(tmp_path: Path, opa_binary: Path, workers: str) -> None:
    environ = environment(tmp_path, opa_binary)
    with running_s3() as bucket:
        config = config_of(tmp_path, bucket.config("p").replace(BUCKET, "no-such"))
        told = "error: there is no bucket `no-such`; make it, or correct `bucket` or `endpoint` in `storage.blobs`"
        said = refusal(config, environ, "--port", "0", "--workers", workers)
        assert errors(said)[0] == told
        assert said.count(told) == 1
        assert "canary" not in said
        with running(config_of(tmp_path, bucket.config("p")), environ, "--workers", workers):
            assert bucket.names() == []


def test_a_directory_that_can_not_be_used_is_told_at_the_start(tmp_path: Path, opa_binary: Path) -> None:
    (tmp_path / "file").write_text("x")
    config = config_of(tmp_path, f"{{type: local, path: {tmp_path / 'file'}}}")
    (told,) = errors(refusal(config, environment(tmp_path, opa_binary), "--port", "0"))
    assert told.startswith(f"error: files can't be kept in `{tmp_path / 'file'}`: ")
