"""The shields that a request has to go through: those that there are, or nothing passes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from server.api.safety.guarding import RequestGuard
from server.api.safety.shields import ConfiguredShield, Shields
from server.config.shield_params import Common
from server.safety.keyword import Keywords
from server.safety.running import RunningShield, ShieldUnavailable


def guard(*required: str) -> RequestGuard:
    nothing: Any = None
    words = RunningShield("words", Keywords({"keyword": ["a"]}, whole_words=True), Common())
    shields = Shields({"words": ConfiguredShield("words", words)}, None, nothing, nothing, nothing, nothing)
    gate: Any = SimpleNamespace(shields=dict.fromkeys(required))
    return RequestGuard(shields, gate)


def test_the_shields_of_decisions_are_required_in_their_order() -> None:
    assert [shield.identity for shield in guard("words").required()] == ["words"]
    assert guard().required() == []


def test_a_required_shield_that_is_gone_lets_nothing_pass() -> None:
    with pytest.raises(ShieldUnavailable, match="the policy requires the shield `gone`"):
        guard("words", "gone").required()
