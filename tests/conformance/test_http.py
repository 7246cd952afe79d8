"""Conformance cases over HTTP: what a client sees of a decision, and what the decision log says decided it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.conformance_files import Case, conformance_files
from tests.support.conformance_server import ConformanceServer

CASES = [
    pytest.param(file, case, id=f"{file.id}: {case.id}")
    for file in conformance_files()
    for case in file.cases
    if case.http is not None
]


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, opa_binary: Path) -> Iterator[ConformanceServer]:
    """The server with a conformance file's configuration."""
    with ConformanceServer(request.param, opa_binary) as running:
        yield running


@pytest.mark.parametrize(("server", "case"), CASES, indirect=["server"], scope="module")
def test_the_server_answers_as_the_case_says(server: ConformanceServer, case: Case) -> None:
    assert case.http is not None
    response, decision = server.ask(case)
    assert response.status_code == case.http.status, response.text
    if response.is_error:
        assert response.json()["error"].keys() == {"message", "type", "param", "code"}
    if case.http.code is not None:
        assert response.json()["error"]["code"] == case.http.code
    assert (decision["effect"], decision["rule"]) == (case.decision, case.rule)
