"""`GET /v1/health`, `GET /v1/health/ready` and `GET /v1/version`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from policy.vocabulary import Action, Origin, Resource
from server.authz.contract.errors import Failure, PolicyUnavailable
from server.authz.readiness import Readiness, ReadinessProbe
from server.authz.request_authorization import Gate
from server.http.api_route import ROUTE_ALONE, ApiRoute, AskingRoute
from server.http.request_state import gate_of
from server.inference.breaker import Breaker
from server.telemetry.dependencies import Dependencies, Finding, State


class HealthRoutes:
    """Tells load balancers and operators whether the server serves."""

    def __init__(
        self,
        probe: ReadinessProbe,
        version: str,
        never_found: Callable[[], list[dict[str, Any]]],
        dependencies: Dependencies,
    ) -> None:
        """`never_found` gives the mapped claims that no token had, as `server.authn.tally.Tallies` does."""
        self._dependencies = dependencies
        self._probe = probe
        self._version = version
        self._never_found = never_found
        self._policy: Finding | None = None

    def routes(self) -> list[ApiRoute]:
        """Return the routes for probes and the version."""
        return [
            ApiRoute("/v1/health", self.alive, asks=ROUTE_ALONE, name="health"),
            AskingRoute(
                "/v1/health/ready",
                self.ready,
                asks=ROUTE_ALONE,
                may_ask=[(Action.READ, "provider")],
                name="health.ready",
            ),
            ApiRoute("/v1/version", self.version, asks=ROUTE_ALONE, name="version"),
        ]

    async def alive(self, request: Request) -> Response:
        """Answer OK; the route guard has asked the policy engine by now, so that engine answers."""
        return JSONResponse({"status": "OK"})

    async def ready(self, request: Request) -> Response:
        """Report the policy in force and every dependency, with 200 if requests can be served, else with 503.

        Without an answer from the policy engine no request is served, but this caller learns why: it has shown a token,
        or needs none.
        """
        gate = gate_of(request.scope)
        silence: PolicyUnavailable | None = None
        try:
            await gate.enter()
        except PolicyUnavailable as failure:
            silence = failure
        readiness = await self._probe.check()
        fault = readiness.reason
        if fault is None and silence is not None:
            readiness = replace(readiness, reason=silence.reason)
            # A decision that can't be logged was made nevertheless.
            fault = None if silence.failure is Failure.DECISION_LOG else silence.reason
        await self._dependencies.look()
        found = {each.name: each.finding for each in self._dependencies}
        self._policy = found["policy"] = _of_policy(fault, found.get("policy", Finding(State.UNKNOWN)), self._policy)
        stopped = any(each.needed and found[each.name].state is State.DOWN for each in self._dependencies)
        ready = readiness.ready and gate.judged and not stopped
        hidden = await self._hidden(gate)
        shown = {
            each.name: _shown(found[each.name], each.breaker) for each in self._dependencies if each.name not in hidden
        }
        report = _report(readiness, _status(ready, found.values()), self._never_found(), shown)
        return JSONResponse(report) if ready else JSONResponse(report, 503, {"Retry-After": "1"})

    async def _hidden(self, gate: Gate) -> set[str]:
        """Return the dependencies that are providers which this caller may not read, or all of them if that can't be
        told.
        """
        providers = {each.provider_id: each.name for each in self._dependencies if each.provider_id is not None}
        if not gate.judged or not providers:
            return set(providers.values())
        resources = [Resource("provider", (name,), None, Origin.CONFIG) for name in providers]
        with suppress(PolicyUnavailable):
            permits = await gate.listed("provider", resources)
            return set(providers.values()) - {providers[permit.resource.names[0]] for permit in permits}
        return set(providers.values())

    async def version(self, request: Request) -> Response:
        """Answer with the version of this server."""
        return JSONResponse({"version": self._version})


def _status(ready: bool, found: Iterable[Finding]) -> str:
    if not ready:
        return "unavailable"
    return "degraded" if any(each.state in (State.DEGRADED, State.DOWN) for each in found) else "ready"


def _of_policy(fault: str | None, used: Finding, shown: Finding | None) -> Finding:
    """Return the policy engine as it has just been asked, which says more than its last use.

    Its last use, or else the last report, tells since when, if that found the same state; else it is so from now on.
    """
    state = State.OK if fault is None else State.DOWN
    if used.state is state:
        return replace(used, reason=fault)
    if shown is not None and shown.state is state and (shown.since or 0) >= (used.since or 0):
        return replace(shown, reason=fault)
    return Finding(state, time.time(), fault)


def _report(
    readiness: Readiness, status: str, never_found: list[dict[str, Any]], dependencies: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "status": status,
        "authentication": readiness.authentication,
        "claims_never_found": never_found,
        "policy": {
            "wanted_revision": readiness.wanted_revision,
            "live_revision": readiness.live_revision,
            "age_seconds": None if readiness.age_seconds is None else round(readiness.age_seconds, 3),
            "reason": readiness.reason,
        },
        "dependencies": dependencies,
    }


def _shown(finding: Finding, breaker: Breaker | None) -> dict[str, Any]:
    since = None if finding.since is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(finding.since))
    shown = {"state": finding.state, "since": since, "reason": finding.reason}
    return shown if breaker is None else {**shown, "breaker": breaker.state}
