"""The cost of large uploads, for the server and for other callers: `python -m bench.uploads`.

The server runs as `ostiary run` starts it, with its own OPA; uploads and health checks come from different processes.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

from bench.processes import Running, running
from translators import opa

MB: Final = 1024 * 1024

_BOUNDARY: Final = b"a-boundary-of-the-bench"
_START: Final = (
    b'--%b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nassistants\r\n'
    b'--%b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
) % (_BOUNDARY, _BOUNDARY)
_END: Final = b"\r\n--%b--\r\n" % _BOUNDARY
_HEALTH: Final = b"GET /v1/health HTTP/1.1\r\nHost: here\r\n\r\n"
_CONFIG: Final = "version: 2\napis: [inference]\nserver: {decision_log: LOG}\n"
_PAUSE: Final = 0.005


@dataclass(frozen=True, slots=True)
class Uploaded:
    """The results of `count` concurrent uploads of `size` MB each.

    MB a second, the MB by which the server's memory grew, and the seconds for each `/v1/health` during them, sorted.
    """

    count: int
    size: int
    rate: float
    grown: float
    health: Sequence[float]

    def slowest(self, share: float) -> float:
        """Return the milliseconds within which that share of the answers came."""
        return self.health[min(int(len(self.health) * share), len(self.health) - 1)] * 1000


def measured() -> Iterator[Uploaded]:
    """Measure no upload, one large upload, and many concurrent ones."""
    with _server() as server:
        _uploads(server.port, 1, 1)
        with _apart(time.sleep, 3) as nothing:
            yield Uploaded(0, 0, 0.0, 0.0, sorted(_watched(server.port, nothing)))
        for count, size in ((1, 100), (64, 10)):
            before, began = _peak(server), time.perf_counter()
            with _apart(_uploads, server.port, count, size) as uploading:
                health = sorted(_watched(server.port, uploading))
            rate = count * size / (time.perf_counter() - began)
            yield Uploaded(count, size, rate, _peak(server) - before, health)


def main() -> None:
    """Measure and print."""
    for one in measured():
        health = f"health p50 {one.slowest(0.5):.1f} ms, p99 {one.slowest(0.99):.1f} ms, worst {one.slowest(1):.1f} ms"
        memory = f"{one.rate:.0f} MB/s, memory +{one.grown:.0f} MB"
        sys.stdout.write(f"{one.count} x {one.size} MB: {memory}, {health} of {len(one.health)}\n")


@contextmanager
def _server() -> Iterator[Running]:
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        config = folder / "config.yaml"
        config.write_text(_CONFIG.replace("LOG", str(folder / "decisions.jsonl")))
        places = {"XDG_RUNTIME_DIR": name, "OSTIARY_HOME": str(folder / "home"), "OSTIARY_OPA": str(opa.find())}
        command = ["server.cli.main", "run", str(config), "--port", "0"]
        with running(command, folder / "said", {**os.environ, **places}) as server:
            yield server


def _peak(server: Running) -> float:
    """Return the server's peak memory in megabytes."""
    lines = Path(f"/proc/{server.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


@contextmanager
def _apart(work: Callable[..., None], *given: object) -> Iterator[BaseProcess]:
    """Run a function in a process, awaited at the end; raise RuntimeError if it failed."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=given)
    process.start()
    yield process
    process.join()
    if process.exitcode:
        raise RuntimeError("an upload failed")


def _watched(port: int, uploading: BaseProcess) -> Iterator[float]:
    """Yield the seconds for each `/v1/health`, requested until the other process has ended."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        while uploading.is_alive():
            began = time.perf_counter()
            connection.sendall(_HEALTH)
            answer = b""
            while not answer.endswith(b"}"):
                answer += connection.recv(65536)
            yield time.perf_counter() - began
            time.sleep(_PAUSE)


def _uploads(port: int, count: int, size: int) -> None:
    threads = [threading.Thread(target=_upload, args=(port, size)) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _upload(port: int, size: int) -> None:
    head = b"POST /v1/files HTTP/1.1\r\nHost: here\r\nContent-Type: multipart/form-data; boundary=%b\r\n" % _BOUNDARY
    head += b"Content-Length: %d\r\n\r\n" % (len(_START) + size * MB + len(_END))
    block = os.urandom(MB)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head + _START)
        for _ in range(size):
            connection.sendall(block)
        connection.sendall(_END)
        if b" 200 " not in connection.recv(65536)[:20]:
            os._exit(1)


if __name__ == "__main__":
    main()
