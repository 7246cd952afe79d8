"""Guardrails from their directory to the decision log: a denial names file and line, a fault is no permit."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from policy.vocabulary import Action, Origin, Principal, Resource
from server.authz.contract.errors import PolicyUnavailable
from server.authz.permit import AccessDenied
from server.authz.request_context import RequestContext
from tests.support.opa_server import world
from translators.commands.loading import load

CONFIG = """\
server:
  auth:
    provider_config: {type: oauth2_token, jwks: {uri: "https://issuer.example/jwks"}, claims_mapping: {roles: roles}}
    guardrails: guardrails
    access_policy:
      - permit: {actions: [read], resource: "model::*"}
"""
GUARDRAILS = """\
package ostiary.guardrails

deny contains {"reason": "dora reads no models"} if input.principal.id == "dora"

deny contains {"reason": "too high"} if to_number(input.principal.attributes.clearance[0]) > 3
"""
ISSUER = "https://issuer.example"
LLAMA = Resource("model", ("ollama/llama",), None, Origin.CONFIG)


def test_a_denial_is_logged_with_its_file_and_line_and_a_fault_is_no_answer(
    opa_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSTIARY_OPA", str(opa_binary))
    (tmp_path / "guardrails").mkdir()
    (tmp_path / "guardrails/people.rego").write_text(GUARDRAILS)
    (tmp_path / "config.yaml").write_text(CONFIG)
    bundle = load(tmp_path / "config.yaml").bundle
    (tmp_path / "bundle.tar.gz").write_bytes(bundle.archive)

    def asks(name: str, **attributes: tuple[str, ...]) -> RequestContext:
        return RequestContext(f"req_{name}", Principal(name, ISSUER, attributes))

    async def main() -> None:
        async with world(opa_binary, tmp_path, tmp_path / "bundle.tar.gz", revision=bundle.revision) as here:
            await here.pep.permit(asks("ann"), Action.READ, LLAMA)
            with pytest.raises(AccessDenied):
                await here.pep.permit(asks("dora"), Action.READ, LLAMA)
            with pytest.raises(AccessDenied):
                await here.pep.permit(asks("eve", clearance=("4",)), Action.READ, LLAMA)
            with pytest.raises(PolicyUnavailable):
                await here.pep.permit(asks("mal", clearance=("none",)), Action.READ, LLAMA)
            records = await here.records()
        found = [(record["effect"], record["source"], record["description"]) for record in records]
        assert found == [
            ("permit", "config.yaml:6", None),
            ("deny", "people.rego:3", "dora reads no models"),
            ("deny", "people.rego:5", "too high"),
            ("unavailable", None, None),
        ]

    asyncio.run(main())
