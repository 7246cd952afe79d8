"""Every conformance case, judged by the reference model, by `opa test` and by OPA over REST."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.reference import model
from tests.reference.configuration import auth, load
from tests.support.conformance_files import CONFIG_NAME, Case, ConformanceFile, conformance_files
from tests.support.conformance_files import load as load_file
from tests.support.opa_engine import OpaServer, compile_config, expected, opa_test
from translators.compiler import Bundle

PAGE = Path(__file__).with_name("README.md")
DEFAULT = Path(__file__).parents[2] / "policy" / "default.yaml"
CASES = [pytest.param(file, case, id=f"{file.id}: {case.id}") for file in conformance_files() for case in file.cases]


@cache
def compiled(file: ConformanceFile) -> Bundle:
    """The bundle of a conformance file's configuration."""
    return compile_config(file.config, file.environ)


@pytest.fixture(scope="module")
def served(request: pytest.FixtureRequest, opa_binary: Path) -> Iterator[tuple[ConformanceFile, OpaServer]]:
    """A conformance file and an OPA that serves its bundle."""
    with OpaServer(opa_binary, compiled(request.param).archive) as opa:
        yield request.param, opa


@pytest.fixture(scope="module")
def tested(
    request: pytest.FixtureRequest, opa_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bool]:
    """Which cases of a conformance file passed `opa test`."""
    file: ConformanceFile = request.param
    return opa_test(opa_binary, compiled(file).files, file.cases, tmp_path_factory.mktemp(file.id))


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 350


@pytest.mark.parametrize(("file", "case"), CASES)
def test_the_reference_model_decides_as_the_case_says(file: ConformanceFile, case: Case) -> None:
    assert decided_by_the_model(file, case) == (case.decision, case.index)


def test_the_reference_model_decides_as_the_example_on_the_page_says(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    path = tmp_path / "example.yaml"
    path.write_text(example)
    file = load_file(path)
    assert [decided_by_the_model(file, case) for case in file.cases] == [
        (case.decision, case.index) for case in file.cases
    ]


def decided_by_the_model(file: ConformanceFile, case: Case) -> tuple[str, int | None]:
    """Return the decision of the reference model and the index of the rule that makes it."""
    config, question = load(file.config, file.environ), case.question
    principal = question["principal"]
    if case.asked == "route":
        return model.decide_route(config, principal, question["route"]["method"], question["route"]["path"])
    return model.decide_access(config, principal, question["action"], question["resource"])


@pytest.mark.parametrize(("tested", "case"), CASES, indirect=["tested"], scope="module")
def test_opa_test_on_the_compiled_bundle_passes_the_case(tested: dict[str, bool], case: Case) -> None:
    assert tested[case.id]


@pytest.mark.parametrize(("served", "case"), CASES, indirect=["served"], scope="module")
def test_opa_over_rest_decides_as_the_case_says(served: tuple[ConformanceFile, OpaServer], case: Case) -> None:
    file, opa = served
    answer = opa.ask(case.engine_question)
    assert {answer["contract"], answer["revision"]} == {1, compiled(file).revision}
    assert answer.keys() == {"contract", "revision", case.asked}
    decision = answer[case.asked]
    assert {key: decision[key] for key in expected(case)} == expected(case)
    assert explanation(decision) == explanation_in_the_file(file, case, decision["source"])


def explanation(decision: dict[str, Any]) -> tuple[Any, bool]:
    """The description of a decision, and whether it names a place."""
    return decision["description"], decision["source"] is not None


def explanation_in_the_file(file: ConformanceFile, case: Case, source: str | None) -> tuple[Any, bool]:
    """The same from the configuration, after checking that the place is where the determining rule starts."""
    if case.rule is None or case.index is None:
        return None, False
    policy = case.rule.partition("[")[0]
    assert source is not None
    name, _, line = source.rpartition(":")
    if policy == "default_policy":
        text, rules = DEFAULT.read_text(), yaml.safe_load(DEFAULT.read_text())["access_policy"]
    else:
        text, rules = file.config, auth(load(file.config, file.environ))[policy]
    rule = rules[case.index]
    assert text.splitlines()[int(line) - 1].lstrip().startswith("- permit:" if "permit" in rule else "- forbid:")
    return rule.get("description"), name == (DEFAULT.name if policy == "default_policy" else CONFIG_NAME)
