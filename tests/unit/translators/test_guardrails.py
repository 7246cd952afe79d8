"""Hand-written Rego above the rules: in force where it is good, refused with its place where it isn't."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from policy.parser import read_policies
from policy.rules import Guardrails
from policy.source.diagnostics import Findings, InvalidDocument, Span
from policy.source.document import read_document
from translators.commands.loading import compiled, load
from translators.guardrails.reading import read_guardrails
from translators.opa import OpaNotFound
from translators.opa_session import OpaSession

ROOT = Path(__file__).parent.parent.parent.parent
EXAMPLE = ROOT / "examples/guardrails"
QUESTION = {
    "principal": {"id": "u", "issuer": "", "attributes": {"roles": ["contractor"]}},
    "action": "read",
    "resource": {"type": "model", "names": ["echo/frozen-2024", "frozen-2024"], "owner": None, "origin": "config"},
}


@pytest.fixture(autouse=True)
def real_opa(opa_binary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSTIARY_OPA", str(opa_binary))


def refused(folder: Path, text: str) -> str:
    (folder / "g.rego").write_text(text)
    with pytest.raises(InvalidDocument) as caught:
        read_guardrails(Guardrails(".", Span(str(folder / "config.yaml"), 3, 17)))
    (found,) = caught.value.diagnostics
    return f"{Path(found.span.file).name}:{found.span.line}: {found.message}"


def test_a_guardrail_overrides_the_permit_and_says_why() -> None:
    loaded = load(EXAMPLE / "config.yaml")
    other = {**QUESTION, "resource": {**QUESTION["resource"], "names": ["echo/assistant"]}}
    with OpaSession(loaded.bundle) as opa:
        frozen, assistant = opa.ask([QUESTION, other])
    assert frozen["resource"]["effect"] == "deny"
    assert frozen["resource"]["description"] == "this model is frozen while it is examined"
    assert frozen["resource"]["source"] == "frozen.rego:10"
    assert assistant["resource"]["effect"] == "permit"


def test_the_examples_own_tests_pass(opa_binary: Path) -> None:
    command = [opa_binary, "test", "--coverage", "--threshold", "100", "--fail-on-empty", EXAMPLE / "guardrails"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_tests_stay_outside_the_bundle() -> None:
    files = load(EXAMPLE / "config.yaml").bundle.files
    assert [name for name in files if "guardrails" in name] == ["ostiary/guardrails/frozen.rego"]


def test_another_guardrail_is_another_revision(tmp_path: Path) -> None:
    (tmp_path / "guardrails").mkdir()
    (tmp_path / "config.yaml").write_text((EXAMPLE / "config.yaml").read_text())
    text = (EXAMPLE / "guardrails/frozen.rego").read_text()
    (tmp_path / "guardrails/frozen.rego").write_text(text)
    before = load(tmp_path / "config.yaml").bundle.revision
    (tmp_path / "guardrails/frozen.rego").write_text(text.replace("frozen-", "cold-"))
    assert load(tmp_path / "config.yaml").bundle.revision != before


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("package other\n\ndeny contains 1\n", "g.rego:1: `other` is not the package of guardrails"),
        ("package ostiary.guardrails\n\ndeny contains 1 if {\n", "g.rego:4: OPA refuses this guardrail: "),
        (
            'package ostiary.guardrails\n\ndeny contains 1 if http.send({"url": "x"})\n',
            "g.rego:3: OPA refuses this guardrail: undefined function http.send",
        ),
        (
            "package ostiary.guardrails\n\ndeny contains 1 if time.now_ns() > 5\n",
            "g.rego:3: OPA refuses this guardrail: undefined function time.now_ns",
        ),
    ],
)
def test_a_bad_guardrail_is_refused_with_its_place(tmp_path: Path, text: str, complaint: str) -> None:
    assert refused(tmp_path, text).startswith(complaint)


def test_a_directory_without_guardrails_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidDocument, match="`empty` holds no Rego files"):
        read_guardrails(Guardrails("empty", Span(str(tmp_path / "config.yaml"), 3, 17)))


def test_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidDocument, match="there is no directory `nowhere`; name one with Rego files"):
        read_guardrails(Guardrails("nowhere", Span(str(tmp_path / "config.yaml"), 3, 17)))


def test_guardrails_that_were_checked_elsewhere_take_no_opa(monkeypatch: pytest.MonkeyPatch) -> None:
    config = EXAMPLE / "config.yaml"
    checked = load(config).bundle
    monkeypatch.setenv("OSTIARY_OPA", "/nowhere")
    document, findings = read_document(config), Findings()
    policies = read_policies(document, {}, findings)
    assert policies is not None
    unchecked = compiled(config, document, policies, findings, check_guardrails=False)
    assert unchecked is not None
    assert unchecked.bundle == checked
    with pytest.raises(OpaNotFound):
        load(config)


def test_the_capabilities_leave_out_what_reaches_outside(opa_binary: Path) -> None:
    written = json.loads((ROOT / "rego/capabilities.json").read_text())
    current = json.loads(
        subprocess.run([opa_binary, "capabilities", "--current"], check=True, capture_output=True).stdout
    )
    names = {builtin["name"] for builtin in written["builtins"]}
    reaching = {builtin["name"] for builtin in current["builtins"] if builtin.get("nondeterministic")}
    assert reaching >= {"http.send", "opa.runtime", "rand.intn", "time.now_ns"}
    assert not names & (reaching | {"print", "trace", "rego.parse_module"})
    assert names <= {builtin["name"] for builtin in current["builtins"]}
    assert written["allow_net"] == []
