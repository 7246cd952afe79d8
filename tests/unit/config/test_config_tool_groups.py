"""Tool groups in a configuration: what they hold, what is wrong, and which of Llama Stack's come along."""

from __future__ import annotations

import pytest

from server.mcp.programs import MOST_MEMORY
from tests.support.config_texts import errors, load, one_error, with_server

PROVIDERS = """\
apis: [inference, tool_runtime]
providers:
  tool_runtime:
  - {provider_id: own, provider_type: inline::file-search}
  - {provider_id: servers, provider_type: remote::model-context-protocol, config: {allow_http: [plain.example.com]}}
tool_groups:
"""
HTTPS = "mcp_endpoint: {uri: https://tools.example.com/mcp}"


def test_groups_have_the_members_of_llama_stack() -> None:
    config = load(
        f"{PROVIDERS}"
        "- {toolgroup_id: builtin::rag, provider_id: own, mcp_endpoint: null, args: null}\n"
        f"- {{toolgroup_id: mcp::shop, provider_id: servers, {HTTPS}, args: {{a: 1}}}}\n"
        "- {toolgroup_id: here, provider_id: servers, mcp_endpoint: {uri: http://localhost:8000/sse}}\n"
        "- {toolgroup_id: plain, provider_id: servers, mcp_endpoint: {uri: http://plain.example.com/mcp}}\n"
    )
    own, shop, *_ = config.tool_groups
    assert (own.toolgroup_id, own.provider_id, own.mcp_endpoint, own.args) == ("builtin::rag", "own", None, {})
    assert shop.mcp_endpoint is not None
    assert (shop.mcp_endpoint.uri, shop.args) == ("https://tools.example.com/mcp", {"a": 1})


def test_a_group_may_be_a_program() -> None:
    group = "mcp_command: {command: [/usr/bin/time-server, --utc], environment: {TOKEN: word}}"
    [found] = load(f"{PROVIDERS}- {{toolgroup_id: here, provider_id: servers, {group}}}\n").tool_groups
    assert found.mcp_command is not None
    assert found.mcp_command.command == ("/usr/bin/time-server", "--utc")
    assert found.mcp_command.environment["TOKEN"].get_secret_value() == "word"
    assert found.mcp_command.max_memory == MOST_MEMORY
    assert "word" not in repr(found)


WRONG = [
    ("- {provider_id: own}", "7:3: `tool_groups[0]` has no `toolgroup_id`; write `toolgroup_id: …` in it"),
    ("- {toolgroup_id: a}", "7:3: `tool_groups[0]` has no `provider_id`; write `provider_id: …` in it"),
    (
        "- {toolgroup_id: a, provider_id: owned}",
        "7:34: no provider of `tool_runtime` is called `owned`; did you mean `own`?",
    ),
    (
        "- {toolgroup_id: a, provider_id: servers}",
        "7:3: a group of a server of tools needs `mcp_endpoint` or `mcp_command`; "
        "add the server's address as its `uri`",
    ),
    (
        "- {toolgroup_id: a, provider_id: servers, mcp_endpoint: {uri: http://tools.example.com/mcp}}",
        "7:63: `tools.example.com` is reached over `https://` only; "
        "add it to `allow_http` of the `remote::model-context-protocol`, or write `https://`",
    ),
    (
        "- {toolgroup_id: a, provider_id: servers, mcp_endpoint: {uri: ftp://tools.example.com}}",
        "7:63: `uri` is no address of a server of tools: the address is no `https://` URL",
    ),
    (
        f"- {{toolgroup_id: a, provider_id: own, {HTTPS}}}",
        "7:39: a search of files has no server; leave it out",
    ),
    (
        "- {toolgroup_id: a, provider_id: own, mcp_command: {command: [/bin/x]}}",
        "7:39: a search of files has no server; leave it out",
    ),
    (
        f"- {{toolgroup_id: a, provider_id: servers, {HTTPS}, mcp_command: {{command: [/bin/x]}}}}",
        "7:95: a group has one server, and `mcp_endpoint` names another one; leave one of the two out",
    ),
    (
        "- {toolgroup_id: a, provider_id: servers, mcp_command: {command: [uvx, a]}}",
        "7:67: `command[0]` begins with the absolute path of a program; "
        "write `[/usr/bin/uvx, mcp-server-time]` for `uvx mcp-server-time`",
    ),
    (
        "- {toolgroup_id: a, provider_id: servers, mcp_command: {command: []}}",
        "7:57: `command` takes a program and its arguments, 64 texts at most",
    ),
    (
        "- {toolgroup_id: a, provider_id: servers, mcp_command: {command: [/x], environment: {A=B: c}}}",
        "7:72: `environment` has `A=B`, which is no name of a variable",
    ),
    (
        "- {toolgroup_id: a, provider_id: servers, mcp_command: {command: [/x], max_memory: 1MB}}",
        "7:84: `max_memory` takes a number of bytes, or one like `100MB` or `1GiB`, from 64MiB to 1024GiB, not `1MB`",
    ),
    (
        "- {toolgroup_id: a, provider_id: own}\n- {toolgroup_id: b, provider_id: own}",
        "8:34: the search of files is in another group already; leave one of the groups out",
    ),
    (
        f"- {{toolgroup_id: a, provider_id: own}}\n- {{toolgroup_id: a, provider_id: servers, {HTTPS}}}",
        "8:18: `a` is the id of the tool group in line 7 already; give each tool group its own",
    ),
]


@pytest.mark.parametrize(("entries", "sentence"), WRONG)
def test_what_is_wrong_with_a_group_is_said(entries: str, sentence: str) -> None:
    assert errors(f"{PROVIDERS}{entries}\n") == [sentence]


def test_an_id_is_one_that_a_path_can_hold() -> None:
    [found] = errors(f"{PROVIDERS}- {{toolgroup_id: a/../b, provider_id: own}}\n")
    assert "takes an id of at most 256 bytes that a path can hold" in found


def test_groups_need_their_api() -> None:
    text = "apis: [inference]\ntool_groups:\n- {toolgroup_id: a, provider_id: own}\n"
    assert errors(text) == ["2:1: `tool_groups` needs `tool_runtime`, and `apis` leaves it out; list it there"]


def test_one_provider_searches_files() -> None:
    two = PROVIDERS.replace("tool_groups:\n", "").replace(
        "inline::file-search}", "inline::file-search}\n  - {provider_id: more, provider_type: inline::rag-runtime}"
    )
    [found] = errors(two)
    assert "takes one search of files, since each request says where it searches" in found


def test_the_memory_of_all_programs() -> None:
    assert load(with_server("max_program_memory: 4GiB")).server.max_program_memory == 4 * 1024**3
    assert load(with_server("port: 1")).server.max_program_memory is None
    sentence = (
        "`max_program_memory` takes a number of bytes, or one like `100MB` or `1GiB`, from 64MiB to 1024GiB, not `1MB`"
    )
    assert one_error(with_server("max_program_memory: 1MB")) == sentence
