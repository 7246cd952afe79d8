"""The names of test files: pytest imports each by its name alone, so that no two folders may have the same."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_no_two_files_of_tests_have_one_name() -> None:
    names = Counter(path.name for path in TESTS.rglob("test_*.py") if "node_modules" not in path.parts)
    assert len(names) > 100
    assert [name for name, count in names.items() if count > 1] == []
