"""`ostiary run` as a process of its own, and what a test may ask of it and of its children."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.support.patience import PATIENCE, START

OPEN = """\
version: 2
apis: [inference]
providers:
  inference:
    - {provider_id: echo, provider_type: inline::echo}
models:
  - {model_id: m, provider_id: echo}
server:
  decision_log: LOG
"""

# What the command line would do, with another time for what is under way at the end.
WITH_GRACE = (
    "import server.process.uvicorn_server as end; end.GRACE_SECONDS = %f; from server.cli.main import main; main()"
)


def environment(folder: Path, opa: Path) -> dict[str, str]:
    """What a server started by a test sees of the world."""
    (folder / "run").mkdir(mode=0o700, exist_ok=True)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "OSTIARY_OPA": str(opa),
        "XDG_RUNTIME_DIR": str(folder / "run"),
    }


def written(folder: Path, text: str) -> Path:
    """A configuration file in `folder`; `LOG` in it becomes the path of a decision log there."""
    path = folder / "config.yaml"
    path.write_text(text.replace("LOG", str(folder / "decisions.jsonl")))
    return path


def command(config: Path, *options: str, grace: float | None = None) -> list[str]:
    """How `ostiary run` is called; `grace` is the number of seconds that it grants to what is under way at its end."""
    start = ["-m", "server.cli.main"] if grace is None else ["-c", WITH_GRACE % grace]
    return [sys.executable, *start, "run", str(config), *options]


def refusal(config: Path, environ: dict[str, str], *options: str) -> str:
    """What a server says that doesn't start."""
    done = subprocess.run(
        command(config, *options), env=environ, capture_output=True, text=True, timeout=START, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@dataclass
class Running:
    """A server that has announced itself; `said` is everything it has written to standard error so far."""

    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)
    address: str = ""

    @property
    def banner(self) -> str:
        """All that was said, as one text."""
        return "".join(self.said)

    @property
    def port(self) -> int:
        """Where it listens."""
        return httpx.URL(self.address).port or 0

    @property
    def opa(self) -> int:
        """The process id of its OPA."""
        (pid,) = [pid for pid in children(self.process.pid) if "server.process.worker" not in command_line(pid)]
        return pid

    @property
    def workers(self) -> list[int]:
        """The process ids of its workers."""
        return [pid for pid in children(self.process.pid) if "server.process.worker" in command_line(pid)]

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def has_said(self, text: str) -> bool:
        """Whether it says so, within the time that is granted."""
        return eventually(lambda: text in self.banner)


@contextmanager
def running(config: Path, environ: dict[str, str], *options: str, grace: float | None = None) -> Iterator[Running]:
    """A server on a free port, once it has announced itself; killed at the end if it still runs."""
    process = subprocess.Popen(
        command(config, "--port", "0", *options, grace=grace), env=environ, stderr=subprocess.PIPE, text=True
    )
    server = Running(process)
    lines: queue.Queue[str | None] = queue.Queue()

    def listen() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            server.said.append(line)
            lines.put(line)
        lines.put(None)

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        while "Try in another terminal" not in (line := lines.get(timeout=START) or ""):
            assert line, server.banner
        server.address = next(line.split()[-1] for line in server.said if " serves on " in line)
        yield server
    finally:
        process.kill()
        process.wait()
        listener.join(PATIENCE)
        assert process.stderr is not None
        process.stderr.close()


def eventually(condition: Callable[[], bool]) -> bool:
    """Return whether the condition holds at some time from now on; a server that does not answer yet is none.

    There is time for a server to start, and for another look after one that got no answer.
    """
    deadline = time.monotonic() + START
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            if condition():
                return True
        time.sleep(0.02)
    return False


def children(parent: int) -> list[int]:
    """The processes that this one has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == parent and fields[0] != "Z":
            found.append(int(path.parent.name))
    return sorted(found)


def command_line(pid: int) -> str:
    """How a process was called; empty once it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def alive(pid: int) -> bool:
    """Whether the process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(pids: list[int]) -> bool:
    """Whether all of them end, within the time that is granted."""
    return eventually(lambda: not any(map(alive, pids)))
