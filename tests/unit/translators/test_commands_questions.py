"""What `ostiary policy` says to somebody who mistypes, and what its help tells."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from tests.support.command_line import EXAMPLE, ostiary
from translators.commands import app

CONFIG = EXAMPLE / "config.yaml"
MODEL = ("--resource", "model::assistant")


def complaint(*arguments: str) -> str:
    done = ostiary("explain", CONFIG, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr.removeprefix("error: ").rstrip("\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (MODEL, "say who asks: either --as ID or --anonymous"),
        (("--as", "a", "--anonymous", *MODEL), "say who asks: either --as ID or --anonymous"),
        (("--as", "a"), 'say what is asked for: either --resource TYPE::NAME or --route "METHOD PATH"'),
        (
            ("--anonymous", "--role", "admin", *MODEL),
            "an anonymous caller has no roles, teams or other attributes; write --as ID",
        ),
        (("--as", "a", "--attribute", "x", *MODEL), "--attribute takes NAME=VALUE, not `x`"),
        (("--as", "a", "--resource", "mdl::x"), "`mdl` is not a type of resource; did you mean `model`?"),
        (("--as", "a", "--resource", "llama"), "`llama` has no type; write it as `model::llama`"),
        (("--as", "a", "--resource", "model:llama"), "`model:llama` has no type; write it as `model::llama`"),
        (("--as", "a", "--resource", "model::"), "`model::` names no resource; write it as `model::NAME`"),
        (
            ("--as", "a", "--resource", "sql_record::openai_files"),
            "`sql_record::openai_files` names no record; write it as `sql_record::TABLE::ID`",
        ),
        (("--as", "a", "--action", "reed", *MODEL), "`reed` is no action; did you mean `read`?"),
        (
            ("--as", "a", "--route", "/v1/files"),
            "`/v1/files` is no route; write a method and a path, such as `GET /v1/files`",
        ),
        (("--as", "a", "--route", "get /v1/files"), "`get` is no method; did you mean `GET`?"),
        (
            ("--as", "a", "--route", "GET /v1/files", "--owner", "b"),
            "--action, --owner, --owner-role and --owner-team say nothing about a route; leave them out",
        ),
        (
            ("--as", "a", "--owner-team", "ml", *MODEL),
            "--owner-role and --owner-team need an owner; add --owner ID",
        ),
    ],
)
def test_a_question_that_cannot_be_asked_is_one_sentence(arguments: tuple[str, ...], sentence: str) -> None:
    assert complaint(*arguments) == sentence


def test_an_explanation_says_what_held_and_what_did_not() -> None:
    done = ostiary(
        "explain",
        CONFIG,
        "--as",
        "a",
        "--role",
        "developer",
        "--team",
        "research",
        "--resource",
        "model::research-preview",
    )
    assert 'access_policy[0] (config.yaml:113): "user with research in teams" holds\n' in done.stdout
    assert 'access_policy[1] (config.yaml:118): "resource is model::assistant" does not hold\n' in done.stdout
    done = ostiary("explain", CONFIG, "--as", "a", "--route", "GET /v1/files")
    assert (
        'route_policy[1] (config.yaml:80): "path is /v1/models or /v1/providers" does not hold, '
        '"path starts with /v1/models/ or /v1/providers/" does not hold\n'
    ) in done.stdout


def test_the_lines_of_the_default_policy_are_shown_from_anywhere(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("server: {auth: {provider_config: {type: custom}}}\n")
    done = ostiary("explain", config, "--as", "a", "--action", "create", "--resource", "prompt::p")
    assert "permit by default_policy[2] at default.yaml:" in done.stdout
    assert " |       actions: [create]\n" in done.stdout


def test_rules_that_apply_without_deciding_are_named_as_such(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("server: {auth: {access_policy: [{forbid: {actions: read}}]}}\n")
    done = ostiary("explain", config, "--anonymous", "--resource", "prompt::p")
    assert "permit: authentication is not configured\n" in done.stdout
    assert "Applies, but does not decide:\n  access_policy[0] (config.yaml:1) forbid\n" in done.stdout


def test_every_argument_and_option_of_every_command_has_help() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    assert list(group.commands) == ["check", "compile", "explain", "decide", "test", "matrix"]
    for command in group.commands.values():
        assert command.help
        for parameter in command.params:
            assert getattr(parameter, "help", None), f"{command.name}: {parameter.name}"


@pytest.mark.parametrize("command", [(), ("check",), ("explain",), ("test",)])
def test_help_is_a_short_option_too(command: tuple[str, ...]) -> None:
    done = ostiary(*command, "-h")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == ostiary(*command, "--help").stdout
    assert "Usage: ostiary policy" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("chek",), "No such command 'chek'"),
        (("check",), "Missing argument 'CONFIG'"),
        (("check", "c.yaml", "--srtict"), "No such option: --srtict"),
        (("compile", "c.yaml"), "Missing option '--output'"),
        (("explain", "c.yaml", "--role"), "'--role' requires an argument"),
        (("matrix", "c.yaml", "more"), "Got unexpected extra argument"),
    ],
)
def test_a_command_that_is_mistyped_exits_with_2_and_no_traceback(arguments: tuple[str, ...], words: str) -> None:
    done = ostiary(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["check", "explain", "decide", "matrix"])
def test_every_command_explains_a_configuration_that_cannot_be_used(command: str, tmp_path: Path) -> None:
    broken = tmp_path / "config.yaml"
    broken.write_text("server: {auth: {access_policy: [{permit: {actions: reed}}]}}\n")
    done = ostiary(command, broken, *(("--as", "a", *MODEL) if command == "explain" else ()))
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{broken}:1:52: error: `reed` is not one of the actions\n" in done.stderr
    assert "did you mean `read`?" in done.stderr


def test_warnings_for_machines_come_in_the_order_of_their_places(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "server:\n  auth:\n    access_policy:\n"
        "      - permit: {actions: [read], resource: 'regex:model::a'}\n        when: user with a in role\n"
        "      - permit: {actions: [read], resource: 'regex:model::a'}\n        when: user with a in role\n"
    )
    done = ostiary("check", config, "--json")
    assert done.returncode == 0
    codes = ["unanchored-regex", "unknown-attribute", "shadowed-rule", "unanchored-regex"]
    assert [line.split('"code": "')[1].split('"')[0] for line in done.stderr.splitlines()] == codes
    assert ostiary("check", config, "--strict").returncode == 1


def test_a_compiled_directory_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = ostiary("compile", CONFIG, "-o", tmp_path / "file" / "out")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: cannot write ")
