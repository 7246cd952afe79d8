"""A session with a real OPA for commands: one child process on a private Unix socket."""

from __future__ import annotations

import ctypes
import http.client
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from translators.compiler import Bundle
from translators.opa import find

_ANSWERS = "/v1/data/ostiary/decision/answers?strict-builtin-errors=true"
_START_SECONDS = 30.0
_PR_SET_PDEATHSIG = 1


class OpaFailed(Exception):
    """Raised if OPA didn't start or gave an unusable answer; the message includes OPA's own."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _end_with_parent() -> None:
    """Have the kernel end OPA when its parent is killed, on Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class OpaSession:
    """A context in which `ask` sends questions to OPA; the process ends with the context."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    def __enter__(self) -> OpaSession:
        with ExitStack() as opened:
            # A start that fails ends the process and removes the directory; only one that is whole keeps them.
            self._start(opened)
            self._stack = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def ask(self, questions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the answers to `questions`, in their order; raise OpaFailed unless there is one answer for each."""
        body = json.dumps({"input": {"questions": questions}})
        try:
            self._connection.request("POST", _ANSWERS, body, {"Content-Type": "application/json"})
            response = self._connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise OpaFailed(f"OPA did not answer: {error}") from error
        answers = json.loads(content).get("result") if response.status == http.HTTPStatus.OK else None
        if not isinstance(answers, list) or len(answers) != len(questions):
            raise OpaFailed(f"OPA answered {response.status}: {content[:300].decode(errors='replace')}")
        return answers

    def _start(self, opened: ExitStack) -> None:
        directory = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="ostiary-")))
        archive = directory / "bundle.tar.gz"
        archive.write_bytes(self._bundle.archive)
        address = directory / "opa.sock"
        self._complaints = directory / "opa.log"
        command: list[str | Path] = [find(), "run", "--server", "--skip-version-check", "--log-level", "error"]
        with self._complaints.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - fixed arguments, no shell
                [*command, "--addr", f"unix://{address}", "--unix-socket-perm", "0600", "--bundle", archive],
                stdin=subprocess.DEVNULL,
                stdout=log,  # OPA says here why a bundle can't be loaded
                stderr=log,
                preexec_fn=_end_with_parent,
            )
        opened.callback(self._stop)
        self._connection = _UnixConnection(address)
        opened.callback(self._connection.close)
        self._await_start()

    def _await_start(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise OpaFailed(
                    f"OPA ended at its start: {self._complaints.read_text(errors='replace').strip()[:2000]}"
                )
            try:
                # The socket exists a moment before OPA listens on it.
                self._connection.connect()
            except (FileNotFoundError, ConnectionRefusedError):
                self._connection.close()
                time.sleep(0.01)
            else:
                return
        raise OpaFailed(f"OPA did not start within {_START_SECONDS:.0f} seconds")

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
