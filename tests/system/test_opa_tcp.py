"""An OPA of its own over TCP, locked by a token: the same code, only the address differs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from policy.vocabulary import Action, Origin, Principal, Resource
from server.authz.contract.errors import Failure, PolicyUnavailable
from server.authz.contract.question import Question, encode, encode_many, together
from server.authz.opa.command import ENVIRONMENT
from server.authz.opa.control_plane import ControlPlane
from server.authz.opa.transport import Entrypoint, OpaTransport, TcpAddress
from server.authz.pdp import PolicyDecisionPoint
from server.authz.readiness import AuthenticationMode, Readiness, ReadinessProbe
from tests.support.opa_server import REGO, write_bundle
from tests.support.patience import PATIENCE
from tests.support.ports import free_port

TOKEN = "the-servers-own-token-long-enough-to-be-one"
TOKENS = {"ostiary_tokens": {"server": TOKEN, "operator": "the-operators-token-long-enough-to-be-one"}}
REFUSED = "opa answered with status 4"
QUESTION = Question(Principal("alice"), None, Action.READ, Resource("model", ("llama",), None, Origin.CONFIG))


@contextlib.contextmanager
def locked(opa: Path, folder: Path, *options: str) -> Iterator[int]:
    """Where an OPA listens that is locked by the real lock; what it says goes to `opa.log`."""
    port = free_port()
    (folder / "tokens.json").write_text(json.dumps(TOKENS))
    bundle = write_bundle(folder / "bundle.tar.gz")
    with (folder / "opa.log").open("wb") as log:
        process = subprocess.Popen(
            [
                str(opa),
                *("run", "--server", "--addr", f"127.0.0.1:{port}", "--skip-version-check", "--log-level", "error"),
                *("--authentication", "token", "--authorization", "basic", *options),
                *("--set", "bundles.main.resource=" + bundle.as_uri()),
                *(
                    str(REGO / "system/authz/authz.rego"),
                    str(REGO / "system/log/mask.rego"),
                    str(folder / "tokens.json"),
                ),
            ],
            env=ENVIRONMENT,
            stderr=log,
        )
    try:
        yield port
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def port(opa_binary: Path, tmp_path: Path) -> Iterator[int]:
    """Where a locked OPA listens."""
    with locked(opa_binary, tmp_path) as port:
        yield port


async def readiness_over(address: TcpAddress) -> tuple[Readiness, PolicyDecisionPoint, OpaTransport]:
    transport, control = OpaTransport(address), ControlPlane(address)
    pdp = PolicyDecisionPoint(transport, "r1")
    probe = ReadinessProbe(pdp, control, AuthenticationMode.CONFIGURED)
    try:
        for _ in range(500):
            readiness = await probe.check()
            if readiness.ready or REFUSED in str(readiness.reason):
                break
            await asyncio.sleep(0.02)  # it listens before its bundle is active
        return readiness, pdp, transport
    finally:
        await control.close()


def test_decisions_over_tcp_with_the_token(port: int) -> None:
    async def main() -> None:
        readiness, pdp, transport = await readiness_over(TcpAddress("127.0.0.1", port, TOKEN))
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


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health", 200),
        ("GET", "/metrics", 200),
        ("POST", "/v1/data/ostiary/decision/answer?strict-builtin-errors=true", 200),
        ("POST", "/v1/data/ostiary/decision/answer?explain=full", 401),
        ("POST", "/v1/data/ostiary/settings", 401),
        ("POST", "/v1/query", 401),
        ("GET", "/v1/data", 401),
        ("GET", "/v1/policies", 401),
        ("PUT", "/v1/policies/mine", 401),
        ("PUT", "/v1/data/ostiary_tokens", 401),
        ("PATCH", "/v1/data", 401),
    ],
)
def test_the_servers_token_opens_what_it_needs_and_nothing_else(port: int, method: str, path: str, status: int) -> None:
    async def main() -> int:
        _, _, transport = await readiness_over(TcpAddress("127.0.0.1", port, TOKEN))
        transport.close()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
            headers = {"Authorization": f"Bearer {TOKEN}"}
            answer = await client.request(method, path, headers=headers, json={"input": {"principal": None}})
            return answer.status_code

    assert asyncio.run(main()) == status


def answered(url: str, body: bytes) -> bool:
    """Ask until the bundle is active: OPA listens before that."""
    for _ in range(500):
        with contextlib.suppress(httpx.TransportError):
            answer = httpx.post(url, headers={"Authorization": f"Bearer {TOKEN}"}, content=body, timeout=PATIENCE)
            if answer.status_code == httpx.codes.OK and answer.json().get("result"):
                return True
        time.sleep(0.02)
    return False


def test_opas_own_decision_log_leaves_attributes_and_tokens_out(opa_binary: Path, tmp_path: Path) -> None:
    caller = Principal("alice", "https://issuer.example", {"roles": ("canary-role",)})
    owned = Resource("prompt", ("p",), Principal("bob", "", {"teams": ("canary-team",)}))
    questions = [
        Question(caller, None, Action.READ, owned),
        Question(caller, None, Action.CREATE, Resource("prompt", ("p",))),
    ]

    many, _ = encode_many(questions, 10_000)
    bodies = [
        (Entrypoint.DECISION, encode(questions[0])),
        (Entrypoint.DECISIONS, many),
        (Entrypoint.DECISIONS, together([encode(question) for question in questions])),
    ]
    with locked(opa_binary, tmp_path, "--set", "decision_logs.console=true", "--log-level", "info") as port:
        for entrypoint, body in bodies:
            assert answered(f"http://127.0.0.1:{port}{entrypoint}", body)
    log = (tmp_path / "opa.log").read_text()
    assert log.count("Decision Log") >= 3
    assert "alice" in log
    assert "canary" not in log
    assert TOKEN not in log
