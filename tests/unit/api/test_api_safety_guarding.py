"""The shields that a request has to go through: those required, or nothing passes, and those that it asks for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from server.api.safety.guarding import RequestGuard
from server.api.safety.shields import ConfiguredShield, Shields
from server.config.shield_params import Common
from server.safety.keyword import Keywords
from server.safety.running import RunningShield, ShieldUnavailable, UsableShield


def running(name: str) -> RunningShield:
    return RunningShield(name, Keywords({"keyword": ["a"]}, whole_words=True), Common())


def guard(*required: str, asked: tuple[str, ...] = ()) -> RequestGuard:
    nothing: Any = None
    words = running("words")
    shields = Shields({"words": ConfiguredShield("words", words)}, None, nothing, nothing, nothing, nothing)
    gate: Any = SimpleNamespace(shields=dict.fromkeys(required))
    return RequestGuard(shields, gate, {name: UsableShield(running(name), nothing) for name in asked})


def test_the_shields_of_decisions_are_required_in_their_order() -> None:
    assert [shield.running.identity for shield in guard("words").shields()] == ["words"]
    assert [*guard().shields()] == []


def test_those_that_a_request_asks_for_come_behind_them_and_each_once() -> None:
    found = guard("words", asked=("mine", "words")).shields()
    assert [shield.running.identity for shield in found] == ["words", "mine"]
    assert [shield.running.identity for shield in guard(asked=("mine",)).shields()] == ["mine"]


def test_a_required_shield_that_is_gone_lets_nothing_pass() -> None:
    with pytest.raises(ShieldUnavailable, match="the policy requires the shield `gone`"):
        guard("words", "gone", asked=("mine",)).shields()
