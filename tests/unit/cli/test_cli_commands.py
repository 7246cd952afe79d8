"""Commands that are looked for in another place than they have."""

from __future__ import annotations

import pytest
from typer.main import get_group
from typer.testing import CliRunner

from server.cli.main import app
from translators.commands import app as policy_commands


def told(*arguments: str) -> str:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    return " ".join(done.output.replace("│", " ").split())


@pytest.mark.parametrize("name", sorted(get_group(policy_commands).commands))
def test_the_commands_about_policies_are_found_at_the_top(name: str) -> None:
    assert f"No such command '{name}'. Did you mean 'ostiary policy {name}'?" in told(name, "config.yaml")


def test_what_other_servers_call_their_commands() -> None:
    assert "Did you mean 'ostiary run'?" in told("serve", "config.yaml")
    assert "Did you mean 'ostiary --version'?" in told("version")


def test_a_misspelling_is_still_told() -> None:
    assert "Did you mean 'batch'?" in told("bach")
