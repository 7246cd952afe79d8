"""A server that keeps files, in a process of its own, for tests that kill it: prints its port, and serves till its end.

Its arguments are the configuration, and the most bytes that a file of any kind may grow to, or 0.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from server.wiring import application
from tests.support.application import AlwaysReady
from tests.support.real_policy import read
from tests.support.serving import Address, serving
from tests.support.unsafe_policy import UnsafePermitAll

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def files_server(config: str, most_bytes: int = 0) -> Iterator[tuple[Address, subprocess.Popen[str]]]:
    """The server in a process of its own, which permits everything to everybody; killed in the end."""
    command = [sys.executable, "-m", "tests.support.files_process", config, str(most_bytes)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line, "the server did not start"
            yield Address("127.0.0.1", int(line)), process
        finally:
            process.kill()


if __name__ == "__main__":
    if int(sys.argv[2]):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
    with serving(application.build(read(sys.argv[1]), UnsafePermitAll(), None, AlwaysReady())) as address:
        print(address.port, flush=True)  # noqa: T201 - read by the test
        sys.stdin.read()
