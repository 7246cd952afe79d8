"""Turns with OPA: large questions delay no small ones, and a caller pays for its own questions alone."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from policy.vocabulary import Principal
from server.authz.opa import room
from server.authz.opa.batching import LONGEST
from server.authz.opa.transport import MAX_CONNECTIONS
from server.authz.pdp import PolicyDecisionPoint
from tests.support.broken_opa import Peer
from tests.support.patience import PATIENCE
from tests.support.played_opa import Json, Opa, about, caller, large, nothing, played, small, task


def test_one_caller_does_not_take_all_places_of_small_questions(tmp_path: Path) -> None:
    def modest_alone(path: str, asked: Json) -> bool:
        return "greedy" not in json.dumps(asked)

    async def scene(pdp: PolicyDecisionPoint, opa: Opa, peer: Peer) -> None:
        greedy = [task("greedy", pdp.ask(small("greedy"))) for _ in range(2 * room.SMALL.each)]
        await peer.until(lambda: opa.under_way > 0)
        await asyncio.sleep(0.05)
        held = pdp._exchanges.small_room
        assert (held.used, held.waiting) == (room.SMALL.each, room.SMALL.each)
        opa.released.set()
        await asyncio.gather(*greedy)
        assert (held.used, held.waiting) == (0, 0)

    played(tmp_path, modest_alone, scene)


def test_a_small_exchange_takes_a_place_for_each_of_its_questions(tmp_path: Path) -> None:
    async def scene(pdp: PolicyDecisionPoint, opa: Opa, peer: Peer) -> None:
        few = [about(caller("a"), number) for number in range(room.SMALL_QUESTIONS)]
        asked = task("a", pdp.ask_many(few))
        await peer.until(lambda: opa.under_way == 1)
        assert pdp._exchanges.small_room.used == room.SMALL_QUESTIONS
        opa.released.set()
        await asked
        assert pdp._exchanges.small_room.used == 0

    played(tmp_path, nothing, scene)


def test_a_probe_waits_for_no_caller(tmp_path: Path) -> None:
    async def scene(pdp: PolicyDecisionPoint, opa: Opa, peer: Peer) -> None:
        alone = "i" * LONGEST  # such a question shares no exchange
        busy = [task(f"c{number}", pdp.ask(about(Principal(f"c{number}", alone, {})))) for number in range(60)]
        busy += [task(f"c{number}", pdp.ask(large(f"c{number}"))) for number in range(60)]
        await peer.until(lambda: opa.under_way == room.LARGE.capacity + MAX_CONNECTIONS)
        async with asyncio.timeout(PATIENCE):
            await pdp.probe_undecided()
        opa.released.set()
        await asyncio.gather(*busy)

    played(tmp_path, lambda path, asked: asked.get("action") == "probe", scene)


def test_a_question_whose_caller_has_left_is_given_up_and_its_place_is_free_a_moment_later(tmp_path: Path) -> None:
    async def scene(pdp: PolicyDecisionPoint, opa: Opa, peer: Peer) -> None:
        held = pdp._exchanges.large_room
        left = task("greedy", pdp.ask(large("greedy")))
        await peer.until(lambda: opa.under_way == 1)
        left.cancel()
        await asyncio.gather(left, return_exceptions=True)
        await peer.until(lambda: opa.under_way == 0)
        assert held.used == 1
        opa.released.set()
        await task("greedy", pdp.ask(large("greedy")))
        assert (held.used, held.waiting, pdp.breaker_open) == (0, 0, False)

    played(tmp_path, nothing, scene)


def test_one_that_leaves_the_queue_takes_no_place_along(tmp_path: Path) -> None:
    async def scene(pdp: PolicyDecisionPoint, opa: Opa, peer: Peer) -> None:
        first, second, third = (task("greedy", pdp.ask(large("greedy"))) for _ in range(3))
        await peer.until(lambda: opa.under_way == 1)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        opa.released.set()
        await asyncio.gather(first, third)
        assert len(opa.asked) == 2

    played(tmp_path, nothing, scene)


def test_an_exchange_holds_fewer_questions_where_opa_takes_long_for_each() -> None:
    pace = room.Pace()
    pace.took(16, 16 * room.GOAL_SECONDS / 8)
    assert pace.questions == 8
    pace.took(8, 10.0)
    assert pace.questions == room.FEWEST_QUESTIONS
    for _ in range(10):
        pace.took(pace.questions, 0.0)
    assert pace.questions == room.LARGE_QUESTIONS
    pace.took(1, room.GOAL_SECONDS / 20)
    assert pace.questions == 20
