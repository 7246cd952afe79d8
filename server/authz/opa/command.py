"""The command that runs OPA: its versions, arguments and environment."""

from __future__ import annotations

import asyncio
import re
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path
from typing import Final, TypeAlias

Version: TypeAlias = tuple[int, int, int]

OLDEST: Final[Version] = (1, 22, 2)
"""Older ones index rules otherwise, or can be talked out of checking a bundle's signature."""

ENVIRONMENT: Final = {"GOGC": "400", "GOMAXPROCS": "4"}
"""All that OPA sees of the environment: no proxies, no `OPA_...` flags. Collecting less often saves a sixth of its
processor time for some 20 MB. On a single core Go runs one thread by default, and then a long evaluation or a
collection delays small questions by more than the 0.25 s that they have; four threads take turns (bench/neighbours)."""

_VERSION_SECONDS: Final = 10.0
_VERSION_TRIES: Final = 3


class OpaStartFailed(Exception):
    """OPA can't be started or used; the message is one sentence that says what to do."""


async def check_version(binary: Path) -> None:
    """Return if `binary` is an OPA that is new enough, else raise OpaStartFailed."""
    for _ in range(_VERSION_TRIES):
        output, status = await _said_of_version(binary)
        if status >= 0:
            break  # it was not ended from outside
    found = re.match(rb"Version: (\d{1,6})\.(\d{1,6})\.(\d{1,6})", output)
    if found is None:
        raise OpaStartFailed(f"`{binary}` does not say which version of opa it is; run `make opa`")
    version = (int(found[1]), int(found[2]), int(found[3]))
    if version < OLDEST:
        seen, wanted = written(version), written(OLDEST)
        raise OpaStartFailed(f"`{binary}` is opa {seen}, which is too old; run `make opa` for {wanted} or newer")


async def _said_of_version(binary: Path) -> tuple[bytes, int]:
    """Return the output of `binary` about its version, and its exit status; raises OpaStartFailed if it can't start."""
    try:
        process = await asyncio.create_subprocess_exec(
            binary, "version", stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL, env=ENVIRONMENT
        )
    except OSError as fault:
        raise OpaStartFailed(f"`{binary}` can't be started: {fault.strerror}; run `make opa`") from None
    try:
        async with asyncio.timeout(_VERSION_SECONDS):
            output, _ = await process.communicate()
    except TimeoutError:
        return b"", 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return output, process.returncode or 0


def written(version: Version) -> str:
    """Return a version as people write it."""
    return ".".join(map(str, version))


def run_arguments(socket: Path, *bundles: Path) -> tuple[str, ...]:
    """Return the arguments of a server on a private socket with these bundles, that makes no calls and logs errors
    alone.
    """
    return (
        "run",
        "--server",
        *("--addr", f"unix://{socket}"),
        *("--unix-socket-perm", "0600"),
        *("--log-level", "error"),
        *("--log-format", "json"),
        *("--shutdown-grace-period", "1"),
        "--skip-version-check",
        "--bundle",
        *map(str, bundles),
    )
