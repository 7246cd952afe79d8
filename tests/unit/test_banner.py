"""What a start says is in force, and what it offers to type."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from policy.diagnostics import Findings
from policy.document import parse_document
from server.banner import Policies, banner
from server.config import read_config

TEXT = """\
version: 2
apis: [inference]
providers:
  inference:
    - {provider_id: echo, provider_type: inline::echo}
server:
  auth:
    provider_config: {type: api_key}
"""


def said(access: int = 2, routes: int | None = 2, guardrails: int = 0) -> str:
    config = read_config(parse_document(TEXT, "config.yaml"), {}, Findings())
    assert config is not None
    policies = Policies(access, "access_policy", routes, guardrails, Path("rego"))
    return banner(Path("config.yaml"), config, policies, "0" * 16, "127.0.0.1", 8321)


@pytest.mark.parametrize(
    ("access", "routes", "sentence"),
    [
        (6, 5, "6 access rules, 5 route rules"),
        (1, 1, "1 access rule, 1 route rule"),
        (0, 0, "0 access rules, 0 route rules"),
        (2, None, "2 access rules, no route policy"),
    ],
)
def test_a_policy_without_rules_is_told_from_none(access: int, routes: int | None, sentence: str) -> None:
    assert f"  policy          {sentence}\n" in said(access, routes)


def test_it_says_how_many_guardrails_are_in_force() -> None:
    assert "  guardrails      none\n" in said()
    assert "  guardrails      3\n" in said(guardrails=3)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    program = tmp_path / "bin" / "ostiary"
    program.parent.mkdir()
    program.touch(mode=0o755)
    return program


def test_what_it_offers_to_type_is_what_was_typed(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(program), "run"])
    monkeypatch.setenv("PATH", "/nowhere")
    assert f"TOKEN=$({program} key create" in said()
    assert f"\n  {program} policy explain config.yaml" in said()


def test_a_program_that_the_shell_finds_is_called_by_its_name(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(program), "run"])
    monkeypatch.setenv("PATH", str(program.parent))
    assert "TOKEN=$(ostiary key create" in said()
    assert "\n  ostiary policy explain config.yaml" in said()
