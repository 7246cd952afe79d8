"""A server takes every piece of configuration in the documentation, and every policy command on its page works."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from policy.parser import read_policies
from policy.source.diagnostics import Findings
from policy.source.document import parse_document
from server.config import read_config

ROOT = Path(__file__).parents[2]
TRIED_BY_OTHERS = {"cookbook.md", "policy-language.md"}
"""Pages with mistakes on purpose, whose policies `policy_pages` reads."""
PAGES = [
    ROOT / "README.md",
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if page.name not in TRIED_BY_OTHERS),
]
BLOCK = re.compile(r"```yaml\n(.*?)```", re.DOTALL)
COMMAND = re.compile(r"^ostiary policy .*$", re.MULTILINE)
START = """\
version: 2
apis: [inference]
providers:
  inference:
    - {provider_id: echo, provider_type: inline::echo}
"""
SECRETS = {
    "OPA_TOKEN": "t" * 32,
    "INTROSPECTION_SECRET": "s",
    "DB_PASSWORD": "p",
    "S3_KEY": "k",
    "S3_SECRET": "s",
}


def configurations() -> Iterator[tuple[str, str]]:
    """The pieces as whole files: sections are put behind a start, and rules into a policy."""
    for page in PAGES:
        for number, text in enumerate(BLOCK.findall(page.read_text()), 1):
            name = f"{page.name}, block {number}"
            if text.startswith(("server:", "storage:")):
                yield name, START + text
            elif text.startswith("- "):
                rules = "".join(f"      {line}\n" for line in text.splitlines())
                yield name, f"{START}server:\n  auth:\n    access_policy:\n{rules}"


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in configurations()])
def test_a_piece_of_configuration_is_taken_as_it_stands(text: str) -> None:
    findings, document = Findings(), parse_document(text, "config.yaml")
    assert read_config(document, SECRETS, findings) is not None, findings.diagnostics
    assert read_policies(document, SECRETS, findings) is not None, findings.diagnostics
    assert findings.diagnostics == []


@pytest.mark.parametrize("text", [text for _, text in configurations() if "route_policy:" in text])
def test_a_route_policy_lets_probes_in(text: str) -> None:
    policies = read_policies(parse_document(text, "config.yaml"), SECRETS, Findings())
    assert policies is not None
    assert policies.routes is not None
    assert "/v1/health" in str(policies.routes[0].paths)
    assert policies.routes[0].conditions is None


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the files that the commands name."""
    folder = tmp_path_factory.mktemp("desk")
    for file in (ROOT / "examples/multi-tenant").iterdir():
        shutil.copy(file, folder)
    return folder


def commands() -> list[str]:
    return COMMAND.findall((ROOT / "docs/policy/commands.md").read_text())


def test_there_are_commands_to_try() -> None:
    assert len(commands()) > 8


@pytest.mark.parametrize("command", commands())
def test_a_policy_command_of_the_page_works(desk: Path, opa_binary: Path, command: str) -> None:
    environ = {**os.environ, "HOME": str(desk), "OSTIARY_OPA": str(opa_binary)}
    shell = f'ostiary() {{ "{sys.executable}" -m server.cli.main "$@"; }}; {command}'
    done = subprocess.run(
        ["/bin/bash", "-c", shell], cwd=desk, env=environ, capture_output=True, text=True, timeout=90, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
