"""Turns with OPA: large questions delay no small ones, and a caller pays for its own questions alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from policy.vocabulary import Action, Origin, Principal, Resource, Route
from server.authz.contract.errors import Failure, PolicyUnavailable
from server.authz.contract.question import ListQuestion, Question
from server.authz.opa import room
from server.authz.opa.batching import LONGEST
from server.authz.opa.breaker import SHORTEST_PAUSE
from server.authz.opa.transport import MAX_CONNECTIONS
from server.authz.pdp import MOST_TOGETHER, PolicyDecisionPoint
from server.fairness.caller import CURRENT
from server.fairness.shares import NoRoom
from tests.support.broken_opa import Peer, decision, reply, scripted, transport_to

Json = dict[str, Any]
GROUPS = tuple(f"{number:036d}" for number in range(150))
SINGLE, MANY, LIST = "/decision/answer?", "/decision/answers?", "/filters/answer?"


def caller(name: str, groups: tuple[str, ...] = ()) -> Principal:
    return Principal(name, "i", {"teams": groups})


def about(principal: Principal, number: int = 0, owner: Principal | None = None) -> Question:
    return Question(principal, action=Action.READ, resource=Resource("prompt", (f"p{number}",), owner, Origin.CREATED))


def small(name: str) -> Question:
    return about(caller(name))


def large(name: str) -> Question:
    return about(caller(name, GROUPS))


class Opa:
    """A scripted OPA: `answers` says which exchanges it answers at once; the others it answers after `release`."""

    def __init__(self, answers: Callable[[str, Json], bool]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, Json, int]] = []
        self.under_way = 0
        self.released = asyncio.Event()

    async def __call__(self, peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head, _, body = (await peer.request(reader)).partition(b"\r\n\r\n")
            path, asked = head.decode().split()[1], json.loads(body)["input"]
            self.asked.append((path, asked, len(body)))
            if not self.answers(path, asked):
                self.under_way += 1
                await peer.change()
                gone = asyncio.create_task(reader.read(1))
                freed = asyncio.create_task(self.released.wait())
                await asyncio.wait([gone, freed], return_when=asyncio.FIRST_COMPLETED)
                self.under_way -= 1
                freed.cancel()
                if gone.done():
                    await peer.change()
                    return
                gone.cancel()
                await asyncio.gather(gone, return_exceptions=True)
            writer.write(reply(json.dumps({"result": _result(path, asked)}, separators=(",", ":")).encode() + b"\n"))
            await writer.drain()

    def names(self, path: str) -> list[str]:
        """The callers of the exchanges at `path`, in their order."""
        return [_caller(asked) for found, asked, _ in self.asked if path in found]


def _caller(asked: Json) -> str:
    found = asked["principals"][0] if "principals" in asked else asked.get("questions", [asked])[0]["principal"]
    return str(found["id"]) if isinstance(found, dict) else ""


def _result(path: str, asked: Json) -> Any:
    if LIST in path:
        return {"contract": 1, "revision": "r1", "clauses": []}
    if MANY in path:
        return [_result("", {**one, "names": one["resource"]["names"]}) for one in asked["questions"]]
    if asked.get("action") == "probe":
        return {"contract": 1, "revision": "r1"}
    reason = asked["resource"]["names"][0]
    return {"contract": 1, "revision": "r1", "resource": decision(reason=reason)}


def is_small(path: str, asked: Json) -> bool:
    text = json.dumps(asked)
    return SINGLE in path and len(text) <= room.SMALL_BYTES and "aaa" not in text


def nothing(path: str, asked: Json) -> bool:
    return False


def everything(path: str, asked: Json) -> bool:
    return True


Scene = Callable[[PolicyDecisionPoint, Opa, Peer], Coroutine[Any, Any, None]]


def played(folder: Path, answers: Callable[[str, Json], bool], scene: Scene, deadline: float = 20.0) -> None:
    async def play() -> None:
        opa = Opa(answers)
        async with scripted(opa, folder / "s") as peer, transport_to(peer.address, deadline=deadline) as transport:
            await scene(PolicyDecisionPoint(transport, "r1"), opa, peer)

    asyncio.run(play())


def task(name: str, asking: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """A task of the caller `name`, as one of its requests would be."""

    async def ask() -> Any:
        CURRENT.set(("principal", "i", name))
        return await asking

    return asyncio.create_task(ask())


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
        async with asyncio.timeout(5):
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
