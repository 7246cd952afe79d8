"""The application as a configuration describes it, with a real OPA and the policies of that configuration."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

from starlette.applications import Starlette

from policy.parser import read_policies
from policy.source.diagnostics import Findings
from policy.source.document import parse_document
from policy.vocabulary import Action, Resource, Route
from server.authn import Authenticator
from server.authz.contract.question import NextQuestion
from server.authz.decision_log.shield_record import ShieldVerdict
from server.authz.listing import Listing
from server.authz.permit import Permit, RoutePermit
from server.authz.readiness import AuthenticationMode, Readiness
from server.authz.request_context import RequestContext
from server.config import Config, read_config
from server.quota.admission import Limited
from server.wiring import application, decisions
from tests.support.opa_server import World, world
from tests.support.patience import PATIENCE
from tests.support.serving import Address, serving
from translators.compiler import compile_policies


class RealPolicy:
    """The enforcement point and the readiness of a world that lives in the server's event loop."""

    world: World
    loop: asyncio.AbstractEventLoop

    async def check_route(self, context: RequestContext, route: Route) -> RoutePermit:
        """Ask OPA."""
        return await self.world.pep.check_route(context, route)

    async def permit(
        self,
        context: RequestContext,
        action: Action,
        resource: Resource,
        made: Sequence[str] = (),
        following: NextQuestion | None = None,
    ) -> Permit:
        """Ask OPA."""
        return await self.world.pep.permit(context, action, resource, made, following)

    async def permit_next(self, context: RequestContext, following: NextQuestion, made: Sequence[str] = ()) -> Permit:
        """Ask OPA."""
        return await self.world.pep.permit_next(context, following, made)

    async def permit_route_and_access(
        self,
        context: RequestContext,
        route: Route,
        action: Action,
        resource: Resource,
        made: Sequence[str] = (),
        following: NextQuestion | None = None,
    ) -> tuple[RoutePermit, Permit]:
        """Ask OPA."""
        return await self.world.pep.permit_route_and_access(context, route, action, resource, made, following)

    async def readable(self, context: RequestContext, resources: Sequence[Resource]) -> list[Permit]:
        """Ask OPA."""
        return await self.world.pep.readable(context, resources)

    async def permit_route_and_readable(
        self, context: RequestContext, route: Route, resources: Sequence[Resource]
    ) -> tuple[RoutePermit, list[Permit]]:
        """Ask OPA."""
        return await self.world.pep.permit_route_and_readable(context, route, resources)

    async def listed(self, context: RequestContext, kind: str, resources: Sequence[Resource]) -> list[Permit]:
        """Ask OPA."""
        return await self.world.pep.listed(context, kind, resources)

    async def permit_route_and_listed(
        self, context: RequestContext, route: Route, kind: str, resources: Sequence[Resource]
    ) -> tuple[RoutePermit, list[Permit]]:
        """Ask OPA."""
        return await self.world.pep.permit_route_and_listed(context, route, kind, resources)

    def listing(
        self, context: RequestContext, action: Action, kind: str, types: tuple[str, ...] = ()
    ) -> AbstractAsyncContextManager[Listing]:
        """Ask OPA."""
        return self.world.pep.listing(context, action, kind, types)

    async def stopped(
        self, context: RequestContext, route: Route, permit: RoutePermit | None, limited: Limited
    ) -> None:
        """Write it down."""
        await self.world.pep.stopped(context, route, permit, limited)

    async def shielded(self, context: RequestContext, permit: RoutePermit | None, verdict: ShieldVerdict) -> None:
        """Write it down."""
        await self.world.pep.shielded(context, permit, verdict)

    async def check(self) -> Readiness:
        """Ask OPA about itself."""
        return await self.world.probe.check()


@dataclass(frozen=True, slots=True)
class Decided:
    """The running server, and what its decision log says."""

    address: Address
    policy: RealPolicy

    def log(self, request_id: str) -> list[dict[str, Any]]:
        """The decisions that were made for a request."""
        return [record for record in self.whole_log() if record.get("request_id") == request_id]

    def whole_log(self) -> list[dict[str, Any]]:
        """The decisions that were made so far."""
        return asyncio.run_coroutine_threadsafe(self.policy.world.records(), self.policy.loop).result(timeout=PATIENCE)


def read(text: str, environ: Mapping[str, str] | None = None) -> Config:
    """A configuration that has no errors."""
    findings = Findings()
    config = read_config(parse_document(dedent(text), "config.yaml"), environ or {}, findings)
    assert config is not None, findings.diagnostics
    return config


@contextmanager
def decided(
    text: str,
    opa: Path,
    folder: Path,
    *,
    authenticator: Authenticator | None,
    start: bool = True,
    environ: Mapping[str, str] | None = None,
    telemetry: decisions.Telemetry | None = None,
) -> Iterator[Decided]:
    """The server with the configuration `text`, whose variables are in `environ`; `start=False` leaves OPA out."""
    policies = read_policies(parse_document(dedent(text), "config.yaml"), environ or {}, Findings())
    assert policies is not None
    bundle = compile_policies(policies)
    archive = folder / "bundle.tar.gz"
    archive.write_bytes(bundle.archive)
    policy = RealPolicy()
    config = read(text, environ)
    app = application.build(config, policy, authenticator, policy, telemetry)
    providers = app.router.lifespan_context
    authentication = AuthenticationMode.OFF if authenticator is None else AuthenticationMode.CONFIGURED

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        made = world(opa, folder, archive, revision=bundle.revision, authentication=authentication, start=start)
        async with made as policy.world, providers(app):
            policy.loop = asyncio.get_running_loop()
            yield

    app.router.lifespan_context = lifespan
    with serving(app, cors=application.cors(config.server.cors)) as address:
        yield Decided(address, policy)
