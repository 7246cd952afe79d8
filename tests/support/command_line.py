"""`ostiary policy …` as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "multi-tenant"


def ostiary(*arguments: str | Path, text: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end; what it prints is neither coloured nor folded to a narrow terminal."""
    command = [sys.executable, "-m", "server.cli.main", "policy", *map(str, arguments)]
    settings = {**os.environ, "NO_COLOR": "1", "COLUMNS": "200", **environ}
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False, cwd=ROOT, env=settings)
