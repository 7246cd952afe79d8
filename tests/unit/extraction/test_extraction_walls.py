"""The walls around a process that reads a file: each is tried from inside."""

from __future__ import annotations

import ctypes
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.extraction import extracted

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the walls are Linux's")

ROOT = Path(__file__).parents[3]
syscall = ctypes.CDLL(None).syscall
INSIDE = """
import json, os, signal, socket, sys, threading
sys.path.append(sys.argv[1])
from server.extraction import confinement
without = sys.argv[2].split(",")
if "namespaces" in without:
    confinement._enter_namespaces = lambda libc: None
if "root" in without:
    confinement._enter_empty_root = lambda libc: None
if "landlock" in without:
    confinement.lock_files_and_ports = lambda libc: False
if "filter" in without:
    confinement.filter_system_calls = lambda libc: False
tcp, udp, path, abstract, folder, parent = sys.argv[3:]
confinement.limit(10)
walls = confinement.confine(int(parent))

def connect(family, kind, address):
    with socket.socket(family, kind) as made:
        made.connect(address)
        made.send(b"x")

def fork():
    if os.fork() == 0:
        os._exit(0)
    os.wait()

attempts = {
    "read a file": lambda: open("/etc/passwd").read(1),
    "see a file": lambda: os.stat("/etc/passwd"),
    "write a file": lambda: open(folder + "/written", "w").close(),
    "tcp": lambda: connect(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", int(tcp))),
    "udp": lambda: connect(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", int(udp))),
    "socket with a path": lambda: connect(socket.AF_UNIX, socket.SOCK_STREAM, path),
    "abstract socket": lambda: connect(socket.AF_UNIX, socket.SOCK_STREAM, "\\0" + abstract),
    "fork": fork,
    "run a program": lambda: os.posix_spawn("/bin/sh", ["sh", "-c", "true"], {}),
    "signal": lambda: os.kill(int(parent), 0),
    "more memory": lambda: bytearray(2 << 30) and None,
}
done = []
for name, attempt in attempts.items():
    try:
        attempt()
    except (OSError, MemoryError):
        continue
    done.append(name)
os.write(1, json.dumps({"walls": walls, "done": done}).encode() + b"\\n")
try:
    os.execv("/bin/sh", ["sh", "-c", "echo program"])
except OSError:
    os._exit(0)
"""
FILES = {"read a file", "write a file", "become a program"}
NETWORK = {"tcp", "udp", "socket with a path", "abstract socket"}
PROCESSES = {"fork", "run a program"}


@dataclass(frozen=True)
class Outside:
    """Things to be reached: a port of each kind, sockets with a path and without, and a folder."""

    tcp: socket.socket
    udp: socket.socket
    path: socket.socket
    abstract: socket.socket
    folder: Path

    def reached(self, without: str) -> tuple[set[str], set[str]]:
        """Return the walls that a process without some of its means says it has, and what it can do."""
        named = self.abstract.getsockname()
        given = [
            *(str(self.tcp.getsockname()[1]), str(self.udp.getsockname()[1]), self.path.getsockname()),
            *(named[1:].decode(), str(self.folder)),
        ]
        code = f"import os, sys; sys.argv.append(str(os.getppid()))\n{INSIDE}"
        run = subprocess.run(
            [sys.executable, "-I", "-S", "-B", "-c", code, str(ROOT), without, *given],
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        first, *more = run.stdout.splitlines()
        told = json.loads(first)
        return set(told["walls"]), set(told["done"]) | ({"become a program"} if more else set())


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    folder = tmp_path_factory.mktemp("o")
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_UNIX) as path,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        udp.bind(("127.0.0.1", 0))
        path.bind(str(folder / "s"))
        abstract.bind("\0ostiary-test-" + folder.name)
        for each in (path, abstract):
            each.listen()
        yield Outside(tcp, udp, path, abstract, folder)


def test_a_process_can_reach_nothing(outside: Outside) -> None:
    assert outside.reached("") == ({"files", "network", "processes"}, set())
    assert not (outside.folder / "written").exists()


def test_the_attempts_succeed_without_walls(outside: Outside) -> None:
    walls, done = outside.reached("namespaces,landlock,filter")
    assert not walls & {"files", "network"}
    assert done >= FILES | NETWORK | {"signal"}


@pytest.mark.parametrize("without", ["namespaces", "landlock", "namespaces,landlock"])
def test_the_filter_of_system_calls_is_enough(outside: Outside, without: str) -> None:
    assert outside.reached(without) == ({"files", "network", "processes"}, set())


@pytest.mark.parametrize("without", ["filter", "filter,landlock", "filter,namespaces", "filter,root"])
def test_what_is_said_of_the_walls_is_so(outside: Outside, without: str) -> None:
    walls, done = outside.reached(without)
    for wall, attempts in (("files", FILES), ("network", NETWORK), ("processes", PROCESSES)):
        if wall in walls:
            assert not done & attempts, wall


@pytest.mark.skipif(syscall(444, None, 0, 1) < 1, reason="this Linux has no Landlock")
def test_landlock_alone_closes_files_and_ports(outside: Outside) -> None:
    walls, done = outside.reached("filter,namespaces")
    assert "files" in walls
    assert not done & (FILES | {"tcp"})


def test_namespaces_alone_close_files_and_the_network(outside: Outside) -> None:
    refused = "import ctypes, sys; sys.exit(ctypes.CDLL(None).unshare(0x10020000))"
    if subprocess.run([sys.executable, "-c", refused], check=False).returncode != 0:
        pytest.skip("namespaces are refused here")
    walls, done = outside.reached("filter,landlock")
    assert walls >= {"files", "network"}
    assert not done & (FILES | NETWORK | {"see a file"})


def test_an_ordinary_file_is_read_behind_all_walls() -> None:
    assert extracted(b"some words").sandboxed
