"""A question that is expected goes alone, or is asked again, where another policy answers by then or OPA is slow."""

from __future__ import annotations

from pathlib import Path

import pytest

from policy.vocabulary import Action
from server.authz import pdp as decision_point
from server.authz.contract.question import Question
from tests.unit.authz.test_authz_next_question import ANN, MADE, MODEL, OTHER, Asked, expecting, plainly, played


@pytest.fixture(autouse=True)
def busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replies stay fresh, however long the machine takes for something else."""
    monkeypatch.setattr(decision_point, "DEADLINE", 20.0)


def test_a_reply_is_not_used_once_another_policy_has_answered(tmp_path: Path) -> None:
    live = ["r1"]

    async def scene(house: Asked) -> None:
        house.pdp.expected_revision = None
        house.gate.expect(Action.CREATE, MADE)
        await house.ask(Action.READ, MODEL)
        live[0] = "r2"
        await house.pdp.ask(Question(ANN, None, Action.READ, OTHER))
        seen = house.pdp.live_since
        await house.ask(Action.CREATE, MADE)
        assert (house.pdp.live_revision, house.pdp.live_since) == ("r2", seen)

    house, lines = played(tmp_path, scene, plainly(change=lambda _asked, said: said | {"revision": live[0]}))
    assert house.exchanges == [["read", "create"], ["read"], ["create"]]
    assert lines[-1]["revision"] == "r2"


def test_two_questions_do_not_share_the_deadline_of_a_slow_opa(tmp_path: Path) -> None:
    async def scene(house: Asked) -> None:
        await house.ask(Action.READ, OTHER)
        await expecting(house)
        assert not house.pdp.breaker_open

    house, _ = played(tmp_path, scene, plainly(), deadline=0.35, seconds_each=0.2)
    assert house.outcomes == ["read None", "read None", "create ann"]
    assert house.exchanges == [["read"], ["read"], ["create"]]
