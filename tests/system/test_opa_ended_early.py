"""An OPA that is ended from outside while the server starts: the server goes on, and is healthy soon after."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

import httpx
import pytest

from tests.support.ostiary_run import OPEN, children, command, command_line, environment, eventually, refusal, written
from tests.support.ports import free_port

SEED = 20261130
MOMENTS = [round(Random(SEED + number).uniform(0.0, 2.5), 2) for number in range(3)]  # noqa: S311 - no secret
"""Seconds from the moment at which OPA was started."""


class Starting:
    """A server that has just been called."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, said: Path) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}/v1/health"
        self._said = said

    @property
    def said(self) -> str:
        return self._said.read_text()

    def opas(self) -> list[int]:
        return [pid for pid in children(self.process.pid) if " run --server " in command_line(pid)]

    def healthy(self) -> bool:
        assert self.process.poll() is None, self.said
        with suppress(httpx.HTTPError):
            return httpx.get(self.url, timeout=1).status_code == 200
        return False

    def end_opa(self, number: signal.Signals) -> None:
        """End the OPA that there is, and see that it has gone."""
        for pid in self.opas():
            with suppress(ProcessLookupError):
                os.kill(pid, number)
            assert eventually(lambda pid=pid: pid not in self.opas())


@contextmanager
def starting(folder: Path, opa: Path, *options: str, text: str = OPEN) -> Iterator[Starting]:
    port, said = free_port(), folder / "said"
    called = command(written(folder, text), "--port", str(port), *options)
    with said.open("wb") as output:
        process = subprocess.Popen(called, env=environment(folder, opa), stderr=output)
    try:
        yield Starting(process, port, said)
    finally:
        process.kill()
        process.wait()


def check_recovery(server: Starting) -> None:
    assert eventually(server.healthy), server.said
    assert eventually(lambda: "Try in another terminal" in server.said), server.said
    assert server.process.poll() is None
    # And it is watched over from then on as ever.
    server.end_opa(signal.SIGKILL)
    assert eventually(server.healthy), server.said


@pytest.mark.parametrize(("workers", "number"), [("3", signal.SIGKILL), ("2", signal.SIGTERM), ("1", signal.SIGKILL)])
def test_an_opa_that_is_ended_at_the_first_healthy_answer_is_started_again(
    tmp_path: Path, opa_binary: Path, workers: str, number: signal.Signals
) -> None:
    with starting(tmp_path, opa_binary, "--workers", workers) as server:
        assert eventually(server.healthy)
        server.end_opa(number)
        check_recovery(server)


@pytest.mark.parametrize(("workers", "moment"), [("2", moment) for moment in MOMENTS] + [("1", 0.0), ("2", 0.0)])
def test_an_opa_that_is_ended_at_any_moment_of_a_start_is_started_again(
    tmp_path: Path, opa_binary: Path, workers: str, moment: float
) -> None:
    with starting(tmp_path, opa_binary, "--workers", workers) as server:
        assert eventually(lambda: bool(server.opas()))
        time.sleep(moment)
        server.end_opa(signal.SIGKILL)
        check_recovery(server)


def test_an_opa_that_is_ended_again_and_again_fails_the_start_in_the_end(tmp_path: Path, opa_binary: Path) -> None:
    """Something that always ends OPA keeps a server from starting, and that is said."""
    suicidal = tmp_path / "suicidal"
    suicidal.write_text(f'#!/bin/sh\n[ "$1" = run ] && kill -9 $$\nexec {opa_binary} "$@"\n')
    suicidal.chmod(0o700)
    config = written(tmp_path, OPEN)
    said = refusal(config, environment(tmp_path, suicidal), "--port", "0")
    assert "error: opa ended with status -9 before it was ready: it said nothing\n" in said
    assert said.count("trying again in ") > 3


def test_an_opa_that_is_ended_while_it_tells_its_version_is_asked_again(tmp_path: Path, opa_binary: Path) -> None:
    """Both who look for an OPA and who start it ask; here every other time it is ended."""
    mortal, calls = tmp_path / "mortal", tmp_path / "calls"
    every_other = f"echo >> {calls}; [ $(($(wc -l < {calls}) % 2)) = 1 ] && kill -9 $$"
    mortal.write_text(f'#!/bin/sh\nif [ "$1" = version ]; then {every_other}; fi\nexec {opa_binary} "$@"\n')
    mortal.chmod(0o700)
    with starting(tmp_path, mortal) as server:
        assert eventually(server.healthy), server.said
    assert calls.read_bytes() == b"\n" * 4
