"""The cost of one decision within the server: the enforcement point, its log, and a real OPA."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from bench.policies import FAST
from bench.processes import Running
from bench.tokens import ISSUER
from policy.vocabulary import Action, Origin, Principal, Resource, Route
from server.authz.decision_log.log import DecisionLog
from server.authz.opa.transport import OpaTransport, UnixAddress
from server.authz.pdp import PolicyDecisionPoint
from server.authz.pep import PolicyEnforcementPoint
from server.authz.request_context import RequestContext

TOGETHER: Final = 8

_WARM_UP: Final = 200


@dataclass(frozen=True, slots=True)
class DecisionCost:
    """Milliseconds for a question about route and resource: alone, and with `TOGETHER` concurrent ones."""

    p50: float
    python_cpu: float
    together_python_cpu: float
    together_opa_cpu: float


async def decision_cost(server: Running, folder: Path, count: int) -> DecisionCost:
    """Return the cost over `count` questions of each kind, sent to the OPA of an idle server.

    `folder` is where that server has its socket, and where the decisions are logged.
    """
    log = DecisionLog.to_file(folder / "asked.jsonl")
    transport = OpaTransport(UnixAddress(_socket(folder)))
    try:
        pep = PolicyEnforcementPoint(PolicyDecisionPoint(transport, None), log)
        await _ask(pep, _WARM_UP)
        began = time.process_time()
        alone = await _ask(pep, count)
        between, opa_before = time.process_time(), server.cost().opa
        await asyncio.gather(*(_ask(pep, count // TOGETHER) for _ in range(TOGETHER)))
        ended, opa_after = time.process_time(), server.cost().opa
    finally:
        transport.close()
        await log.close()
    return DecisionCost(
        p50=median(alone) * 1000,
        python_cpu=(between - began) / count * 1000,
        together_python_cpu=(ended - between) / count * 1000,
        together_opa_cpu=(opa_after - opa_before) / count * 1000,
    )


def _socket(folder: Path) -> Path:
    return next(path for path in folder.rglob("*") if path.is_socket())


async def _ask(pep: PolicyEnforcementPoint, count: int) -> list[float]:
    """Return the seconds for each of `count` questions, asked one after the other."""
    caller = Principal("user-1", ISSUER, {"roles": ("developer",), "teams": ("ml", "search")})
    context = RequestContext("req_bench", caller)
    route = Route("POST", "/v1/chat/completions")
    resource = Resource("model", (f"bench/{FAST}", FAST), None, Origin.CONFIG)
    times = []
    for _ in range(count):
        began = time.perf_counter()
        await pep.permit_route_and_access(context, route, Action.READ, resource)
        times.append(time.perf_counter() - began)
    return times
