"""The deliberate mistakes of `make mutants` still fit the code that they change."""

from __future__ import annotations

import pytest

from tests.mutation.mistake import Mistake
from tests.mutation.run import ALL, ROOT


@pytest.mark.parametrize("mistake", ALL, ids=lambda mistake: mistake.name)
def test_its_text_stands_once(mistake: Mistake) -> None:
    assert (ROOT / mistake.file).read_text().count(mistake.old) == 1


def test_each_has_a_name_of_its_own() -> None:
    assert len({mistake.name for mistake in ALL}) == len(ALL)
