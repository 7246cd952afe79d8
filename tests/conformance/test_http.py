"""Conformance cases over HTTP: what a client sees of a decision, and what the decision log says decided it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.conformance_files import Case, conformance_files
from tests.support.conformance_server import Door

CASES = [
    pytest.param(file, case, id=f"{file.id}: {case.id}")
    for file in conformance_files()
    for case in file.cases
    if case.http is not None
]


@pytest.fixture(scope="module")
def door(request: pytest.FixtureRequest, opa_binary: Path) -> Iterator[Door]:
    """The server with a conformance file's configuration."""
    with Door(request.param, opa_binary) as running:
        yield running


@pytest.mark.parametrize(("door", "case"), CASES, indirect=["door"], scope="module")
def test_the_door_answers_as_the_case_says(door: Door, case: Case) -> None:
    assert case.http is not None
    response, decision = door.ask(case)
    assert response.status_code == case.http.status, response.text
    if response.is_error:
        assert response.json()["error"].keys() == {"message", "type", "param", "code"}
    if case.http.code is not None:
        assert response.json()["error"]["code"] == case.http.code
    assert (decision["effect"], decision["rule"]) == (case.decision, case.rule)
