"""What callers have shown of themselves: the newest counts, and the memory is bounded."""

from __future__ import annotations

import pytest

from policy.vocabulary import Principal
from server.fairness import shown_callers
from server.fairness.shown_callers import ShownCallers


def caller(identity: str, *groups: str, issuer: str = "i") -> Principal:
    return Principal(identity, issuer, {"groups": groups})


def test_the_newest_attributes_of_a_caller_count() -> None:
    shown = ShownCallers()
    for principal in (caller("ann", "a", "b"), caller("ann", "c"), caller("ann", "d", issuer="other")):
        shown.note(principal)
    found = shown.newest("ann", "i")
    assert found is not None
    assert found[0] == caller("ann", "c")
    assert [each for each, _ in shown.take_new()] == [caller("ann", "c"), caller("ann", "d", issuer="other")]
    assert shown.take_new() == []


@pytest.mark.parametrize(
    ("groups", "kept"),
    [
        pytest.param(0, 5, id="as many callers as may be"),
        pytest.param(3, 3, id="fewer where they have many values"),
        pytest.param(12, 0, id="none that has more than there is room for"),
    ],
)
def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch, groups: int, kept: int) -> None:
    monkeypatch.setattr(shown_callers, "MOST_REMEMBERED", 5)
    monkeypatch.setattr(shown_callers, "MOST_VALUES", 12)
    shown = ShownCallers()
    for _ in range(2):  # the same callers again take no further room
        for number in range(9):
            shown.note(caller(f"u{number}", *map(str, range(groups))))
    left = [number for number in range(9) if shown.newest(f"u{number}", "i") is not None]
    assert left == [*range(9)][9 - kept :]
    assert len(shown.take_new()) == kept
