"""Floods of refusals in the decision log: few lines that count all of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.authz.decision_log.limits import WHOLE_EACH
from tests.support.application import ByToken
from tests.support.callers import ALICE, BOB
from tests.support.decision_log_server import CONFIG
from tests.support.log_lines import VALIDATOR
from tests.support.real_policy import Decided, decided


@pytest.fixture
def narrow(opa_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Decided]:
    """A server of its own, whose log no other test has written to."""
    monkeypatch.setenv("OSTIARY_HOME", str(tmp_path / "home"))
    text = CONFIG.replace("FOLDER", str(tmp_path))
    with decided(text, opa_binary, tmp_path, authenticator=ByToken()) as running:
        yield running
        for line in running.whole_log():
            VALIDATOR.validate(line)


def test_a_flood_without_a_token_leaves_few_lines_that_count_all_of_it(narrow: Decided) -> None:
    most = 3 * WHOLE_EACH
    for path, status in (("/v1/providers", 401), ("/v1/health", 200)):
        assert {narrow.address.get(path).status for _ in range(most)} == {status}
    log = narrow.whole_log()
    for path, kind in (("/v1/providers", "refusals"), ("/v1/health", "probes")):
        about = [line for line in log if line["route"] == f"GET {path}"]
        whole = [line for line in about if line["kind"] == "route"]
        # A slow machine takes more than one window of time.
        assert WHOLE_EACH <= len(whole) < most
        assert next(line["count"] for line in about if line["kind"] == kind) == 1
    assert len(json.dumps(log)) < most * 600


def test_a_caller_that_a_limit_stops_again_and_again_is_counted_and_named(narrow: Decided) -> None:
    most = 3 * WHOLE_EACH
    assert narrow.address.get("/v1/models/open", BOB).status == 200
    assert {narrow.address.get("/v1/models/open", BOB).status for _ in range(most)} == {429}
    log = narrow.whole_log()
    assert WHOLE_EACH <= len([line for line in log if line["kind"] == "quota"]) < most
    counted = [line for line in log if line["kind"] == "refusals"]
    assert {(line["principal"], line["effect"], line["limit"]) for line in counted} == {
        ("bob", "limited", "server.quota.limits[0].max_requests")
    }


def test_a_refusal_of_a_caller_with_a_token_is_never_counted(narrow: Decided) -> None:
    most = 2 * WHOLE_EACH
    assert {narrow.address.get("/v1/providers", ALICE).status for _ in range(most)} == {403}
    assert [line["kind"] for line in narrow.whole_log()] == ["route"] * most
