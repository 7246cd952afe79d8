"""The files that `ostiary run --check` looks at and that may come later: keys of tokens, programs of tool groups."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from server.authn.development import JWKS_FILE, development_jwks
from server.config.home import home
from server.config.providers import HOSTED
from server.inference.providers.dialects import DIALECTS
from server.wiring.preflight import preflight
from tests.support.config_texts import load, with_provider, with_server


def doubts(file: Path) -> list[str]:
    keys = f"{{type: oauth2_token, issuer: i, audience: a, jwks: {{uri: 'file://{file}'}}}}"
    return preflight(load(with_server(f"auth: {{provider_config: {keys}}}")))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "can't be read (No such file or directory)"),
        ("words", "can't be used (the content is not a JWK Set)"),
        (f'{{"keys": [{",".join(["{}"] * 101)}]}}', "can't be used (the JWK Set has more than 100 keys)"),
        ('{"keys": []}', "holds no key that can be used"),
    ],
)
def test_a_file_by_which_no_token_can_be_verified(tmp_path: Path, content: str | None, reason: str) -> None:
    file = tmp_path / "jwks.json"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    told = f"the file of keys `{file}` {reason}, so no token of its issuer is accepted yet; look at `jwks.uri`"
    assert doubts(file) == [told]


def test_a_file_with_a_key_is_fine(tmp_path: Path) -> None:
    assert doubts(development_jwks(tmp_path)) == []


def test_the_development_key_is_made_at_the_start() -> None:
    assert doubts(home() / JWKS_FILE) == []


def with_program(program: Path) -> str:
    return (
        "providers: {tool_runtime: [{provider_id: mcp, provider_type: 'remote::model-context-protocol'}]}\n"
        f"tool_groups: [{{toolgroup_id: clock, provider_id: mcp, mcp_command: {{command: [{program}]}}}}]\n"
    )


def test_a_program_of_a_tool_group_that_is_not_there(tmp_path: Path) -> None:
    program = tmp_path / "tools"
    text = with_program(program)
    told = [f"the tool group `clock` names `{program}`, which is no program that can be run"]
    assert preflight(load(text)) == told
    program.touch(mode=0o600)
    assert preflight(load(text)) == told
    program.chmod(0o700)
    assert preflight(load(text)) == []


def test_a_program_that_the_system_does_not_even_look_for(tmp_path: Path) -> None:
    program = tmp_path / ("a" * 300)
    told = [f"the tool group `clock` names `{program}`, which is no program that can be run"]
    assert preflight(load(with_program(program))) == told


@pytest.mark.parametrize(
    ("kind", "settings", "host"),
    [
        ("remote::openai", "", "api.openai.com"),
        ("remote::openai", "api_key: '${env.ABSENT:=}'", "api.openai.com"),
        ("remote::openai", "base_url: 'https://API.openai.com/v1/'", "api.openai.com"),
        *((kind, "", urlsplit(DIALECTS[kind].base_url).hostname) for kind in HOSTED),
        ("remote::passthrough", "base_url: 'https://api.groq.com/openai/v1'", "api.groq.com"),
        ("remote::azure", "base_url: 'https://us.openai.azure.com/openai/v1'", "us.openai.azure.com"),
        ("remote::databricks", "base_url: 'https://dbc.cloud.databricks.com/x'", "dbc.cloud.databricks.com"),
    ],
)
def test_a_hosted_provider_without_a_key(kind: str, settings: str, host: str) -> None:
    told = f"the provider `one` has no `api_key`, without which `{host}` refuses its requests"
    assert preflight(load(with_provider(settings or "{}", kind))) == [told]
    keyed = "" if "api_key" in settings else f"{settings}\n"
    assert preflight(load(with_provider(f"{keyed}api_key: k", kind))) == []


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("remote::openai", "base_url: 'http://127.0.0.1:8000/v1'"),
        ("remote::groq", "base_url: 'https://gateway.example/v1'"),
        ("remote::passthrough", "base_url: 'https://openai.com.example/v1'"),
        ("remote::azure", "base_url: 'https://gateway.example/v1'"),
        ("remote::ollama", "{}"),
        ("remote::vllm", "base_url: 'https://vllm.example'"),
    ],
)
def test_a_provider_that_may_need_no_key(kind: str, settings: str) -> None:
    assert preflight(load(with_provider(settings, kind))) == []
