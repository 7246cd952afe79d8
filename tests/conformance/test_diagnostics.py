"""Every policy that must not load, or must be pointed out: the finding, its line and its words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from policy.parser import read_policies
from policy.source.diagnostics import Diagnostic, Findings, InvalidDocument, Severity
from policy.source.document import parse_document
from translators.compiler import compile_policies

FOLDER = Path(__file__).parent / "diagnostics"
PROVIDER = '    provider_config: {type: oauth2_token, jwks: {uri: "https://issuer.example/jwks"}}\n'


@dataclass(frozen=True, slots=True)
class Flawed:
    """A configuration, how many of its lines come before the part that the case shows, and what must be found."""

    text: str
    before: int
    finds: dict[int, str]
    environ: dict[str, str]


def flawed(entry: dict[str, object]) -> Flawed:
    """The case as a whole configuration; unknown fields are refused by the unpacking."""
    (section,) = entry.keys() & {"access", "route", "auth", "config"}
    assert entry.keys() - {"environ"} == {"id", "finds", section}
    shown, finds, environ = entry[section], entry["finds"], entry.get("environ", {})
    assert isinstance(shown, str)
    assert isinstance(finds, dict)
    assert isinstance(environ, dict)
    if section == "config":
        return Flawed(shown, 0, finds, environ)
    head = "version: 2\nserver:\n  auth:\n"
    if section != "auth":
        head += f"{PROVIDER}    {section}_policy:\n"
    elif "provider_config" not in shown:
        head += PROVIDER
    margin = " " * (4 if section == "auth" else 6)
    indented = "".join(f"{margin}{line}\n" for line in shown.splitlines())
    return Flawed(head + indented, head.count("\n"), finds, environ)


def cases(name: str) -> list[object]:
    """The cases of one file, as parameters."""
    content = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    assert content.keys() == {"about", "cases"}
    return [pytest.param(flawed(entry), id=entry["id"]) for entry in content["cases"]]


def findings_of(case: Flawed) -> tuple[bool, list[Diagnostic]]:
    """Whether a configuration's policies load and compile, and everything that was found on the way."""
    findings = Findings()
    try:
        policies = read_policies(parse_document(case.text, "config.yaml"), case.environ, findings)
        if policies is not None:
            compile_policies(policies)
    except InvalidDocument as invalid:
        return False, [*findings.diagnostics, *invalid.diagnostics]
    return policies is not None, findings.diagnostics


@pytest.mark.parametrize("case", cases("errors"))
def test_the_policy_is_refused_with_line_and_reason(case: Flawed) -> None:
    loads, found = findings_of(case)
    errors = [diagnostic for diagnostic in found if diagnostic.severity is Severity.ERROR]
    assert not loads
    assert_found(case, errors)


@pytest.mark.parametrize("case", cases("warnings"))
def test_the_policy_loads_and_is_pointed_out(case: Flawed) -> None:
    loads, found = findings_of(case)
    assert loads
    assert {diagnostic.severity for diagnostic in found} == {Severity.WARNING}
    assert_found(case, found)


def assert_found(case: Flawed, found: list[Diagnostic]) -> None:
    """One finding on each line that the case names, none elsewhere, each with the words it must hold."""
    assert [diagnostic.span.line - case.before for diagnostic in found] == list(case.finds)
    for diagnostic, words in zip(found, case.finds.values(), strict=True):
        assert words in f"{diagnostic.message}; {diagnostic.hint}"
        assert diagnostic.span.file == "config.yaml"
