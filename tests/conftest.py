"""Fixtures that every altitude shares."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def opa_binary() -> Path:
    """The real OPA, as `make opa` obtains it."""
    configured = os.environ.get("OSTIARY_OPA")
    if configured:
        return Path(configured)
    lines = subprocess.run(["make", "-s", "opa"], cwd=ROOT, check=True, capture_output=True, text=True).stdout  # noqa: S607 - make on PATH is the project's own entry
    return Path(lines.splitlines()[-1])
