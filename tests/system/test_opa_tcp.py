"""An OPA of its own over TCP, locked by a token: the same code, only the address differs."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from opa_world import write_bundle

from policy.vocabulary import Action, Origin, Principal, Resource
from server.authz.control_plane import ControlPlane
from server.authz.errors import Failure, PolicyUnavailable
from server.authz.opa_command import ENVIRONMENT
from server.authz.pdp import PolicyDecisionPoint
from server.authz.question import Question
from server.authz.readiness import Authentication, Readiness, ReadinessProbe
from server.authz.transport import OpaTransport, TcpAddress

LOCK = """package system.authz

default allow := false

allow if input.identity == "s3cret"
"""
QUESTION = Question(Principal("alice"), None, Action.READ, Resource("model", ("llama",), None, Origin.CONFIG))


@pytest.fixture
def port(opa_binary: Path, tmp_path: Path) -> Iterator[int]:
    """Where a locked OPA listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    (tmp_path / "lock.rego").write_text(LOCK)
    bundle = write_bundle(tmp_path / "bundle.tar.gz")
    process = subprocess.Popen(
        [
            str(opa_binary),
            *("run", "--server", "--addr", f"127.0.0.1:{port}", "--skip-version-check", "--log-level", "error"),
            *("--authentication", "token", "--authorization", "basic"),
            *("--set", "bundles.main.resource=" + bundle.as_uri(), str(tmp_path / "lock.rego")),
        ],
        env=ENVIRONMENT,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield port
    finally:
        process.kill()
        process.wait()


async def readiness_over(address: TcpAddress) -> tuple[Readiness, PolicyDecisionPoint, OpaTransport]:
    transport, control = OpaTransport(address), ControlPlane(address)
    pdp = PolicyDecisionPoint(transport, "r1")
    probe = ReadinessProbe(pdp, control, Authentication.CONFIGURED)
    try:
        for _ in range(500):
            readiness = await probe.check()
            if readiness.reason != "opa can't be reached":
                break
            await asyncio.sleep(0.02)
        return readiness, pdp, transport
    finally:
        await control.close()


def test_decisions_over_tcp_with_the_token(port: int) -> None:
    async def main() -> None:
        readiness, pdp, transport = await readiness_over(TcpAddress("127.0.0.1", port, "s3cret"))
        assert (readiness.ready, readiness.reason, readiness.live_revision) == (True, None, "r1")
        answer = await pdp.ask(QUESTION)
        assert answer.resource is not None
        assert answer.resource.rule == "access_policy[1]"
        transport.close()

    asyncio.run(main())


@pytest.mark.parametrize("token", [None, "wrong"])
def test_no_decisions_without_it(token: str | None, port: int) -> None:
    async def main() -> None:
        readiness, pdp, transport = await readiness_over(TcpAddress("127.0.0.1", port, token))
        assert (readiness.ready, readiness.live_revision) == (False, None)
        with pytest.raises(PolicyUnavailable) as caught:
            await pdp.ask(QUESTION)
        assert caught.value.failure is Failure.STATUS
        transport.close()

    asyncio.run(main())
