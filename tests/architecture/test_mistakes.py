"""The deliberate mistakes of `make mutants` still fit the code that they change, and the tests that notice them."""

from __future__ import annotations

import json

import pytest

from tests.mutation.mistake import Mistake
from tests.mutation.run import ALL, KNOWN, REGO, ROOT


@pytest.mark.parametrize("mistake", ALL, ids=lambda mistake: mistake.name)
def test_its_text_stands_once(mistake: Mistake) -> None:
    assert (ROOT / mistake.file).read_text().count(mistake.old) == 1


def test_each_has_a_name_of_its_own() -> None:
    assert len({mistake.name for mistake in ALL}) == len(ALL)


def test_a_test_that_notices_is_known_for_each() -> None:
    """Without one, `make mutants` looks for it among all tests, which takes minutes."""
    assert {*json.loads(KNOWN.read_text())} == {mistake.name for mistake in ALL}


def test_the_tests_that_notice_are_there() -> None:
    for test in {*json.loads(KNOWN.read_text()).values()} - {REGO}:
        file, _, name = test.partition("::")
        assert not name or f"def {name}(" in (ROOT / file).read_text(), test
