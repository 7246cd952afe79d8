"""The directory in which the workers of one server count their metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Final

SHARED_DIRECTORY: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that names it, prometheus-client's own; it must be set before that is imported."""


def forget_process(directory: Path, pid: int) -> None:
    """Remove the gauges of an ended process from the sums; its counters stay in them."""
    for file in directory.glob(f"gauge_live*_{pid}.db"):
        file.unlink(missing_ok=True)
