"""Large questions to OPA: they wait for each other, go in pieces, and fail for their caller alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from policy.vocabulary import Action, Principal, Resource, Route
from server.authz.contract.errors import Failure, PolicyUnavailable
from server.authz.contract.question import ListQuestion, Question
from server.authz.opa import room
from server.authz.opa.breaker import SHORTEST_PAUSE
from server.authz.pdp import MOST_TOGETHER, PolicyDecisionPoint
from server.fairness.shares import NoRoom
from tests.support.broken_opa import Peer, reply, scripted, transport_to
from tests.support.played_opa import (
    GROUPS,
    MANY,
    SINGLE,
    Opa,
    _result,
    about,
    caller,
    everything,
    is_small,
    large,
    nothing,
    played,
    small,
    task,
)


def forms(pdp: PolicyDecisionPoint, name: str = "greedy") -> list[Coroutine[Any, Any, Any]]:
    """One of each form of a large question."""
    many, plain = caller(name, GROUPS), caller(name)
    return [
        pdp.ask(large(name)),
        pdp.ask(about(plain, owner=caller("owner", GROUPS))),
        pdp.ask(about(Principal(name, "i" * 1024, {f"{n}": ("v" * 256,) for n in range(20)}))),
        pdp.ask(Question(plain, Route("GET", "/v1/" + "a" * (room.SMALL_TEXT - 3)))),
        pdp.ask(Question(plain, None, Action.READ, Resource("model", ("a" * room.SMALL_TEXT, "b")))),
        pdp.ask_many([Question(plain, None, Action.READ, Resource("model", ("a" * room.SMALL_TEXT, "b")))]),
        pdp.ask_many([about(many), about(many, 1)]),
        pdp.ask_many([about(plain, number) for number in range(room.SMALL_QUESTIONS + 1)]),
        pdp.filter(ListQuestion(many, Action.READ, "prompt")),
    ]


FORMS = range(9)


@pytest.mark.parametrize("form", FORMS)
def test_a_large_question_without_an_answer_fails_for_its_caller_alone(
    form: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "LARGE_SECONDS", 0.05)

    async def scene(pdp: PolicyDecisionPoint, opa: Opa, peer: Peer) -> None:
        for _ in range(5):
            asked = forms(pdp)
            with pytest.raises(PolicyUnavailable) as caught:
                await asked.pop(form)
            for other in asked:
                other.close()
            assert caught.value.failure is Failure.DEADLINE
            assert not pdp.breaker_open
        assert (await pdp.ask(small("modest"))).resource is not None
        assert pdp.breaker_openings == 0

    played(tmp_path, is_small, scene)


def test_the_silence_that_large_questions_meet_opens_the_breaker_where_probes_meet_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "LARGE_SECONDS", 0.05)

    async def scene(pdp: PolicyDecisionPoint, opa: Opa, peer: Peer) -> None:
        failures = []
        for _ in range(6):
            with pytest.raises(PolicyUnavailable) as caught:
                await pdp.ask(large("greedy"))
            failures.append(caught.value.failure)
        assert failures == [Failure.DEADLINE] * 3 + [Failure.BREAKER] * 3
        opa.released.set()
        await asyncio.sleep(SHORTEST_PAUSE)
        assert (await pdp.ask(large("greedy"))).resource is not None
        assert not pdp.breaker_open

    played(tmp_path, nothing, scene, deadline=0.05)


def test_large_questions_of_one_caller_go_one_after_the_other_and_delay_no_others(tmp_path: Path) -> None:
    async def scene(pdp: PolicyDecisionPoint, opa: Opa, peer: Peer) -> None:
        greedy = [task("greedy", pdp.ask(large("greedy"))) for _ in range(16)]
        await peer.until(lambda: opa.under_way == 1)
        assert (await pdp.ask(small("greedy"))).resource is not None
        await pdp.probe(small("probe"))
        modest = task("modest", pdp.ask(large("modest")))
        await peer.until(lambda: opa.under_way == 2)
        assert [name for name in opa.names(SINGLE) if name in ("greedy", "modest")] == ["greedy", "greedy", "modest"]
        opa.released.set()
        await asyncio.gather(modest, *greedy)

    played(tmp_path, is_small, scene)


def test_as_many_large_questions_wait_as_may(tmp_path: Path) -> None:
    async def scene(pdp: PolicyDecisionPoint, opa: Opa, peer: Peer) -> None:
        more = 3
        greedy = [
            task("greedy", pdp.ask(large("greedy"))) for _ in range(room.LARGE.each + room.LARGE.waiting_each + more)
        ]
        await peer.until(lambda: opa.under_way == 1)
        refused = await asyncio.gather(*greedy[-more:], return_exceptions=True)
        assert [isinstance(one, NoRoom) and one.of_caller for one in refused] == [True] * more
        assert not pdp.breaker_open
        opa.released.set()
        await asyncio.gather(*greedy[:-more])

    played(tmp_path, is_small, scene)


@pytest.mark.parametrize("groups", [(), GROUPS, tuple(f"{number:0256d}" for number in range(1000))])
@pytest.mark.parametrize("owned", [True, False])
def test_a_long_list_goes_in_pieces_between_which_others_have_their_turns(
    groups: tuple[str, ...], owned: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "GOAL_SECONDS", 60.0)  # pieces are short because of their size alone

    async def scene(pdp: PolicyDecisionPoint, opa: Opa, peer: Peer) -> None:
        greedy = caller("greedy", groups)
        asked = [about(greedy, number, caller("owner", groups) if owned else None) for number in range(MOST_TOGETHER)]
        answers = await pdp.ask_many(asked)
        assert [one.resource.reason for one in answers if one.resource is not None] == [
            f"p{number}" for number in range(MOST_TOGETHER)
        ]
        counts = [len(found["questions"]) for _, found, _ in opa.asked]
        assert sum(counts) == MOST_TOGETHER
        assert max(counts) <= room.LARGE_QUESTIONS
        for _, found, size in opa.asked:
            principals = len(json.dumps(found["principals"]))
            assert size <= principals + 1000 + room.LARGE_BYTES
            assert len(found["principals"]) == (1 + owned)
        assert len(opa.asked) <= 10

    played(tmp_path, everything, scene)


def test_few_questions_of_which_only_some_fit_into_a_small_exchange_are_all_answered(tmp_path: Path) -> None:
    async def scene(pdp: PolicyDecisionPoint, opa: Opa, peer: Peer) -> None:
        owners = [None, caller("owner", GROUPS)]  # the first one alone would fit
        answers = await pdp.ask_many([about(caller("a"), number, owner) for number, owner in enumerate(owners)])
        assert [one.resource and one.resource.reason for one in answers] == ["p0", "p1"]

    played(tmp_path, everything, scene)


def test_a_caller_that_comes_between_two_pieces_has_its_turn_before_the_second(tmp_path: Path) -> None:
    async def scene(pdp: PolicyDecisionPoint, opa: Opa, peer: Peer) -> None:
        names = [f"c{number}" for number in range(room.LARGE.capacity + 1)]
        lists = [
            task(name, pdp.ask_many([about(caller(name), number) for number in range(MOST_TOGETHER)])) for name in names
        ]
        await peer.until(lambda: opa.under_way == room.LARGE.capacity)
        opa.released.set()
        await asyncio.gather(*lists)
        assert set(opa.names(MANY)[: len(names)]) == set(names)

    played(tmp_path, nothing, scene)


def test_an_odd_answer_to_one_piece_answers_none(tmp_path: Path) -> None:
    async def handle(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            asked = json.loads((await peer.request(reader)).partition(b"\r\n\r\n")[2])["input"]
            results = _result(MANY, asked)
            if len(peer.requests) > 1:
                results[-1]["revision"] = "r2"
            writer.write(reply(json.dumps({"result": results}).encode()))

    async def play() -> None:
        async with scripted(handle, tmp_path / "s") as peer, transport_to(peer.address) as transport:
            pdp = PolicyDecisionPoint(transport, "r1")
            with pytest.raises(PolicyUnavailable) as refused:
                await pdp.ask_many([about(caller("a"), number) for number in range(MOST_TOGETHER)])
            assert refused.value.failure is Failure.REVISION
            assert len(peer.requests) == 2

    asyncio.run(play())
