"""Whatever happens to a real OPA, every request is a 503 until it decides by the wanted policy again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from server.authz.opa.command import ENVIRONMENT, run_arguments
from server.authz.opa.transport import UnixAddress
from tests.support.application import ByToken
from tests.support.failing_policy import BOTH, CONFIG, LIST, ROUTE, Doubted, check_refused, check_unready, in_doubt
from tests.support.opa_server import ROUTES, write_bundle
from tests.support.patience import PATIENCE

AUTHENTICATED = (
    CONFIG
    + """
      auth:
        provider_config: {type: oauth2_token, jwks: {uri: "https://issuer.example/keys"}}
        route_policy: [{permit: {paths: "*"}}]
"""
)
OPEN_ROUTES = ROUTES.replace('"/v1/"', '"/"')


class Opa:
    """A real OPA on a Unix socket, to be broken; nobody starts it again."""

    def __init__(self, binary: Path, folder: Path) -> None:
        self.address = UnixAddress(folder / "s")
        self.folder = folder
        self._binary = binary
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, **bundle: Any) -> None:
        """With a bundle of revision `r1`, but for what `bundle` says."""
        self.run(write_bundle(self.folder / "bundle.tar.gz", **{"routes": OPEN_ROUTES} | bundle))

    def run(self, bundle: Path | None) -> None:
        """With that bundle, or with none; return when it answers, whatever it says, or has ended."""
        self.kill()
        self.address.path.unlink(missing_ok=True)
        arguments = run_arguments(self.address.path, bundle or self.folder)
        if bundle is None:
            arguments = arguments[: arguments.index("--bundle")]
        self._process = subprocess.Popen(
            [self._binary, *arguments],
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while self._process.poll() is None and not self._answers():
            time.sleep(0.01)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            try:
                connection.connect(str(self.address.path))
                connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
                return bool(connection.recv(64))
            except OSError:
                return False

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def vanish(self) -> None:
        """End it, and remove its socket."""
        self.kill()
        self.address.path.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def opa(opa_binary: Path) -> Iterator[Opa]:
    # Not below pytest's folders: the path of a Unix socket may hold about 100 characters.
    with tempfile.TemporaryDirectory(prefix="ostiary-") as folder:
        running = Opa(opa_binary, Path(folder))
        try:
            yield running
        finally:
            running.kill()


@pytest.fixture(scope="module")
def running(opa: Opa) -> Iterator[Doubted]:
    caller = ("Authorization: Bearer admin",)
    with in_doubt(opa.address, "r1", opa.folder, text=AUTHENTICATED, authenticator=ByToken(), headers=caller) as house:
        yield house


@pytest.fixture
def house(opa: Opa, running: Doubted) -> Doubted:
    """The server, with an OPA that decides."""
    opa.start()
    running.until_served()
    return running


ROWS: dict[str, tuple[Callable[[Opa], None], frozenset[str]]] = {
    "killed": (Opa.kill, frozenset({"unreachable", "closed"})),
    "killed and its socket gone": (
        Opa.vanish,
        frozenset({"unreachable", "closed"}),
    ),
    "stopped": (lambda opa: opa.signal(signal.SIGSTOP), frozenset({"deadline"})),
    "asked to end": (lambda opa: opa.signal(signal.SIGTERM), frozenset({"unreachable", "closed"})),
    "restarted without a bundle": (lambda opa: opa.run(None), frozenset({"malformed"})),
    "restarted with another revision": (lambda opa: opa.start(revision="r0"), frozenset({"revision"})),
    "restarted with another contract": (lambda opa: opa.start(contract=2), frozenset({"malformed"})),
    "restarted without the law": (lambda opa: opa.start(law=False), frozenset({"malformed"})),
    "restarted with rules that don't compile": (
        lambda opa: opa.start(access="package ostiary.access\n\npermit := 1\n"),
        frozenset({"unreachable"}),
    ),
    "restarted with a built-in that fails": (
        lambda opa: opa.start(routes=f"{OPEN_ROUTES}\npermit contains 2 if to_number(input.route.method) > 0\n"),
        frozenset({"status"}),
    ),
    "restarted with a bundle that is none": (lambda opa: opa.run(_no_bundle(opa.folder)), frozenset({"unreachable"})),
}


def _no_bundle(folder: Path) -> Path:
    path = folder / "none.tar.gz"
    path.write_bytes(b"no bundle")
    return path


@contextmanager
def broken(opa: Opa, row: str) -> Iterator[None]:
    """OPA in the state that the row names."""
    ROWS[row][0](opa)
    try:
        yield
    finally:
        opa.kill()


@pytest.mark.parametrize("row", ROWS)
def test_a_broken_opa_is_a_503_until_it_decides_again(house: Doubted, opa: Opa, row: str) -> None:
    reasons = ROWS[row][1]
    before = house.unavailable(*reasons)
    with broken(opa, row):
        until_undecided(house)
        for question in (ROUTE, BOTH, LIST):
            check_refused(house, house.ask(question))
        check_unready(house)
        assert house.address.get("/v1/version").status == 503
    opa.start()
    house.until_served()
    assert house.unavailable(*reasons) > before
    assert house.address.get("/v1/health/ready", *house.headers).json["policy"]["reason"] is None


def until_undecided(house: Doubted) -> None:
    """An OPA that is asked to end decides for a moment longer, rightly; from the first 503 on there is no way back."""
    for _ in range(1000):
        if house.ask(ROUTE).status != 200:
            return
    raise AssertionError("opa goes on deciding")


def test_an_opa_that_was_never_there_is_a_503(opa_binary: Path, tmp_path: Path) -> None:
    with in_doubt(UnixAddress(tmp_path / "nothing"), "r1", tmp_path) as house:
        for question in (ROUTE, BOTH, LIST):
            check_refused(house, house.ask(question))
        check_unready(house)
