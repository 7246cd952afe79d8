"""The user's own directory: the development key, API keys, and what else outlives a run without being configured."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

HOME_VARIABLE: Final = "OSTIARY_HOME"

RECORDS_FILE: Final = "records.db"
FILES_FOLDER: Final = "files"


def home() -> Path:
    """`OSTIARY_HOME`, or `~/.ostiary`."""
    return Path(os.environ.get(HOME_VARIABLE) or "~/.ostiary").expanduser()
