"""Tool groups: those of the configuration and of callers, the tools in them, and what rules about both come to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.callers import ADMIN, ALICE, BOB, OWN, READER, STRANGER
from tests.support.mcp_server import McpStub, mcp_server, tool
from tests.support.tools_server import CONFIG, MODELS, Tooled, calling, tooled

GROUPS = "/v1/toolgroups"
TOOLS = "/v1/tools"
PROVIDERS = """\
      tool_runtime:
      - {provider_id: own, provider_type: inline::rag-runtime}
      - provider_id: servers
        provider_type: remote::model-context-protocol
        config:
          allowed_hosts: [tools.example.com, "HOST"]
          allow_http: ["127.0.0.1"]
          allow_private: ["127.0.0.1"]
"""
CONFIGURED = """\
    tool_groups:
    - {toolgroup_id: "builtin::rag", provider_id: own}
    - {toolgroup_id: "mcp::shop", provider_id: servers, mcp_endpoint: {uri: "URI"}, args: {note: kept}}
"""
RULES = """\
        - permit: {actions: [delete], resource: "tool_group::*"}
          when: user with admin in roles
        - forbid: {actions: [read], resource: "tool_group::mcp::shop"}
          when: user with stranger in roles
        - forbid: {actions: [read], resource: "tool::builtin::rag/file_search"}
          when: user with stranger in roles
        - forbid: {actions: [read], resource: "regex:tool::.*/forbidden"}
        - permit: {actions: [read], resource: "tool_group::*"}
          when: resource is from config
        - permit: {actions: [read], resource: "tool::*"}
          when: resource is from config
"""


@dataclass(frozen=True, slots=True)
class Place(Tooled):
    """The server, and the server of tools that it may call."""

    stub: McpStub


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def place(
    request: pytest.FixtureRequest, opa_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    postgres = request.getfixturevalue("postgres_url") if request.param == "postgres" else None
    with mcp_server() as stub:
        stub.pages = [[tool("echo"), tool("forbidden")]]
        text = (
            CONFIG.replace("vector_io]", "vector_io, tool_runtime]")
            .replace("      agents:\n", f"{PROVIDERS}      agents:\n")
            .replace("    models:\n", f"{CONFIGURED.replace('URI', stub.url)}    models:\n", 1)
            .replace("HOST", stub.url.split("/")[2])
        )
        folder = tmp_path_factory.mktemp("groups")
        with tooled(opa_binary, folder, postgres, rules=RULES + MODELS + OWN, text=text) as running:
            yield Place(running.house, running.database, stub)


def ids(place: Place, caller: str = ALICE) -> list[str]:
    return [group["identifier"] for group in place.got("GET", GROUPS, None, caller)["data"]]


def names(place: Place, caller: str = ALICE, query: str = "") -> list[str]:
    return [f"{tool['toolgroup_id']}/{tool['name']}" for tool in place.got("GET", TOOLS + query, None, caller)["data"]]


def test_groups_of_the_configuration_are_shown_as_those_that_callers_register(place: Place) -> None:
    shown = place.got("GET", f"{GROUPS}/mcp::shop")
    assert (shown["provider_id"], shown["mcp_endpoint"]) == ("servers", {"uri": place.stub.url})
    assert shown["args"] == {"note": "kept"}
    body = {"toolgroup_id": "alices", "provider_id": "elsewhere"}
    assert place.ask("POST", GROUPS, body).status == 200
    assert ids(place) == ["builtin::rag", "mcp::shop", "alices"]
    assert ids(place, BOB) == ["builtin::rag", "mcp::shop"]
    assert ids(place, STRANGER) == ["builtin::rag"]
    assert place.ask("GET", f"{GROUPS}/mcp::shop", None, STRANGER).status == 404
    assert place.ask("DELETE", f"{GROUPS}/alices").status == 200


def test_a_group_of_the_configuration_is_removed_there(place: Place) -> None:
    refused = place.ask("DELETE", f"{GROUPS}/builtin::rag", None, ADMIN)
    assert (refused.status, refused.error["code"]) == (409, "defined_by_configuration")
    assert place.ask("DELETE", f"{GROUPS}/builtin::rag", None, ALICE).status == 403
    assert place.ask("POST", GROUPS, {"toolgroup_id": "builtin::rag"}, ALICE).status == 409
    assert "builtin::rag" in ids(place)


def test_tools_are_shown_to_those_who_may_read_them_and_their_group(place: Place) -> None:
    assert names(place) == ["builtin::rag/file_search", "mcp::shop/echo"]
    assert names(place, STRANGER) == []
    assert names(place, query="?toolgroup_id=mcp::shop") == ["mcp::shop/echo"]
    assert place.ask("GET", f"{TOOLS}?toolgroup_id=mcp::shop", None, STRANGER).status == 404


def test_one_tool_is_named_with_its_group_or_alone(place: Place) -> None:
    one = place.got("GET", f"{TOOLS}/mcp::shop/echo")
    assert (one["name"], one["toolgroup_id"], one["input_schema"]["type"]) == ("echo", "mcp::shop", "object")
    assert place.got("GET", f"{TOOLS}/echo") == one
    gone = place.ask("GET", f"{TOOLS}/mcp::shop/none")
    for name in ("mcp::shop/forbidden", "nothing/echo"):
        answer = place.ask("GET", f"{TOOLS}/{name}")
        assert answer.status == 404
        assert answer.body.replace(name.encode(), b"") == gone.body.replace(b"mcp::shop/none", b"")
    assert place.ask("GET", f"{TOOLS}/mcp::shop/echo", None, STRANGER).status == 404


@pytest.mark.parametrize("caller", [ADMIN, ALICE, BOB, READER, STRANGER])
def test_a_list_has_the_tools_that_can_be_shown_one_by_one(place: Place, caller: str) -> None:
    shown = [
        name
        for name in ("builtin::rag/file_search", "mcp::shop/echo", "mcp::shop/forbidden")
        if place.ask("GET", f"{TOOLS}/{name}", None, caller).status == 200
    ]
    assert names(place, caller) == shown
    assert all(place.ask("GET", f"{TOOLS}/{name.replace('/', '%2F')}", None, caller).status == 200 for name in shown)


def test_a_search_is_not_offered_to_those_who_may_not_read_its_tool(place: Place) -> None:
    store = place.store("a blue bicycle", caller=STRANGER)
    tools = [{"type": "file_search", "vector_store_ids": [store]}]
    text = calling("file_search", {"queries": ["a"]}, then={"content": "done"})
    answer = place.create(text, STRANGER, tools=tools)
    assert answer.status == 200, answer.body
    call, message = answer.json["output"]
    # A model that calls it nevertheless is told that it may not.
    assert (call["type"], call["status"], message["content"][0]["annotations"]) == ("file_search_call", "failed", [])
    said = place.made("hi", STRANGER, tools=tools, tool_choice="required")
    assert [item["type"] for item in said["output"]] == ["message"]
    mine = [{"type": "file_search", "vector_store_ids": [place.store("a blue bicycle")]}]
    asked = place.create(text, tools=mine)
    assert asked.json["output"][0]["status"] == "completed"
    log = place.house.log(asked.headers["x-request-id"])
    lines = [line for line in log if line.get("resource") == "tool::builtin::rag/file_search"]
    # When it is offered, and when it is called.
    assert [line["response_id"] for line in lines] == [asked.json["id"]] * 2


def test_a_group_is_called_by_its_id(place: Place) -> None:
    asked = {"type": "mcp", "server_label": "s", "connector_id": "mcp::shop", "require_approval": "never"}
    text = calling("s__echo", {"text": "x"}, then={"content": "done"})
    response = place.made(text, tools=[asked])
    listing, call, _ = response["output"]
    assert ([each["name"] for each in listing["tools"]], call["status"]) == (["echo"], "completed")
    by_address = {**asked, "connector_id": None, "server_url": place.stub.url}
    assert place.made(text, tools=[by_address])["output"][1]["status"] == "completed"
    assert place.create(text, STRANGER, tools=[asked]).status == 400
    assert place.create(text, STRANGER, tools=[by_address]).status == 403
    # Another spelling of the address does not dodge the rules about the group.
    for spelling in (f"{place.stub.url}?x=1", f"{place.stub.url}/"):
        assert place.create(text, tools=[{**by_address, "server_url": spelling}]).status == 400


WRONG: dict[str, tuple[Any, str]] = {
    "no address": (None, "mcp_endpoint"),
    "a host that is not listed": ({"uri": "https://other.example.com/mcp"}, "mcp_endpoint.uri"),
    "a private address": ({"uri": "http://10.0.0.1/mcp"}, "mcp_endpoint.uri"),
    "a service of the machine": ({"uri": "http://169.254.169.254/"}, "mcp_endpoint.uri"),
    "no address of a server": ({"uri": "file:///etc/passwd"}, "mcp_endpoint.uri"),
}


@pytest.mark.parametrize("what", WRONG)
def test_callers_register_servers_at_listed_hosts_alone(place: Place, what: str) -> None:
    endpoint, param = WRONG[what]
    body = {"toolgroup_id": "mine", "provider_id": "servers", "mcp_endpoint": endpoint}
    refused = place.ask("POST", GROUPS, body)
    assert (refused.status, refused.error["param"]) == (400, param), refused.body
    assert "mine" not in ids(place)


def test_a_group_that_a_caller_registers_is_its_own(place: Place) -> None:
    body = {"toolgroup_id": "mine", "provider_id": "servers", "mcp_endpoint": {"uri": "https://tools.example.com/mcp"}}
    assert place.ask("POST", GROUPS, body).status == 200
    assert place.ask("GET", f"{TOOLS}?toolgroup_id=mine", None, BOB).status == 404
    asked = {"type": "mcp", "server_label": "s", "connector_id": "mine", "require_approval": "never"}
    assert place.create("hi", BOB, tools=[asked]).status == 400
    # Nothing answers there: the group is left out of the list of all, and its own list says so.
    unreached = place.ask("GET", f"{TOOLS}?toolgroup_id=mine")
    assert (unreached.status, unreached.error["code"]) == (502, "tools_unavailable")
    assert "mine/echo" not in names(place)
    assert place.ask("DELETE", f"{GROUPS}/mine").status == 200
