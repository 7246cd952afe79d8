"""The whole server, wired as in production, with an OPA that the test brings, and what must be true when that fails."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.applications import Starlette

from server.authn import Authenticator
from server.authz.opa.transport import TcpAddress, UnixAddress
from server.authz.pep import PolicyEnforcementPoint
from server.authz.readiness import ReadinessProbe
from server.wiring import application, decisions
from server.wiring.policy_engine import Plan
from tests.support.metrics_page import Measured
from tests.support.patience import PATIENCE
from tests.support.real_policy import RealPolicy, read
from tests.support.serving import Address, Answer, serving

CONFIG = """
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

ROUTE, BOTH, LIST = "a route", "a route and a model", "a list of models"
CHAT = {"model": "m", "messages": [{"role": "user", "content": "canary-prompt"}]}


@dataclass(frozen=True, slots=True)
class Judges:
    """Who decides, and who knows how that is going."""

    pep: PolicyEnforcementPoint
    probe: ReadinessProbe


@dataclass(frozen=True, slots=True)
class Doubted:
    """The running server; `headers` are those of a caller whom the policy permits everything."""

    address: Address
    log: Path
    headers: tuple[str, ...]

    def ask(self, question: str) -> Answer:
        """The answer to a request that puts that question to OPA."""
        if question == BOTH:
            return self.address.post("/v1/chat/completions", CHAT, *self.headers)
        return self.address.get("/v1/models" if question == LIST else "/v1/version", *self.headers)

    def undecided(self, answer: Answer) -> dict[str, Any]:
        """The line that says that there was no decision about the request that `answer` answers, once it is written."""
        deadline = time.monotonic() + PATIENCE
        while True:
            lines = self.log.read_text().splitlines(keepends=True)
            for record in (json.loads(line) for line in reversed(lines) if line.endswith("\n")):
                if (record["request_id"], record["effect"]) == (answer.headers["x-request-id"], "unavailable"):
                    return record
            assert time.monotonic() < deadline, lines[-3:]
            time.sleep(0.005)

    def unavailable(self, *reasons: str) -> float:
        """How many questions had no decision for these reasons."""
        return sum(self.metric("ostiary_policy_unavailable_total", reason=reason) for reason in reasons)

    def metric(self, name: str, **labels: str) -> float:
        """What `/metrics` says."""
        return Measured(self.decided(lambda: self.address.get("/metrics", *self.headers))).value(name, **labels)

    def until_served(self) -> None:
        """Return when requests are decided; a breaker needs a moment to close."""
        assert self.decided(lambda: self.ask(ROUTE)).status == 200

    def decided(self, ask: Callable[[], Answer], seconds: float = 20.0) -> Answer:
        """The first answer that is a decision: on a busy machine even a good OPA may be late now and then."""
        deadline = time.monotonic() + seconds
        while (answer := ask()).status == 503:
            assert time.monotonic() < deadline, self.address.get("/v1/health/ready", *self.headers).body
            time.sleep(0.02)
        return answer


def check_refused(house: Doubted, answer: Answer) -> None:
    """Nobody was let in, nobody was refused, the client knows what to do, and the log has it."""
    assert answer.status == 503, answer
    assert answer.error["code"] == "policy_unavailable"
    assert answer.error["type"] == "server_error"
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["x-should-retry"] == "true"
    record = house.undecided(answer)
    assert record["reason"]
    assert record["rule"] is record["source"] is None


def check_unready(house: Doubted) -> None:
    """Readiness says that there is no decision, and why."""
    answer = house.address.get("/v1/health/ready", *house.headers)
    assert answer.status == 503
    assert answer.json["status"] == "unavailable"
    assert answer.json["policy"]["reason"]


@contextmanager
def in_doubt(
    opa: UnixAddress | TcpAddress,
    revision: str,
    folder: Path,
    *,
    text: str = CONFIG,
    authenticator: Authenticator | None = None,
    headers: tuple[str, ...] = (),
) -> Iterator[Doubted]:
    """The server that `text` describes, asking `opa` for the policy `revision`."""
    log = folder / "decisions.jsonl"
    config = read(text.replace("LOG", str(log)))
    telemetry, policy = decisions.measured(config), RealPolicy()
    app = application.build(config, policy, authenticator, policy, telemetry)
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with decisions.open_enforcement(Plan(config, revision, opa), telemetry) as judges, inner(app):
            policy.world = Judges(*judges)  # type: ignore[assignment]  # as much of a world as is asked for
            yield

    app.router.lifespan_context = lifespan
    with serving(app) as address:
        yield Doubted(address, log, headers)
