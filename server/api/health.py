"""`GET /v1/health`, `GET /v1/health/ready` and `GET /v1/version`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from server.authz.errors import PolicyUnavailable
from server.authz.readiness import Readiness
from server.requests import gate_of


class Probe(Protocol):
    """What readiness is asked of; `server.authz.readiness.ReadinessProbe` is the one."""

    async def check(self) -> Readiness:
        """The state of the policy engine now; never raises."""
        ...


class Health:
    """Whether the server serves, for load balancers and for whoever is on call."""

    def __init__(self, probe: Probe, version: str, never_found: Callable[[], list[dict[str, Any]]]) -> None:
        """`never_found` gives the mapped claims that no token had, as `server.authn.tally.Tallies` does."""
        self._probe = probe
        self._version = version
        self._never_found = never_found

    async def alive(self, request: Request) -> Response:
        """OK; since the route guard has asked the policy engine by now, that engine answers."""
        return JSONResponse({"status": "OK"})

    async def ready(self, request: Request) -> Response:
        """What is in force: 200 if that is what is wanted, else 503 with the same report.

        Without an answer from the policy engine nobody is let in, but this caller learns why: it has shown a token, or
        needs none.
        """
        gate = gate_of(request.scope)
        silence = None
        try:
            await gate.enter()
        except PolicyUnavailable as failure:
            silence = failure.reason
        readiness = await self._probe.check()
        if readiness.reason is None and silence is not None:
            readiness = replace(readiness, reason=silence)
        ready = readiness.ready and gate.judged
        report = _report(readiness, ready, self._never_found())
        return JSONResponse(report) if ready else JSONResponse(report, 503, {"Retry-After": "1"})

    async def version(self, request: Request) -> Response:
        """The version of this server."""
        return JSONResponse({"version": self._version})


def _report(readiness: Readiness, ready: bool, never_found: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "status": "ready" if ready else "unavailable",
        "authentication": readiness.authentication,
        "claims_never_found": never_found,
        "policy": {
            "wanted_revision": readiness.wanted_revision,
            "live_revision": readiness.live_revision,
            "age_seconds": None if readiness.age_seconds is None else round(readiness.age_seconds, 3),
            "reason": readiness.reason,
        },
    }
