"""A real OPA with a bundle made by hand: the law as it stands, and two modules as the compiler would write them."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from server.authz.decision_log.log import DecisionLog
from server.authz.opa.control_plane import ControlPlane
from server.authz.opa.process import OpaProcess
from server.authz.opa.runtime_directory import RuntimeDirectory
from server.authz.opa.transport import OpaTransport, UnixAddress
from server.authz.pdp import PolicyDecisionPoint
from server.authz.pep import PolicyEnforcementPoint
from server.authz.readiness import AuthenticationMode, ReadinessProbe

PATIENCE_SECONDS: Final = 2.0
"""For an answer: a busy machine may take OPA away for longer than a server waits."""

REGO: Final = Path(__file__).parents[2] / "rego"

ACCESS: Final = """package ostiary.access

forbid contains 0 if {
	input.resource.type == "model"
	"model::secret" in data.ostiary.subject.subjects
	not "admin" in input.principal.attributes.roles
}

permit contains 1 if {
	input.action == "read"
	input.resource.type == "model"
	data.ostiary.conditions.authenticated
}

permit contains 2 if data.ostiary.conditions.user_is_owner
"""

ROUTES: Final = """package ostiary.routes

forbid contains 0 if startswith(input.route.path, "/v1/admin")

permit contains 1 if startswith(input.route.path, "/v1/")
"""

RULES: Final = {
    "access": [
        {"rule": "access_policy[0]", "source": "config.yaml:41", "description": "secrets are for admins"},
        {"rule": "access_policy[1]", "source": "config.yaml:45", "description": None},
        {"rule": "access_policy[2]", "source": "config.yaml:50", "description": "what one makes is one's own"},
    ],
    "routes": [
        {"rule": "route_policy[0]", "source": "config.yaml:9", "description": "the admin api is closed"},
        {"rule": "route_policy[1]", "source": "config.yaml:12", "description": None},
    ],
}


def write_bundle(path: Path, *, access: str = ACCESS, routes: str = ROUTES, law: bool = True, **settings: Any) -> Path:
    """A bundle at `path`; `settings` replace those of revision `r1` with authentication configured."""
    data = {"contract": 1, "revision": "r1", "authentication": "configured", "route_policy": "present"}
    settings = data | RULES | settings
    manifest = {"revision": settings["revision"], "roots": ["ostiary"], "rego_version": 1}
    files = {
        ".manifest": json.dumps(manifest).encode(),
        "ostiary/access/rules.rego": access.encode(),
        "ostiary/routes/rules.rego": routes.encode(),
        "ostiary/settings/data.json": json.dumps(settings).encode(),
    }
    for module in (REGO / "ostiary").rglob("*.rego"):
        if law and not module.name.endswith("_test.rego"):
            files[module.relative_to(REGO).as_posix()] = module.read_bytes()
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@dataclass
class World:
    """Everything between a handler and OPA."""

    opa: OpaProcess
    directory: RuntimeDirectory
    transport: OpaTransport
    pdp: PolicyDecisionPoint
    probe: ReadinessProbe
    pep: PolicyEnforcementPoint
    log: DecisionLog
    log_path: Path

    async def records(self) -> list[dict[str, Any]]:
        """The lines of the decision log so far."""
        await self.log.flush()
        return [json.loads(line) for line in self.log_path.read_text().splitlines()]


@asynccontextmanager
async def world(
    binary: Path,
    folder: Path,
    bundle: Path,
    *,
    revision: str = "r1",
    authentication: AuthenticationMode = AuthenticationMode.CONFIGURED,
    runtime: Path | None = None,
    start: bool = True,
) -> AsyncIterator[World]:
    """A started OPA with `bundle`, and what asks it; all gone at the end."""
    directory = RuntimeDirectory.claim(runtime)
    address = UnixAddress(directory.socket)
    transport = OpaTransport(address, deadline=PATIENCE_SECONDS)
    pdp = PolicyDecisionPoint(transport, revision)
    control = ControlPlane(address)
    probe = ReadinessProbe(pdp, control, authentication)
    opa = OpaProcess(binary, bundle, directory, probe)
    log = DecisionLog.to_file(folder / "decisions.jsonl")
    try:
        if start:
            await opa.start()
        pep = PolicyEnforcementPoint(pdp, log)
        yield World(opa, directory, transport, pdp, probe, pep, log, folder / "decisions.jsonl")
    finally:
        transport.close()
        await control.close()
        await log.close()
        await opa.stop()
