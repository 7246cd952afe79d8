"""What one caller can hold of each share that the server has."""

from __future__ import annotations

import pytest

from server.cli.limits.shares import SHARES
from server.fairness.shares import Share


@pytest.mark.parametrize("share", [shared.share for shared in SHARES], ids=lambda share: share.name)
def test_one_caller_leaves_a_third_of_each_share_to_others(share: Share) -> None:
    assert share.capacity == 1 or 3 * share.each <= 2 * share.capacity
