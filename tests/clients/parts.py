"""The frame of a script that drives one client: it does its parts in order, and writes `done` and the name of each.

From the environment: SERVER, the base URL of the API, TOOLS, that of a server of tools, and the keys ALICE and BOB.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any

URL = f"{os.environ['SERVER']}/v1"
TOOLS = os.environ["TOOLS"]
ALICE, BOB = os.environ["ALICE"], os.environ["BOB"]

CHAT, VECTORS = "gpt-4o-mini", "text-embedding-3-small"
"""A chat model and an embedding model of the scripted upstream, under names that clients know."""

ECHO = "echo"
"""The model of `inline::echo`."""


def run(*parts: Callable[[], Any]) -> None:
    """Do each part; the first that fails ends the script."""
    for part in parts:
        if iscoroutinefunction(part):
            asyncio.run(part())
        else:
            part()
        sys.stdout.write(f"done {part.__name__}\n")
        sys.stdout.flush()
