"""The user's directory: the development key, API keys, and other files that outlive a run without configuration."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final
from urllib.parse import quote

HOME_VARIABLE: Final = "OSTIARY_HOME"

RECORDS_FILE: Final = "records.db"
FILES_FOLDER: Final = "files"


def home() -> Path:
    """Return `OSTIARY_HOME`, or `~/.ostiary`."""
    return Path(os.environ.get(HOME_VARIABLE) or "~/.ostiary").expanduser()


def is_in_home(uri: str, name: str) -> bool:
    """Return whether a `file://` URL, as the configuration has it once it is read, names that file of the directory."""
    return uri == f"file://{quote(str((home() / name).absolute()))}"
