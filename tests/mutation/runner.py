"""Runs tests again and again, each time in a fork of this process, which has imported what takes pytest long.

It reads arguments of pytest from standard input, a list in JSON a line, and answers each with its status and output.
Nothing of the project is imported here, so that each fork imports it as it is then.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import tempfile
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import pytest

LIBRARIES = (
    *("aiohttp", "asyncpg", "boto3", "botocore.auth", "botocore.session", "httpx", "jose.jwt", "openai"),
    *("prometheus_client", "pydantic", "starlette.applications", "typer.testing", "uvicorn", "uvloop", "yaml"),
)


def ended(arguments: list[str], log: Path) -> int:
    """The status of pytest, whose output goes to the file."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 3
    try:
        opened = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(opened, 1)
        os.dup2(opened, 2)
        # The libraries are there already, so that pytest can't change the asserts in them, and needn't.
        status = pytest.main([*arguments, "-W", "ignore::pytest.PytestAssertRewriteWarning"])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    sys.path[0] = str(Path.cwd())
    for name in LIBRARIES:
        with suppress(ImportError):
            import_module(name)
    gc.freeze()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        for line in sys.stdin:
            status = ended(json.loads(line), log)
            sys.stdout.write(json.dumps([status, log.read_text(errors="replace")]) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
