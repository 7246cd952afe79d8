"""Configurations of Llama Stack, in its present and in an older form, serve once they are imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.support.imports import FOLDER
from tests.support.ostiary_run import environment, running
from tests.support.patience import PATIENCE


@pytest.mark.parametrize(
    ("name", "models"),
    # The first has vector stores and no model for embeddings, so that the server brings its own.
    [("starter", ["wordllama/wordllama-256"]), ("nvidia", ["green/small/eight", "green/small/embedder"])],
)
def test_an_imported_configuration_serves(name: str, models: list[str], tmp_path: Path, opa_binary: Path) -> None:
    environ = environment(tmp_path, opa_binary)
    output = tmp_path / "config.yaml"
    command = [sys.executable, "-m", "server.cli.main", "import", str(FOLDER / f"{name}.yaml"), "-o", str(output)]
    subprocess.run(command, env=environ, capture_output=True, check=True)
    with running(output, environ) as server:
        assert "AUTHENTICATION IS OFF" in server.banner
        listed = httpx.get(f"{server.address}/v1/models", timeout=PATIENCE).json()["data"]
        assert sorted(model["id"] for model in listed) == models
