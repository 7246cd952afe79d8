"""The judge that the tests of the regex dialect share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.regex_opa import RegexJudge


@pytest.fixture(scope="session")
def judge(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> RegexJudge:
    """Real OPA."""
    return RegexJudge(opa_binary, tmp_path_factory.mktemp("regex"))
