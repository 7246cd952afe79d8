"""Several workers: one port, one OPA, one policy; each may die, and none outlives the process that started it."""

from __future__ import annotations

import errno
import os
import signal
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from tests.support.certificate import certificate
from tests.support.ostiary_run import OPEN, Running, alive, environment, eventually, gone, refusal, running, written
from tests.support.patience import PATIENCE

TWO = OPEN + "  workers: 2\n"


@pytest.fixture
def environ(tmp_path: Path, opa_binary: Path) -> dict[str, str]:
    return environment(tmp_path, opa_binary)


def processor_time(pid: int) -> int:
    """Clock ticks that the process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def models(server: Running) -> int:
    """Asked on a connection of its own."""
    return httpx.get(f"{server.address}/v1/models", timeout=PATIENCE).status_code


def test_requests_are_answered_by_all_of_them(tmp_path: Path, environ: dict[str, str]) -> None:
    with running(written(tmp_path, TWO), environ) as server:
        workers = server.workers
        assert len(workers) == 2
        before = {pid: processor_time(pid) for pid in workers}

        def both_worked() -> bool:
            with ThreadPoolExecutor(8) as pool:
                assert set(pool.map(lambda _: models(server), range(64))) == {200}
            return all(processor_time(pid) > before[pid] + 5 for pid in workers)

        assert eventually(both_worked)
        log = tmp_path / "decisions.jsonl"
        assert eventually(lambda: len(log.read_text().splitlines()) % 64 == 0)


def sockets(pid: int) -> int:
    """How many the process has open."""
    found = 0
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found += str(descriptor.readlink()).startswith("socket:")
    return found


def shares_of_a_crowd(server: Running) -> list[int]:
    """The connections that each worker takes of a hundred."""
    before = {pid: sockets(pid) for pid in server.workers}

    def taken() -> list[int]:
        return [sockets(pid) - count for pid, count in before.items()]

    with ExitStack() as crowd:
        for arrival in [crowd.enter_context(socket.socket()) for _ in range(100)]:
            arrival.setblocking(False)
            assert arrival.connect_ex(("127.0.0.1", server.port)) in (0, errno.EINPROGRESS)
        assert eventually(lambda: sum(taken()) >= 100)
        shares = taken()
    assert eventually(lambda: sum(taken()) <= 0)
    return shares


def test_a_crowd_that_comes_at_once_is_shared(tmp_path: Path, environ: dict[str, str]) -> None:
    with running(written(tmp_path, TWO), environ) as server:
        # A worker leaves others a millisecond, in which a busy machine may not run them: so there are three crowds.
        assert max(min(shares_of_a_crowd(server)) for _ in range(3)) >= 10


def test_a_worker_that_is_killed_is_replaced_while_the_other_one_goes_on(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    with running(written(tmp_path, OPEN), environ, "--workers", "2") as server:
        opa, (first, second) = server.opa, server.workers
        os.kill(first, signal.SIGKILL)
        assert gone([first])
        assert all(models(server) == 200 for _ in range(20))
        assert eventually(lambda: len(server.workers) == 2)
        assert second in server.workers
        assert server.opa == opa
        assert server.has_said("another worker serves in its place")
        assert "a worker ended with status -9; starting another in 0.1 s" in server.banner
        # The new one serves as well: it alone is there to answer.
        os.kill(second, signal.SIGKILL)
        assert gone([second])
        assert models(server) == 200


def test_a_worker_that_is_ended_gently_is_replaced_too(tmp_path: Path, environ: dict[str, str]) -> None:
    with running(written(tmp_path, TWO), environ) as server:
        first, _ = server.workers
        os.kill(first, signal.SIGTERM)
        assert gone([first])
        assert eventually(lambda: len(server.workers) == 2)
        assert "a worker ended with status 0" in server.banner
        assert models(server) == 200


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_parent_ends_everything(
    tmp_path: Path, environ: dict[str, str], number: signal.Signals
) -> None:
    with running(written(tmp_path, TWO), environ) as server:
        everything = [server.opa, *server.workers]
        server.signal(number)
        assert server.process.wait(PATIENCE) == 0
        assert gone(everything)


def test_a_parent_that_is_killed_leaves_neither_workers_nor_opa(tmp_path: Path, environ: dict[str, str]) -> None:
    config = written(tmp_path, TWO)
    with running(config, environ) as server:
        everything = [server.opa, *server.workers]
        assert all(map(alive, everything))
        server.signal(signal.SIGKILL)
        assert gone(everything)


def test_a_signal_about_certificates_disturbs_no_server_without_any(tmp_path: Path, environ: dict[str, str]) -> None:
    with running(written(tmp_path, TWO), environ) as server:
        workers = server.workers
        server.signal(signal.SIGHUP)
        assert all(models(server) == 200 for _ in range(20))
        assert server.workers == workers


def test_each_worker_says_by_itself_whether_it_is_ready(tmp_path: Path, environ: dict[str, str]) -> None:
    with running(written(tmp_path, TWO), environ) as server:
        os.kill(server.opa, signal.SIGSTOP)
        opa = server.opa
        for _ in range(8):
            answer = httpx.get(f"{server.address}/v1/health/ready", timeout=PATIENCE)
            assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
        os.kill(opa, signal.SIGCONT)

        def all_ready() -> bool:
            return all(
                httpx.get(f"{server.address}/v1/health/ready", timeout=PATIENCE).status_code == 200 for _ in range(8)
            )

        assert eventually(all_ready)


def test_what_keeps_workers_from_starting_is_said_once(tmp_path: Path, environ: dict[str, str]) -> None:
    (tmp_path / "file").touch()
    said = refusal(written(tmp_path, TWO.replace("LOG", str(tmp_path / "file" / "log"))), environ, "--port", "0")
    *_, why, last = said.splitlines()
    assert why.startswith(f"error: the decision log `{tmp_path}/file/log` can't be written")
    assert said.count(str(tmp_path / "file")) == 1
    assert last == "error: a worker ended before it could serve; what it said stands above"


def test_they_share_a_certificate_as_well(tmp_path: Path, environ: dict[str, str]) -> None:
    pem = certificate(tmp_path)
    tls = f"  tls_certfile: {pem}\n  tls_keyfile: {pem}\n"
    with running(written(tmp_path, TWO + tls), environ) as server:
        trusted = ssl.create_default_context(cafile=str(pem))
        assert server.address.startswith("https://127.0.0.1:")
        for _ in range(8):
            assert httpx.get(f"{server.address}/v1/models", verify=trusted, timeout=PATIENCE).status_code == 200
