"""The commands and their options; what each does lies in the module that it calls."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from translators.commands.deciding import decide_lines
from translators.commands.directory import CompiledDirectory
from translators.commands.explaining import explain
from translators.commands.loading import WARNINGS, Loaded, failures_explained, load, show
from translators.commands.questions import asked

app = typer.Typer(no_args_is_help=True, help="Check, compile and question access policies.")

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="The configuration file, such as config.yaml.")]
Json = Annotated[bool, typer.Option("--json", help="Write JSON for machines.")]
Strict = Annotated[bool, typer.Option("--strict", help="Let warnings fail, with exit code 1.")]
Values = Annotated[list[str] | None, typer.Option()]


@app.command()
def check(config: Config, *, strict: Strict = False, json_output: Json = False) -> None:
    """Say what is wrong with the policies of CONFIG, and what is in force if nothing is."""
    with failures_explained(as_json_lines=json_output):
        loaded = load(config)
    show(loaded.warnings, as_json_lines=json_output)
    _say(_summary(loaded), loaded, json_output=json_output)
    if strict and loaded.warnings:
        raise typer.Exit(WARNINGS)


@app.command(name="compile")
def compile_(
    config: Config,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where the bundle is written.")],
    *,
    check_only: Annotated[bool, typer.Option("--check", help="Only say whether DIR is current.")] = False,
    json_output: Json = False,
) -> None:
    """Write the Rego of CONFIG's policies, and the bundle that OPA loads, into DIR."""
    with failures_explained(as_json_lines=json_output):
        loaded = load(config)
        directory = CompiledDirectory(output)
        show(loaded.warnings, as_json_lines=json_output)
        if not check_only:
            directory.write(loaded.bundle)
            _say(f"{_summary(loaded)}\nwritten to {output}", loaded, json_output=json_output)
            return
        stale = directory.differences(loaded.bundle)
    _say(f"{output} is {'not current' if stale else 'current'}", loaded, json_output=json_output)
    if stale:
        sys.stderr.writelines(f"{path}\n" for path in stale)
        raise typer.Exit(WARNINGS)


@app.command(name="explain")
def explain_(
    config: Config,
    *,
    principal: Annotated[str | None, typer.Option("--as", metavar="ID", help="Who asks.")] = None,
    anonymous: Annotated[bool, typer.Option("--anonymous", help="Nobody is named: no token was presented.")] = False,
    role: Values = None,
    team: Values = None,
    attribute: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Any other attribute.")] = None,
    action: Annotated[str, typer.Option(help="create, read, update or delete.")] = "read",
    resource: Annotated[str | None, typer.Option(metavar="TYPE::NAME", help="What is asked for.")] = None,
    owner: Annotated[str | None, typer.Option(metavar="ID", help="Who owns the resource.")] = None,
    owner_role: Values = None,
    owner_team: Values = None,
    route: Annotated[str | None, typer.Option(metavar='"METHOD PATH"', help="Ask about a route instead.")] = None,
    json_output: Json = False,
) -> None:
    """Say who may do what, by which rule, and why the rules before it did not apply."""
    with failures_explained(as_json_lines=json_output):
        loaded = load(config)
        question = asked(
            principal=principal,
            anonymous=anonymous,
            attributes={"roles": role or [], "teams": team or []},
            more_attributes=attribute or [],
            action=action,
            resource=resource,
            owner=owner,
            owner_attributes={"roles": owner_role or [], "teams": owner_team or []},
            route=route,
            aliases=loaded.aliases,
        )
        explanation = explain(loaded, question)
    sys.stdout.write(json.dumps(explanation.as_json(), indent=2) + "\n" if json_output else explanation.text())


@app.command()
def decide(config: Config) -> None:
    """Answer questions, one JSON object a line, from standard input to standard output."""
    with failures_explained(as_json_lines=False):
        decide_lines(load(config), sys.stdin.buffer, sys.stdout)


def _summary(loaded: Loaded) -> str:
    policies = loaded.policies
    routes = "no route policy" if policies.routes is None else _count(len(policies.routes), "route rule")
    access = _count(len(policies.access), "access rule")
    origin = " (the default policy)" if policies.access_name == "default_policy" else ""
    authentication = "configured" if policies.authentication else "NOT configured: every access question is permitted"
    return (
        f"{loaded.path}: {access}{origin}, {routes}; authentication is {authentication}\n"
        f"revision {loaded.bundle.revision}, {_count(len(loaded.warnings), 'warning')}"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _say(text: str, loaded: Loaded, *, json_output: bool) -> None:
    if json_output:
        policies = loaded.policies
        text = json.dumps(
            {
                "revision": loaded.bundle.revision,
                "access_rules": len(policies.access),
                "route_rules": None if policies.routes is None else len(policies.routes),
                "policy": policies.access_name,
                "authentication": "configured" if policies.authentication else "off",
                "warnings": len(loaded.warnings),
            }
        )
    sys.stdout.write(f"{text}\n")
