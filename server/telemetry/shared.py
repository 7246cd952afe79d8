"""The directory in which the workers of one server count together."""

from __future__ import annotations

from pathlib import Path
from typing import Final

SHARED_DIRECTORY: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that names it, prometheus-client's own; it must be set before that is imported."""


def forget_process(directory: Path, pid: int) -> None:
    """Take what a process that has ended showed of its state out of the sums; what it counted stays in them."""
    for file in directory.glob(f"gauge_live*_{pid}.db"):
        file.unlink(missing_ok=True)
