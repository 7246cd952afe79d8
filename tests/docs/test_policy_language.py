"""`docs/policy/policy-language.md` names the words that there are, and its examples mean what it says."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from policy import vocabulary
from policy.claims import DEFAULT_CLAIMS
from policy.conditions import FORMS
from policy.parser import read_policies
from policy.regexes import PATTERN_LIMIT
from policy.resource_types import RECORD_TABLES, RESOURCE_TYPES, TYPE_SYNONYMS
from policy.routes import METHODS, PUBLIC_ROUTES
from policy.source.diagnostics import Findings, Severity
from policy.source.document import parse_document
from policy.tables import STORES
from server.config import read_config
from tests.support.policy_pages import ROOT, Example, examples, failures, loaded, printed, rewritten
from translators.regex import Untranslatable, translate

PAGE = ROOT / "docs/policy/policy-language.md"
TEXT = PAGE.read_text()
EXAMPLES = [pytest.param(example, id=example.name) for example in examples(PAGE)]


def first_column(name: str) -> list[str]:
    """The words in back-quotes in the first column of the table behind that mark."""
    table = TEXT.split(f"<!-- vocabulary: {name} -->")[1].lstrip("\n").split("\n\n")[0]
    cells = [row.strip().strip("|").split(" | ")[0] for row in table.splitlines()[2:]]
    return [word for cell in cells for word in re.findall(r"`([^`]+)`", cell)]


def test_types_are_those_of_the_vocabulary() -> None:
    assert first_column("types") == [*RESOURCE_TYPES, f"{vocabulary.RECORD_PREFIX}TABLE"]
    for spelling, canonical in TYPE_SYNONYMS.items():
        assert f"`{spelling}` is a second spelling of `{canonical}`" in TEXT


def test_tables_are_those_of_the_vocabulary() -> None:
    assert first_column("tables") == list(RECORD_TABLES)
    for store, table in STORES.items():
        assert re.search(rf"^\| `{table}` \|.*\| `table_name` of `storage.stores.{store}` \|$", TEXT, re.MULTILINE)


def test_conditions_are_those_of_the_parser() -> None:
    assert set(first_column("conditions")) == set(FORMS)


def test_actions_are_those_of_the_vocabulary() -> None:
    (row,) = re.findall(r"^\| action \| (.*) \|$", TEXT, re.MULTILINE)
    assert re.findall(r"`(\w+)`", row) == [str(action) for action in vocabulary.Action]


def test_methods_and_public_routes_are_those_of_the_code() -> None:
    (sentence,) = re.findall(r"narrows a rule to those methods: (.*?)\.", TEXT, re.DOTALL)
    assert re.findall(r"`(\w+)`", sentence) == list(METHODS)
    (sentence,) = re.findall(r"requires a valid token, except (.*?)\.", TEXT, re.DOTALL)
    assert re.findall(r"`(.*?)`", sentence) == [f"{route.method} {route.path}" for route in PUBLIC_ROUTES]


def test_default_claims_are_those_of_the_code() -> None:
    table = TEXT.split("<!-- vocabulary: claims -->")[1].lstrip("\n").split("\n\n")[0]
    assert dict(re.findall(r"^ *\| `(\w+)` \| `(\w+)` \|$", table, re.MULTILINE)) == DEFAULT_CLAIMS


def test_the_longest_pattern_is_that_of_the_parser() -> None:
    assert f"at most {PATTERN_LIMIT:,} characters" in TEXT


def test_what_has_no_translation_is_refused_under_its_name() -> None:
    table = TEXT.split("<!-- vocabulary: refused -->")[1].lstrip("\n").split("\n\n")[0]
    for row in table.splitlines()[2:]:
        constructs, patterns = row.strip("|").replace("`", "").split(" | ")
        for construct, pattern in zip(constructs.split(","), patterns.split(","), strict=True):
            with pytest.raises(Untranslatable) as refused:
                translate(pattern.strip())
            assert refused.value.construct == construct.strip()


def test_what_is_not_there_yet_does_not_load() -> None:
    rule = "{permit: {actions: read, resource: 'audit::*'}}"
    providers = "providers: {inference: [{provider_id: p, provider_type: inline::echo}]}\n"
    document = parse_document(f"server: {{auth: {{access_policy: [{rule}]}}}}\n{providers}", "config.yaml")
    findings = Findings()
    loaded = read_policies(document, {}, findings) is not None and read_config(document, {}, findings) is not None
    assert not loaded
    assert [found.code for found in findings.diagnostics if found.severity is Severity.ERROR] == ["unknown-type"]


def test_sections_keep_their_numbers() -> None:
    assert [int(number) for number in re.findall(r"^## (\d+)\. ", TEXT, re.MULTILINE)] == list(range(1, 12))


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_means_what_the_page_says(
    example: Example, tmp_path: Path, opa_binary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSTIARY_OPA", str(opa_binary))
    monkeypatch.chdir(tmp_path)
    policy, found = loaded(example, tmp_path)
    assert example.cases or example.printed is not None, "neither cases nor findings follow"
    if example.printed is not None or policy is None:
        text = printed(example, found)
        if os.environ.get("OSTIARY_GOLDEN") == "rewrite":
            rewritten(example, text)
        else:
            assert text == example.printed
    if example.cases:
        assert policy is not None, found
        assert not failures(example, policy, tmp_path)
