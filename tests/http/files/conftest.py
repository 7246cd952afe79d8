"""Set-ups that tests of files share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.files_server import Keeping, unchanged


@pytest.fixture
def clean(kept: Keeping) -> Iterator[Keeping]:
    """The module's server, of which nothing may be left that was not there before."""
    with unchanged(kept):
        yield kept
