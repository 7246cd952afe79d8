"""The name of a file, a description, a value: no text becomes code or a line of its own in any file of the bundle."""

from __future__ import annotations

import json
import os
import subprocess
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.parser import read_policies
from policy.source.diagnostics import Findings
from policy.source.document import parse_document
from tests.support.command_line import ostiary
from translators.codegen.text import comment, plain
from translators.compiler import Bundle, compile_policies
from translators.guardrails.heads import with_places

CONFIG = """\
server:
  auth:
    provider_config: {type: oauth2_token, claims_mapping: {roles: roles}}
    route_policy:
      - permit: {paths: ["regex:/v1/(", /v1/models]}
        description: DESCRIPTION
    access_policy:
      - permit: {actions: [read], resource: "regex:model::("}
        description: DESCRIPTION
      - forbid: {actions: [read], resource: "model::x"}
        description: DESCRIPTION
      - permit: {actions: [read], resource: "prompt::*"}
        when: user with VALUE in roles
        description: DESCRIPTION
"""
CASES = """\
cases:
  - {id: one, principal: null, action: read, resource: "model::x", decision: deny}
"""
ENDS = ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]
INJECTED = "permit contains 0 if true"
NAMES = [f"a{end}{INJECTED}{end}#.yaml" for end in ENDS] + [
    "q\"'`\\#.yaml",
    "b\udcff.yaml",
    "\x1b[31mred\x1b[0m.yaml",
    "tab\there.yaml",
    "\u202eright\u200b.yaml",
    "${x}{{x}}%s.yaml",
    "---\n# METADATA\n# title: x.yaml",
    "\ufeff.yaml",
    "é😀.yaml",
]


def bundle(name: str, description: str = "x", value: str = "x") -> Bundle:
    """The bundle of a file of that name; the texts stand in it as YAML writes them."""
    text = CONFIG.replace("DESCRIPTION", in_yaml(description)).replace("VALUE", in_yaml(value))
    findings = Findings()
    policies = read_policies(parse_document(text, name), {}, findings)
    findings.raise_errors()
    assert policies is not None
    return compile_policies(policies)


def in_yaml(text: str) -> str:
    return '"' + "".join(f"\\U{ord(char):08x}" for char in text) + '"'


def described(text: str) -> str:
    """`text` without what the parser refuses in a description: control characters, and what UTF-8 can't carry."""
    return "".join(char for char in text if char == "\n" or unicodedata.category(char) not in {"Cc", "Cs"})


def code(files: dict[str, str]) -> dict[str, list[str]]:
    """The lines of each generated file without its comments; any character that ends a line for anyone does here."""
    return {
        path: [line for line in text.splitlines() if not line.startswith("#")]
        for path, text in files.items()
        if "/rules_" in path
    }


def texts(found: Bundle) -> dict[str, str]:
    return {path: content.decode() for path, content in found.files.items()}


def lengths(found: Bundle) -> dict[str, int]:
    return {path: len(text.splitlines()) for path, text in texts(found).items() if path.endswith(".rego")}


def same_but_for_comments(found: Bundle) -> None:
    assert code(texts(found)) == code(texts(bundle("config.yaml")))
    assert lengths(found) == lengths(bundle("config.yaml"))
    assert {Path(path).name for path in found.files} == {Path(path).name for path in bundle("config.yaml").files}


@pytest.mark.parametrize("name", NAMES)
def test_the_name_of_a_configuration_changes_no_line_of_code(name: str) -> None:
    same_but_for_comments(bundle(name))


def test_no_name_and_no_description_changes_a_line_of_code() -> None:
    parts = st.sampled_from(
        [*ENDS, INJECTED, '"', "'", "`", "\\", "#", "{", "}", "METADATA", "title:", ": ", "\t", "%"]
    )
    anything = st.lists(parts | st.text(max_size=3), max_size=8).map("".join)

    @settings(max_examples=300, database=None, derandomize=True, deadline=None)
    @given(anything, anything)
    def changes_nothing(name: str, description: str) -> None:
        same_but_for_comments(bundle(f"{name or 'x'}.yaml".replace("/", "|"), f"x{described(description)}"))

    changes_nothing()


def test_opa_reads_every_name_back_as_one_place(tmp_path: Path, opa_binary: Path) -> None:
    for number, name in enumerate(NAMES):
        folder = tmp_path / str(number)
        for path, content in bundle(name, description=described(name)).files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        command = [opa_binary, "eval", "--bundle", folder, "--format", "json", "data.ostiary.settings.access"]
        done = subprocess.run(command, check=True, capture_output=True)
        rules = json.loads(done.stdout)["result"][0]["expressions"][0]["value"]
        assert [rule["source"] for rule in rules] == [f"{plain(name)}:{line}" for line in (8, 10, 12)]
        subprocess.run([opa_binary, "check", "--strict", folder / "ostiary"], check=True)


@settings(max_examples=300, database=None, derandomize=True)
@given(st.text(st.characters(exclude_categories=[]), max_size=30))
def test_a_comment_is_one_line_of_utf_8(text: str) -> None:
    written = comment(text)
    assert written.endswith("\n")
    assert len(written.encode().decode().splitlines()) == 1
    assert plain(plain(text)) == plain(text)


@settings(max_examples=200, database=None, derandomize=True)
@given(st.text(max_size=20))
def test_the_place_of_a_guardrail_is_one_literal(name: str) -> None:
    text = "package ostiary.guardrails\n\ndeny contains 1\n"
    path = f"ostiary/guardrails/{name.replace('/', '|')}.rego"
    placed, _ = with_places({path: text.encode()})
    (found,) = placed.values()
    assert len(found.decode().splitlines()) == len(text.splitlines())
    assert found.decode().splitlines()[-1].endswith("] contains 1")


@pytest.mark.parametrize("name", [NAMES[0], NAMES[1], NAMES[9], "b\udcff.yaml", "\x1b[31mred\x1b[0m.yaml"])
def test_every_command_takes_such_a_name(tmp_path: Path, opa_binary: Path, name: str) -> None:
    def asked(*arguments: str | Path, text: str = "") -> str:
        done = ostiary(*arguments, text=text, OSTIARY_OPA=str(opa_binary))
        assert done.returncode == 0, done.stderr
        said = done.stdout + done.stderr
        assert INJECTED not in said.splitlines()
        assert "\x1b" not in said
        return said

    config, cases = tmp_path / name, tmp_path / f"t{name}"
    config.write_text(CONFIG.replace("DESCRIPTION", "x").replace("VALUE", "x"))
    cases.write_text(CASES)
    question = ("--anonymous", "--resource", "model::x")
    assert asked("explain", config, *question).startswith("deny by access_policy[1]")
    asked("check", config)
    asked("compile", config, "-o", tmp_path / "out")
    asked("compile", config, "-o", tmp_path / "out", "--check")
    assert asked("test", config, cases, "--junit", tmp_path / "j.xml").endswith("1 of 4 rules were decisive\n")
    asked("matrix", config, "--html", tmp_path / "m.html", "--csv", tmp_path / "m.csv")
    line = json.dumps({"principal": None, "action": "read", "resource": {"type": "model", "id": "x"}})
    assert json.loads(asked("decide", config, text=f"{line}\n").splitlines()[-1])["decision"] == "deny"
    assert os.fsencode(name) not in (tmp_path / "j.xml").read_bytes() or plain(name) == name
