"""Tool groups that are programs: the configuration alone makes one, rules say who calls it, and no caller sees it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import mcp_program
from tests.support.application import ByToken
from tests.support.callers import ALICE, OWN, STRANGER
from tests.support.configured_server import filled, own_database, own_folder
from tests.support.real_policy import decided
from tests.support.responses_server import RESPONSES
from tests.support.tools_server import CONFIG, MODELS, Tooled, calling

SECRET = "sesame-sesame"
PROVIDERS = """\
      tool_runtime:
      - {provider_id: servers, provider_type: remote::model-context-protocol}
"""
GROUPS = f"""\
    tool_groups:
    - toolgroup_id: here
      provider_id: servers
      mcp_command: {{command: [{sys.executable}, "-I", {mcp_program.__file__}], environment: {{TOKEN: {SECRET}}}}}
"""
RULES = """\
        - forbid: {actions: [read], resource: "tool::here/process"}
        - forbid: {actions: [read], resource: "tool_group::here"}
          when: user with stranger in roles
        - permit: {actions: [read], resource: "tool_group::*"}
        - permit: {actions: [read], resource: "tool::*"}
"""


@pytest.fixture(scope="module")
def place(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tooled]:
    folder = own_folder(tmp_path_factory.mktemp("programs"))
    with own_database(folder, None) as database:
        text = CONFIG.replace("vector_io]", "vector_io, tool_runtime]").replace(
            "      agents:\n", f"{PROVIDERS}      agents:\n"
        )
        text = text.replace("    models:\n", f"{GROUPS}    models:\n")
        text = filled(text, database, folder) + MODELS + RULES + OWN
        with decided(text, opa_binary, folder, authenticator=ByToken()) as house:
            yield Tooled(house, database)


def here(**more: Any) -> list[dict[str, Any]]:
    return [{"type": "mcp", "server_label": "s", "connector_id": "here", "require_approval": "never", **more}]


def outputs(place: Tooled, text: str) -> list[Any]:
    made = place.got("POST", RESPONSES, {"model": "small", "input": text, "tools": here()})
    return [item.get("output") or item["error"] for item in made["output"] if item["type"] == "mcp_call"]


def test_a_response_calls_a_program_and_is_told_no_secret_of_it(place: Tooled) -> None:
    assert outputs(place, calling("s__echo", {"text": "a"}, {"text": "b"})) == ["a", "b"]
    [told] = outputs(place, calling("s__environment", {}))
    assert json.loads(told)["TOKEN"] == "********"


def test_rules_are_about_the_group_and_its_tools(place: Tooled) -> None:
    made = place.got("POST", RESPONSES, {"model": "small", "input": calling("s__process", {}), "tools": here()})
    listed = next(item for item in made["output"] if item["type"] == "mcp_list_tools")
    assert "process" not in [tool["name"] for tool in listed["tools"]]
    assert [item["status"] for item in made["output"] if item["type"] == "mcp_call"] == ["failed"]
    refused = place.ask("POST", RESPONSES, {"model": "small", "input": "x", "tools": here()}, STRANGER)
    assert refused.status == 400


def test_a_program_is_shown_to_nobody(place: Tooled) -> None:
    group = place.ask("GET", "/v1/toolgroups/here", None, ALICE)
    assert group.json["mcp_endpoint"] is None
    assert not any(word in group.body for word in (b"command", b"environment", SECRET.encode(), b"mcp_program"))
    tools = [tool["name"] for tool in place.got("GET", "/v1/tools?toolgroup_id=here")["data"]]
    assert "echo" in str(tools)
    assert "process" not in str(tools)


@pytest.mark.parametrize(
    "tool",
    [
        here(authorization="x"),
        here(headers={"X-A": "b"}),
        here(connector_id="stdio:here"),
        [{"type": "mcp", "server_label": "s", "server_url": "stdio:here"}],
        [{"type": "mcp", "server_label": "s", "server_url": "file:///bin/sh"}],
        [{"type": "mcp", "server_label": "s", "command": ["/bin/sh"]}],
        [{"type": "mcp", "server_label": "s", "mcp_command": {"command": ["/bin/sh"]}}],
    ],
    ids=str,
)
def test_no_request_names_a_program(place: Tooled, tool: list[dict[str, Any]]) -> None:
    answer = place.ask("POST", RESPONSES, {"model": "small", "input": "x", "tools": tool}, ALICE)
    assert (answer.status, answer.error["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"mcp_endpoint": {"uri": "stdio:here"}},
        {"mcp_command": {"command": ["/bin/sh"]}},
        {"mcp_endpoint": {"uri": "https://x.example/"}, "args": {"mcp_command": {"command": ["/bin/sh"]}}},
    ],
)
def test_no_caller_registers_a_program(place: Tooled, members: dict[str, Any]) -> None:
    body = {"toolgroup_id": "mine", "provider_id": "servers", **members}
    assert place.ask("POST", "/v1/toolgroups", body, ALICE).status == 400
