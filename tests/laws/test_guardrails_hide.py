"""A guardrail about a resource says nothing about the route: a denied model looks like one that does not exist."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from policy.parser import read_policies
from policy.source.diagnostics import Findings
from policy.source.document import parse_document
from tests.support.opa_engine import LiveOpa
from translators.compiler import compile_policies

GUARDRAILS = b"""package ostiary.guardrails

deny contains {"reason": "the model is recalled"} if "recalled" in input.resource.names

deny contains {"reason": "the route is closed"} if input.route.path == "/v1/closed"
"""

GUARDRAIL_OF_A_TABLE = """package ostiary.guardrails

deny contains {"reason": "the table is closed"} if input.resource.type == "TABLE"
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


@pytest.mark.parametrize("name", ["openai_files", "my_files"])
def test_a_guardrail_may_know_a_table_by_either_of_its_names(opa_binary: Path, name: str) -> None:
    text = "{server: {auth: {access_policy: [{permit: {actions: read}}]}}}"
    policies = read_policies(parse_document(text, "config.yaml"), {}, Findings())
    assert policies is not None
    guardrail = GUARDRAIL_OF_A_TABLE.replace("TABLE", f"sql_record::{name}").encode()

    def effect(*tables: str) -> str:
        types = [f"sql_record::{table}" for table in tables]
        resource = {"type": types[0], "types": types, "names": ["x"], "owner": None, "origin": "created"}
        answer = live.ask({"principal": None, "action": "read", "resource": resource})
        return str(answer["resource"]["effect"])

    with LiveOpa(opa_binary) as live:
        live.load(compile_policies(policies, {"ostiary/guardrails/frozen.rego": guardrail}))
        assert effect("openai_files", "my_files") == "deny"
        assert effect("openai_conversations", "chats") == "permit"
