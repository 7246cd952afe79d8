"""Guardrails that would never deny are refused with their place, and files that are not in force are told of."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml

from policy.rules import Guardrails
from policy.source.diagnostics import InvalidDocument, Span
from tests.support.guardrail_folder import CONFIG, DORA, GOOD, HEAD, loaded
from translators.guardrails.heads import with_places
from translators.guardrails.reading import read_guardrails
from translators.opa_session import OpaSession


@pytest.fixture(autouse=True)
def real_opa(opa_binary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSTIARY_OPA", str(opa_binary))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "guardrails").mkdir()
    (tmp_path / "config.yaml").write_text(CONFIG)
    return tmp_path / "guardrails"


def refusals(folder: Path) -> list[str]:
    with pytest.raises(InvalidDocument) as caught:
        read_guardrails(Guardrails(".", Span(str(folder / "config.yaml"), 3, 17)))
    return [
        f"{Path(found.span.file).name}:{found.span.line}: {found.message}; {found.hint}"
        for found in caught.value.diagnostics
    ]


def refused(folder: Path, text: str) -> str:
    (folder / "g.rego").write_text(text)
    (found,) = refusals(folder)
    return found


CASES = yaml.safe_load(Path(__file__).with_name("guardrail_cases.yaml").read_text(encoding="utf-8"))


def named(cases: list[dict[str, str]]) -> list[Any]:
    return [pytest.param(case, id=case["name"]) for case in cases]


@pytest.mark.parametrize("case", named(CASES["refused"]))
def test_what_would_never_deny_is_refused(tmp_path: Path, case: dict[str, str]) -> None:
    (tmp_path / "g.rego").write_text(HEAD + case["rego"])
    found = refusals(tmp_path)
    assert any(case["sentence"] in sentence for sentence in found), found
    assert all(sentence.startswith("g.rego:") for sentence in found)


@pytest.mark.parametrize("case", named(CASES["taken"]))
def test_what_may_deny_is_taken(tmp_path: Path, case: dict[str, str]) -> None:
    (tmp_path / "g.rego").write_text(HEAD + case["rego"])
    read = read_guardrails(Guardrails(".", Span(str(tmp_path / "config.yaml"), 3, 17)))
    assert list(read.files) == ["ostiary/guardrails/g.rego"]


def test_a_file_that_is_not_in_force_is_refused(tmp_path: Path) -> None:
    (tmp_path / "good.rego").write_text(GOOD)
    (tmp_path / "below").mkdir()
    (tmp_path / "below/a.rego").write_text(GOOD)
    (tmp_path / "LOUD.REGO").write_text(GOOD)
    (tmp_path / "tail.rego ").write_text(GOOD)
    (tmp_path / "late_test.rego").write_text(GOOD)
    (tmp_path / "latin.rego").write_bytes(GOOD.replace("no", "né").encode("latin-1"))
    (tmp_path / "gone.rego").symlink_to(tmp_path / "nowhere")
    (tmp_path / ".hidden.rego").write_text(GOOD)
    (tmp_path / "a\nb.rego").write_text(GOOD)
    told = "\n".join(refusals(tmp_path))
    for part in (
        "a.rego:1: `below/a.rego` is in a directory below, where guardrails are not in force",
        "LOUD.REGO:1: `LOUD.REGO` is not in force: the name has to end in `.rego` in small letters",
        "`tail.rego ` is not in force",
        "late_test.rego:3: this guardrail is not in force, because the name of its file ends in `_test.rego`",
        "`latin.rego` is not UTF-8",
        "`gone.rego` can't be read: No such file or directory",
        "`.hidden.rego` is not a name for a file of guardrails",
        r"`a\nb.rego` is not a name for a file of guardrails",
    ):
        assert part in told
    assert "good.rego" not in told


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "g.rego:1: OPA refuses this guardrail: empty module"),
        ("# all of it\n", "g.rego:1: OPA refuses this guardrail: empty module"),
        (HEAD, "g.rego:1: this file holds no rule"),
        ("package ostiary.guardrail\n\ndeny contains 1\n", "g.rego:1: `ostiary.guardrail` is not the package"),
        ("package ostiary.guardrails.more\n\ndeny contains 1\n", "`ostiary.guardrails.more` is not the package"),
        ("package ostiary\n\nguardrails.deny contains 1\n", "g.rego:1: `ostiary` is not the package"),
    ],
)
def test_a_file_without_a_guardrail_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    assert complaint in refused(tmp_path, text)


def test_what_is_mounted_by_kubernetes_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "..2026_01").mkdir()
    (tmp_path / "..2026_01/good.rego").write_text(GOOD)
    (tmp_path / "..data").symlink_to("..2026_01")
    (tmp_path / "good.rego").symlink_to("..data/good.rego")
    read = read_guardrails(Guardrails(".", Span(str(tmp_path / "config.yaml"), 3, 17)))
    assert read.files == {"ostiary/guardrails/good.rego": GOOD.encode()}


def test_tests_may_lie_below(tmp_path: Path) -> None:
    (tmp_path / "good.rego").write_text(GOOD)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/good_test.rego").write_text("package ostiary.guardrails\n\ntest_x if count(deny) == 0\n")
    assert len(read_guardrails(Guardrails(".", Span(str(tmp_path / "config.yaml"), 3, 17))).files) == 1


def test_files_that_are_not_read_are_warned_of(folder: Path) -> None:
    (folder / "more.rgeo").write_text(GOOD)
    (folder / "data.json").write_text("{}")
    (folder / "README.md").write_text("# ours")
    assert [found.message for found in loaded(folder, good=GOOD).warnings] == [
        "`data.json` is not read: guardrails are files whose names end in `.rego`",
        "`more.rgeo` is not read: guardrails are files whose names end in `.rego`",
    ]


def test_an_attribute_that_no_caller_has_is_warned_of_once(folder: Path) -> None:
    text = (
        'deny contains 1 if "x" in input.principal.attributes.role\n\ndeny contains 2 if "y" in of(input.principal)\n\n'
    )
    text += "of(who) := who.attributes.role\n"
    (found,) = loaded(folder, good=HEAD + text).warnings
    assert (found.code, found.span.line) == ("unknown-attribute", 3)
    assert found.hint == "did you mean `roles`?"


PIECES = ["deny contains 1\n", '"', "`", "#", "\n", "{", "}", "$", "\\", "deny", " contains ", "deny contains ", "x"]


def test_the_rest_of_a_file_stays_as_it_is() -> None:
    for pieces in itertools.product(PIECES, repeat=4):
        text = "".join(pieces)
        placed, count = with_places({"ostiary/guardrails/g.rego": text.encode()})
        left = placed["ostiary/guardrails/g.rego"].decode()
        for line in range(1, text.count("\n") + 2):
            left = left.replace(f'deny["g.rego:{line}"]', "deny")
        assert left == text
        assert count <= text.count("deny")


@pytest.mark.parametrize("table", ["openai_files", "my_files"])
def test_a_table_may_be_known_by_either_name_and_a_record_is_judged_under_both(folder: Path, table: str) -> None:
    config = folder.parent / "config.yaml"
    config.write_text(f"{CONFIG}storage: {{stores: {{files: {{backend: sql, table_name: my_files}}}}}}\n")
    rule = f'deny contains {{"reason": "no"}} if input.resource.type == "sql_record::{table}"\n'
    found = loaded(folder, g=HEAD + rule)
    types = ["sql_record::openai_files", "sql_record::my_files"]
    file = {"type": types[0], "types": types, "names": ["file-1"], "owner": DORA, "origin": "created"}
    with OpaSession(found.bundle) as opa:
        (answer,) = opa.ask([{"principal": DORA, "action": "read", "resource": file}])
    assert answer["resource"]["source"] == "g.rego:3"


@pytest.mark.parametrize(
    ("issuer", "taken"), [("https://a.example", True), ("https://b.example", True), ("https://c.example", False)]
)
def test_an_issuer_that_vouches_for_no_caller_here_is_refused(folder: Path, issuer: str, taken: bool) -> None:
    issuers = "issuers: [{issuer: 'https://a.example'}, {issuer: 'https://b.example'}]"
    provider = f"provider_config: {{type: oauth2_token, {issuers}}}"
    config = [provider.rjust(4 + len(provider)) if "provider_config" in line else line for line in CONFIG.splitlines()]
    (folder.parent / "config.yaml").write_text("\n".join(config) + "\n")
    rule = f'deny contains {{"reason": "no"}} if input.principal.issuer == "{issuer}"\n'
    if taken:
        assert loaded(folder, g=HEAD + rule).warnings == ()
    else:
        with pytest.raises(InvalidDocument, match=r"`input\.principal\.issuer` is never `https://c\.example`"):
            loaded(folder, g=HEAD + rule)


@pytest.mark.parametrize("provider", ["issuers: [{issuer: a}, {issuer: b}]", "issuers: [{issuer: a}]", "issuer: a"])
@pytest.mark.parametrize(
    ("body", "compared"),
    [
        ('input.principal.id != "ops"', "principal"),
        ('not input.principal.id in {"ops"}', "principal"),
        ('staff := {"ops"}\n\n\tinput.principal.id in staff', "principal"),
        ('input.resource.owner.id == "ops"', "resource.owner"),
        ('input.principal.id == "ops"\n\tinput.principal.issuer == "a"', None),
        ('input.principal.id == input.resource.owner.id\n\tinput.action == "delete"', None),
    ],
)
def test_with_several_issuers_an_id_is_not_enough(folder: Path, provider: str, body: str, compared: str | None) -> None:
    of = f"    provider_config: {{type: oauth2_token, {provider}}}"
    config = [of if "provider_config" in line else line for line in CONFIG.splitlines()]
    (folder.parent / "config.yaml").write_text("\n".join(config) + "\n")
    rule = f'deny contains {{"reason": "no"}} if {{\n\t{body}\n}}\n'
    if compared is None or provider.count("issuer:") < 2:
        assert loaded(folder, g=HEAD + rule).warnings == ()
    else:
        with pytest.raises(InvalidDocument, match=rf"`input\.{compared}\.id` may be another caller's") as caught:
            loaded(folder, g=HEAD + rule)
        assert caught.value.diagnostics[0].hint == f"ask for `input.{compared}.issuer` as well"
