"""A guardrail about a resource says nothing about the route: a denied model looks like one that does not exist."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from policy.diagnostics import Findings
from policy.document import parse_document
from policy.parser import read_policies
from tests.conformance.engine import LiveOpa
from translators.compiler import compile_policies

GUARDRAILS = b"""package ostiary.guardrails

deny contains {"reason": "the model is recalled"} if "recalled" in input.resource.names

deny contains {"reason": "the route is closed"} if input.route.path == "/v1/closed"
"""


def test_a_denied_resource_leaves_the_route_as_it_is(opa_binary: Path) -> None:
    document = parse_document("{server: {auth: {access_policy: [{permit: {actions: read}}]}}}", "config.yaml")
    policies = read_policies(document, {}, Findings())
    assert policies is not None

    def effects(path: str, name: str) -> tuple[str, str]:
        asked: dict[str, Any] = {
            "principal": None,
            "route": {"method": "POST", "path": path},
            "action": "read",
            "resource": {"type": "model", "names": [name], "owner": None, "origin": "config"},
        }
        answer = live.ask(asked)
        return answer["route"]["effect"], answer["resource"]["effect"]

    with LiveOpa(opa_binary) as live:
        live.load(compile_policies(policies, {"ostiary/guardrails/recalled.rego": GUARDRAILS}))
        assert effects("/v1/open", "other") == ("permit", "permit")
        assert effects("/v1/open", "recalled") == ("permit", "deny")
        assert effects("/v1/closed", "other") == ("deny", "deny")
