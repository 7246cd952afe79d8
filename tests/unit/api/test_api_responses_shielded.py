"""Outcomes of tools that go through shields: which texts they have, and what becomes of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from server.api.responses.happenings import Source
from server.api.responses.server_tools.outcome_texts import texts_in, with_texts
from server.api.responses.server_tools.shielded import ShieldedOutcomes
from server.api.responses.server_tools.tool import Outcome
from server.config.shield_params import Common
from server.safety.keyword import Keywords
from server.safety.returned import ReturnedTexts
from server.safety.running import RunningShield, ShieldUnavailable, UsableShield
from server.safety.shield import SAFE, Direction, Judges, Said, ShieldFailed, Verdict
from tests.support.scripted_tools import Tool


class Call:
    """A call of a tool of a test."""

    tool, arguments = Tool(), "{}"


class Failing:
    """A shield without verdicts."""

    reads_images = False

    async def check(self, said: Sequence[Said], direction: Direction, judges: Judges) -> Verdict:
        raise ShieldFailed("it is down")


class Guard:
    """One shield, which acts unless it only tells."""

    def __init__(self, shield: Any, *only_tells: Direction) -> None:
        self._shield = RunningShield("words", shield, Common(10, "not this", lets_pass=False))
        self._only_tells = frozenset(only_tells)
        self.noted = list[Verdict]()

    def shields(self) -> Sequence[UsableShield]:
        judges: Any = None
        return [UsableShield(self._shield, judges, self._only_tells)]

    async def note(
        self, shield: str, direction: Direction, verdict: Verdict, characters: int, *, acts: bool = True
    ) -> None:
        self.noted.append(verdict)


WORDS = Keywords({"words": ["falcon"]}, whole_words=True)


def passed(outcome: Outcome, guard: Guard | None) -> tuple[Outcome, ShieldedOutcomes]:
    shields = ShieldedOutcomes(ReturnedTexts(guard))
    [(_, found)] = asyncio.run(_all(shields, outcome))
    return found, shields


async def _all(shields: ShieldedOutcomes, *outcomes: Outcome) -> Sequence[tuple[Call, Outcome]]:
    return await shields.all_passed([(Call(), outcome) for outcome in outcomes])


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome("a falcon"),
        Outcome("", members={"output": "a falcon"}),
        Outcome("", members={"results": [{"attributes": {"falcon": 1}}]}),
        Outcome("", members={"results": ({"attributes": {"type": "falcon"}},)}),
        Outcome("", events=[("x.done", {"delta": "falcon"})]),
        Outcome("", sources=[Source("file-1", "falcon")]),
    ],
    ids=range(6),
)
def test_every_text_is_checked(outcome: Outcome) -> None:
    guard = Guard(WORDS)
    found, shields = passed(outcome, guard)
    assert (found.status, found.told, shields.has_stopped) == ("failed", "not this", True)
    assert [verdict.flagged for verdict in guard.noted] == [True]


def test_our_own_sentences_and_shields_that_only_tell_cost_nothing() -> None:
    for outcome, guard in (
        (Outcome("a falcon", is_ours=True), Guard(WORDS)),
        (Outcome("a falcon"), Guard(WORDS, Direction.INPUT)),
        (Outcome("a falcon"), None),
    ):
        found, shields = passed(outcome, guard)
        assert (found is outcome, shields.has_stopped, guard and guard.noted) == (True, False, guard and [])


def test_a_result_that_is_too_long_to_check_fails_its_call_alone() -> None:
    found, shields = passed(Outcome("x" * 600_000), Guard(WORDS))
    assert (found.status, shields.has_stopped) == ("failed", False)
    assert "500000 characters" in found.told


def test_a_check_that_fails_is_raised_as_it_is() -> None:
    shields = ShieldedOutcomes(ReturnedTexts(Guard(Failing())))
    with pytest.raises(ShieldUnavailable):
        asyncio.run(_all(shields, Outcome("a"), Outcome("b")))


def test_texts_are_put_back_where_they_were() -> None:
    outcome = Outcome(
        "told",
        members={"output": ["told", {"deep": "other"}], "number": 1, "none": None},
        events=[("x", {"delta": "other"})],
        sources=[Source("file-1", "told")],
    )
    assert texts_in(outcome) == ["told", "output\nnumber\nnone", "deep", "delta", "other"]
    changed = with_texts(outcome, {"told": "TOLD", "other": "OTHER"})
    assert changed == Outcome(
        "TOLD",
        members={"output": ["TOLD", {"deep": "OTHER"}], "number": 1, "none": None},
        events=[("x", {"delta": "OTHER"})],
        sources=[Source("file-1", "TOLD")],
    )
    assert with_texts(outcome, {"deep": "DEEP"}) is None


def test_what_is_told_of_the_members_is_made_of_them_again() -> None:
    outcome = Outcome("<a>", members={"output": "a"}, tell=lambda members: f"<{members['output']}>")
    assert "<a>" not in texts_in(outcome)
    changed = with_texts(outcome, {"a": "b"})
    assert changed is not None
    assert changed.told == "<b>"


def test_a_name_that_is_masked_is_stopped() -> None:
    class Masking(Failing):
        async def check(self, said: Sequence[Said], direction: Direction, judges: Judges) -> Verdict:
            masked = tuple(each.text.replace("ann", "{NAME}") for each in said)
            return Verdict(flagged=False, masked=masked) if "{NAME}" in "".join(masked) else SAFE

    found, shields = passed(Outcome("ann", members={"output": "ann"}), Guard(Masking()))
    assert (found.told, found.members, shields.has_stopped) == ("{NAME}", {"output": "{NAME}"}, False)
    found, shields = passed(Outcome("x", members={"results": {"ann": 1}}), Guard(Masking()))
    assert (found.status, shields.has_stopped) == ("failed", True)
