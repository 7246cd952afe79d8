"""Looks for the tests of the reader; a reading process imports this."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from server.json_input.strict import Document, InvalidJson


def count(document: Document) -> dict[str, Any]:
    """How many members there are, and who counted."""
    return {"members": len(document.members), "pid": os.getpid()}


def surroundings(document: Document) -> dict[str, Any]:
    """What the process can see."""
    return {"environment": dict(os.environ), "folder": str(Path.cwd())}


def complain(document: Document) -> dict[str, Any]:
    """A refusal with everything in it."""
    raise InvalidJson("`a` is wrong", "a[0]", "invalid_value")


def linger(document: Document) -> dict[str, Any]:
    """Take for ever."""
    while True:
        time.sleep(1)


def die(document: Document) -> dict[str, Any]:
    """End the process."""
    os._exit(3)


def fail(document: Document) -> dict[str, Any]:
    """A fault of ours."""
    raise KeyError("prompt-canary")


def babble(document: Document) -> dict[str, Any]:
    """Tell more than anybody wants to know."""
    return {"text": "x" * 2 * 1024 * 1024}
