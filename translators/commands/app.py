"""The commands and their options; what each does lies in the module that it calls.

The object of their context is the `Translate` that reads files of other servers; None where there is none.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from policy.lints.paths import about_unserved
from policy.source.diagnostics import visible
from translators.commands.deciding import decide_lines
from translators.commands.directory import CompiledDirectory
from translators.commands.explaining import explain
from translators.commands.junit import write_junit
from translators.commands.loading import FAILED, Loaded, failures_explained, load, show
from translators.commands.questions import asked
from translators.commands.testing import read_files, run_cases

app = typer.Typer(
    no_args_is_help=True,
    help="Check, compile, test and question access policies.",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="The configuration file, such as config.yaml.")]
Json = Annotated[bool, typer.Option("--json", help="Write JSON for machines.")]
Strict = Annotated[bool, typer.Option("--strict", help="Let warnings fail, with exit code 1.")]
Issuer = Annotated[
    str | None,
    typer.Option(
        metavar="ISSUER", help="Who vouches for callers of whom that isn't said; needed if there are several."
    ),
]
Roles = Annotated[list[str] | None, typer.Option("--role", metavar="ROLE", help="A role of theirs; may be repeated.")]
Teams = Annotated[list[str] | None, typer.Option("--team", metavar="TEAM", help="A team of theirs; may be repeated.")]
Attributes = Annotated[
    list[str] | None,
    typer.Option("--attribute", metavar="NAME=VALUE", help="A value of another attribute; may be repeated."),
]
OwnerRoles = Annotated[
    list[str] | None, typer.Option("--owner-role", metavar="ROLE", help="A role of the owner; may be repeated.")
]
OwnerTeams = Annotated[
    list[str] | None, typer.Option("--owner-team", metavar="TEAM", help="A team of the owner; may be repeated.")
]


@app.command()
def check(context: typer.Context, config: Config, *, strict: Strict = False, json_output: Json = False) -> None:
    """Say what is wrong with the policies of CONFIG, and what is in force if nothing is."""
    with failures_explained(as_json_lines=json_output):
        loaded = load(config, context.obj)
    show(loaded.warnings, as_json_lines=json_output)
    _say(_summary(loaded), loaded, json_output=json_output)
    if strict and loaded.warnings:
        raise typer.Exit(FAILED)


@app.command(name="compile")
def compile_(
    context: typer.Context,
    config: Config,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where the bundle is written.")],
    *,
    check_only: Annotated[
        bool, typer.Option("--check", help="Only say whether DIR is current; exit code 1 if not.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Write the Rego of CONFIG's policies, and the bundle that OPA loads, into DIR."""
    with failures_explained(as_json_lines=json_output):
        loaded = load(config, context.obj)
        directory = CompiledDirectory(output)
        show(loaded.warnings, as_json_lines=json_output)
        if not check_only:
            directory.write(loaded.bundle)
            _say(f"{_summary(loaded)}\nwritten to {visible(str(output))}", loaded, json_output=json_output)
            return
        stale = directory.differences(loaded.bundle)
    _say(f"{visible(str(output))} is {'not current' if stale else 'current'}", loaded, json_output=json_output)
    if stale:
        sys.stderr.writelines(f"{path}\n" for path in stale)
        raise typer.Exit(FAILED)


@app.command(name="explain")
def explain_(
    context: typer.Context,
    config: Config,
    *,
    principal: Annotated[str | None, typer.Option("--as", metavar="ID", help="Who asks.")] = None,
    issuer: Issuer = None,
    anonymous: Annotated[
        bool, typer.Option("--anonymous", help="The caller is anonymous: no token was presented.")
    ] = False,
    role: Roles = None,
    team: Teams = None,
    attribute: Attributes = None,
    action: Annotated[
        str | None, typer.Option(metavar="ACTION", help="create, read, update or delete; read by default.")
    ] = None,
    resource: Annotated[
        str | None, typer.Option(metavar="TYPE::NAME", help="What is asked for, such as model::llama.")
    ] = None,
    owner: Annotated[str | None, typer.Option(metavar="ID", help="The owner of the resource; none by default.")] = None,
    owner_issuer: Annotated[
        str | None, typer.Option(metavar="ISSUER", help="Who vouches for the owner; as for the caller by default.")
    ] = None,
    owner_role: OwnerRoles = None,
    owner_team: OwnerTeams = None,
    route: Annotated[
        str | None, typer.Option(metavar='"METHOD PATH"', help='Ask about a route instead, such as "GET /v1/files".')
    ] = None,
    json_output: Json = False,
) -> None:
    """Say who may do what, by which rule, and why the rules before it did not apply."""
    with failures_explained(as_json_lines=json_output):
        loaded = load(config, context.obj)
        question = asked(
            principal=principal,
            issuer=issuer,
            anonymous=anonymous,
            attributes={"roles": role or [], "teams": team or []},
            more_attributes=attribute or [],
            action=action,
            resource=resource,
            owner=owner,
            owner_issuer=owner_issuer,
            owner_attributes={"roles": owner_role or [], "teams": owner_team or []},
            route=route,
            known=loaded.known,
        )
        explanation = explain(loaded, question)
    sys.stdout.write(json.dumps(explanation.as_json(), indent=2) + "\n" if json_output else explanation.text())
    if "route" in question and (sentence := about_unserved(question["route"]["method"], question["route"]["path"])):
        sys.stderr.write(f"note: {sentence}\n")


@app.command()
def decide(context: typer.Context, config: Config, *, issuer: Issuer = None) -> None:
    """Answer questions, one JSON object a line, from standard input to standard output.

    The forms of both are described in docs/policy/commands.md.
    """
    with failures_explained(as_json_lines=False):
        loaded = load(config, context.obj)
        decide_lines(replace(loaded, known=loaded.known.meaning(issuer)), sys.stdin.buffer, sys.stdout)


@app.command(name="test")
def test_(
    context: typer.Context,
    config: Config,
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Files with cases; see docs/policy/commands.md.")],
    *,
    require_coverage: Annotated[
        bool, typer.Option("--require-coverage", help="Fail, with exit code 1, if a rule decided no case.")
    ] = False,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Also write a JUnit report for a build server.")
    ] = None,
    json_output: Json = False,
) -> None:
    """Put the cases of each FILE to OPA, and say which decisions differ and which rules decided none."""
    with failures_explained(as_json_lines=json_output):
        loaded = load(config, context.obj)
        report = run_cases(loaded, read_files(files, loaded.known))
        if junit is not None:
            write_junit(report, junit, require_coverage=require_coverage)
    sys.stdout.write(json.dumps(report.as_json(), indent=2) + "\n" if json_output else report.text())
    if report.failures or (require_coverage and report.uncovered):
        raise typer.Exit(FAILED)


@app.command(name="matrix")
def matrix_(
    context: typer.Context,
    config: Config,
    *,
    issuer: Annotated[
        str | None,
        typer.Option(metavar="ISSUER", help="Show only callers for whom this one vouches, and anonymous ones."),
    ] = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write the table as CSV instead.")
    ] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write the table as one HTML page instead.")
    ] = None,
    json_output: Json = False,
) -> None:
    """Show who may do what: the callers and patterns that the policies of CONFIG name, decided by OPA."""
    # Imported here so that `ostiary run` doesn't wait for the library that draws tables.
    from translators.commands.matrix import matrix
    from translators.commands.matrix_files import write_csv, write_html
    from translators.commands.matrix_text import show_matrix

    with failures_explained(as_json_lines=json_output):
        table = matrix(load(config, context.obj), issuer)
        if csv_file is not None:
            write_csv(table, csv_file)
        if html_file is not None:
            write_html(table, html_file, visible(config.name))
    if json_output:
        sys.stdout.write(json.dumps(table.as_json(), indent=2) + "\n")
    elif csv_file is None and html_file is None:
        show_matrix(table)


def _summary(loaded: Loaded) -> str:
    policies = loaded.policies
    routes = "no route policy" if policies.routes is None else _count(len(policies.routes), "route rule")
    access = _count(len(policies.access), "access rule")
    origin = " (the default policy)" if policies.access_name == "default_policy" else ""
    authentication = "configured" if policies.authentication else "NOT configured: every access question is permitted"
    return (
        f"{visible(str(loaded.path))}: {access}{origin}, {routes}; authentication is {authentication}\n"
        f"{_count(loaded.bundle.guardrails, 'guardrail')}; revision {loaded.bundle.revision}, "
        f"{_count(len(loaded.warnings), 'warning')}"
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
                "guardrails": loaded.bundle.guardrails,
                "authentication": "configured" if policies.authentication else "off",
                "warnings": len(loaded.warnings),
            }
        )
    sys.stdout.write(f"{text}\n")
