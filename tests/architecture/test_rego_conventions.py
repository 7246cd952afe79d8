"""Policy about policy: what every rule of ours, written by hand or generated, keeps to.

The rules of an auditor's linter that matter here, over `opa parse` of everything in `rego/` and of every conformance
file's compiled policy.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from policy.parser import read_policies
from policy.source.diagnostics import Findings
from policy.source.document import parse_document
from tests.support.conformance_files import CONFIG_NAME, conformance_files
from translators.compiler import compile_policies
from translators.rego_folder import REGO

LONGEST_RULE = 30
LONGEST_LINE = 120
LONGEST_FILE = 500
EXACT_UNDER_NOT = {"equal"}
"""`not input.x == "a"` is true for an absent `x`; any other call under `not` would be undefined (measured)."""

CAPTION = re.compile(r'# For lists: ".+", (access|default)_policy\[\d+\], "(config|default)\.yaml:\d+"')
"""What stands above a rule for lists, whose METADATA are those of the rule for one record, above it."""

Node = dict[str, Any]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every Rego file: those of `rego/` by their paths, generated ones below the id of their conformance file."""
    found = {str(path.relative_to(REGO)): path for path in sorted(REGO.rglob("*.rego"))}
    for file in conformance_files():
        findings = Findings()
        policies = read_policies(parse_document(file.config, CONFIG_NAME), file.environ, findings)
        assert policies is not None
        for name, content in compile_policies(policies).files.items():
            if name.endswith(".rego") and "rules_" in name:
                path = tmp_path_factory.mktemp(file.id) / Path(name).name
                path.write_bytes(content)
                found[f"{file.id}/{name}"] = path
    return found


@cache
def parsed(opa: Path, path: Path) -> Node:
    command = [opa, "parse", "--format", "json", "--json-include", "locations,comments", path]
    module: Node = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return module


def package(module: Node) -> str:
    return "/".join(part["value"] for part in module["package"]["path"][1:])


def expressions(node: Any) -> Iterator[Node]:
    """Every expression of a module, at any depth."""
    if isinstance(node, dict):
        if "terms" in node:
            yield node
        for value in node.values():
            yield from expressions(value)
    elif isinstance(node, list):
        for value in node:
            yield from expressions(value)


def called(expression: Node) -> str | None:
    terms = expression["terms"]
    if not isinstance(terms, list) or terms[0]["type"] != "ref":
        return None
    return ".".join(str(part["value"]) for part in terms[0]["value"])


def asks_input(expression: Node) -> bool:
    references = [term["value"] for term in expression["terms"][1:] if term["type"] == "ref"]
    return any(reference[0]["value"] == "input" for reference in references)


def test_package_is_folder(sources: dict[str, Path], opa_binary: Path) -> None:
    for name, path in sources.items():
        folder = str(Path(name).parent)
        declared = package(parsed(opa_binary, path)).removesuffix("_test")
        assert folder == declared or folder.endswith(f"/{declared}"), name


def test_nothing_but_equality_is_negated_over_the_question(sources: dict[str, Path], opa_binary: Path) -> None:
    for name, path in sources.items():
        for expression in expressions(parsed(opa_binary, path)):
            if expression.get("negated") and asks_input_call(expression):
                assert called(expression) in EXACT_UNDER_NOT, f"{name}: {expression['location']}"


def asks_input_call(expression: Node) -> bool:
    return isinstance(expression["terms"], list) and asks_input(expression)


def test_no_inequality_over_what_may_be_missing(sources: dict[str, Path], opa_binary: Path) -> None:
    for name, path in sources.items():
        for expression in expressions(parsed(opa_binary, path)):
            if called(expression) == "neq":
                assert not asks_input(expression), f"{name}: {expression['location']}"


def test_every_rule_calls_only_what_the_capabilities_allow(sources: dict[str, Path], opa_binary: Path) -> None:
    generated = [path for name, path in sources.items() if "rules_" in name]
    command = [opa_binary, "check", "--strict", "--capabilities", REGO / "capabilities.json", REGO]
    assert subprocess.run(command, check=False).returncode == 0
    for path in generated:
        single = [*command[:-1], path, REGO / "ostiary"]
        assert subprocess.run(single, check=False).returncode == 0, path


def test_rules_lines_and_files_stay_short(sources: dict[str, Path]) -> None:
    for name, path in sources.items():
        lines = path.read_text().splitlines()
        assert len(lines) <= LONGEST_FILE or "rules_" in name, name
        for number, line in enumerate(lines, 1):
            generated_data = "rules_" in name or "regex.match" in line
            assert generated_data or len(line) <= LONGEST_LINE, f"{name}:{number}"
        body = 0
        for number, line in enumerate(lines, 1):
            body = 0 if line == "}" or not line else body + 1
            assert body <= LONGEST_RULE or name.endswith("_test.rego"), f"{name}:{number}"


def test_every_generated_rule_has_its_title_and_its_source(sources: dict[str, Path], opa_binary: Path) -> None:
    for name, path in sources.items():
        if "rules_" not in name:
            continue
        done = subprocess.run([opa_binary, "inspect", "-a", "-f", "json", path], check=True, capture_output=True)
        annotated = {
            entry["location"]["row"]: entry["annotations"] for entry in json.loads(done.stdout).get("annotations", [])
        }
        lines = path.read_text().splitlines()
        for rule in parsed(opa_binary, path)["rules"]:
            row = rule["location"]["row"]
            if not rule["head"].get("key"):
                continue  # an empty set stands for no rule
            if rule["head"]["name"].endswith("_where"):
                assert CAPTION.fullmatch(lines[row - 2]), f"{name}:{row}"
                continue
            annotation = annotated[row]
            assert annotation["title"], name
            assert annotation["custom"]["source"].startswith((f"{CONFIG_NAME}:", "default.yaml:")), name


def test_the_law_says_what_each_of_its_rules_is_for(opa_binary: Path) -> None:
    for path in sorted(REGO.rglob("*.rego")):
        if path.name.endswith("_test.rego"):
            continue
        lines = path.read_text().splitlines()
        assert lines[0] == "# METADATA", path
        documented = sum(line == "# METADATA" for line in lines)
        assert documented >= 2, path
