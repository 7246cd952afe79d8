"""Questions that share an exchange: each gets its own answer, and none pays for what is wrong with another."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from policy.vocabulary import Action, Principal, Resource, Verdict
from server.authz.contract.answer import Answer
from server.authz.contract.errors import Failure, PolicyUnavailable
from server.authz.contract.question import NextQuestion, Question
from server.authz.opa import batching
from server.authz.opa.batching import ENOUGH, LONGEST, MOST
from server.authz.pdp import PolicyDecisionPoint
from server.net.trace_context import CURRENT, TraceContext
from tests.support.broken_opa import Peer, decision, reply, scripted, transport_to

SINGLE, SHARED = "/decision/answer?", "/decision/answers?"
Answering = Callable[[str, list[str]], bytes]


def of(name: str, *, long: bool = False) -> Question:
    attributes = {"teams": ("x" * LONGEST,)} if long else {}
    return Question(Principal(name, "i", attributes), action=Action.READ, resource=Resource("model", ("m",)))


def told(name: str) -> dict[str, Any]:
    """The decision about `name`: whose name begins with `no` is refused, and each has a reason of its own."""
    effect = "deny" if name.startswith("no") else "permit"
    return {"contract": 1, "revision": "r1", "resource": decision(effect=effect, reason=f"for {name}")}


def compact(value: object) -> bytes:
    """JSON as OPA writes it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def plainly(path: str, names: list[str]) -> bytes:
    return reply(compact({"result": told(names[0]) if SINGLE in path else [told(name) for name in names]}))


class Opa:
    """A scripted OPA that holds every answer until `release`, and then answers as `answering` says."""

    def __init__(self, answering: Answering) -> None:
        self.answering = answering
        self.exchanges: list[list[str]] = []
        self.held = asyncio.Event()

    async def __call__(self, peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head, _, body = (await peer.request(reader)).partition(b"\r\n\r\n")
            asked = json.loads(body)["input"]
            names = [one["principal"]["id"] for one in asked.get("questions", [asked])]
            self.exchanges.append(names)
            await peer.change()
            await self.held.wait()
            writer.write(self.answering(head.decode().split()[1], names))
            await writer.drain()


def played(
    folder: Path,
    scene: Callable[[PolicyDecisionPoint, Opa, Peer], Coroutine[Any, Any, None]],
    answering: Answering = plainly,
    deadline: float = 20.0,
    under_way: int = ENOUGH,
) -> None:
    """`scene` with so many exchanges under way (`busy0`…), so that what it asks is gathered."""

    async def play() -> None:
        opa = Opa(answering)
        async with scripted(opa, folder / "s") as peer, transport_to(peer.address, deadline=deadline) as transport:
            pdp = PolicyDecisionPoint(transport, "r1")
            busy = []
            for number in range(under_way):
                busy.append(asyncio.create_task(pdp.ask(of(f"busy{number}"))))
                await peer.until(lambda: len(opa.exchanges) == len(busy))
            opa.exchanges.clear()
            await scene(pdp, opa, peer)
            opa.held.set()
            await asyncio.gather(*busy, return_exceptions=True)

    asyncio.run(play())


def reasons(answers: list[Any]) -> list[str]:
    return [one.resource.reason for one in answers]


def test_questions_of_one_turn_go_together_and_each_gets_its_own_answer(tmp_path: Path) -> None:
    names = ["ann", "no-one", 'b"},{"contract":1', "ünal", "end"]

    async def scene(pdp: PolicyDecisionPoint, opa: Opa, peer: Peer) -> None:
        asked = asyncio.gather(*(pdp.ask(of(name)) for name in names))
        await peer.until(lambda: bool(opa.exchanges))
        opa.held.set()
        answers = await asked
        assert opa.exchanges == [names]
        assert reasons(answers) == [f"for {name}" for name in names]
        denied = [one.resource is not None and one.resource.verdict is Verdict.DENY for one in answers]
        assert denied == [False, True, False, False, False]

    played(tmp_path, scene)


async def one_after_another(pdp: PolicyDecisionPoint, names: list[str]) -> list[asyncio.Task[Answer]]:
    """Ask each in a turn of the loop of its own, within less than they would wait for each other."""
    tasks = []
    for name in names:
        tasks.append(asyncio.create_task(pdp.ask(of(name))))
        await asyncio.sleep(0)
    return tasks


def test_questions_wait_for_an_exchange_that_is_under_way_and_go_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "GATHER_SECONDS", 60.0)

    async def scene(pdp: PolicyDecisionPoint, opa: Opa, peer: Peer) -> None:
        tasks = await one_after_another(pdp, ["ann", "ben"])
        await asyncio.sleep(0.01)
        assert opa.exchanges == []
        opa.held.set()
        assert reasons(await asyncio.gather(*tasks)) == ["for ann", "for ben"]
        assert opa.exchanges == [["ann", "ben"]]

    played(tmp_path, scene, under_way=1)


def test_questions_do_not_wait_for_long(tmp_path: Path) -> None:
    async def scene(pdp: PolicyDecisionPoint, opa: Opa, peer: Peer) -> None:
        tasks = await one_after_another(pdp, ["ann"])
        await peer.until(lambda: opa.exchanges == [["ann"]])  # while the exchange before it is still held
        opa.held.set()
        await asyncio.gather(*tasks)

    played(tmp_path, scene, under_way=1)


def test_where_exchanges_are_slow_a_few_go_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "GATHER_SECONDS", 60.0)
    monkeypatch.setattr(batching, "QUICK_SECONDS", 0.0)

    async def scene(pdp: PolicyDecisionPoint, opa: Opa, peer: Peer) -> None:
        opa.held.set()
        await pdp.ask(of("slow", long=True))
        opa.held.clear()
        opa.exchanges.clear()
        tasks = await one_after_another(pdp, ["ann", "ben"])
        await peer.until(lambda: sorted(opa.exchanges) == [["ann"], ["ben"]])
        opa.held.set()
        await asyncio.gather(*tasks)

    played(tmp_path, scene, under_way=1)


def test_an_exchange_holds_only_so_many(tmp_path: Path) -> None:
    async def scene(pdp: PolicyDecisionPoint, opa: Opa, peer: Peer) -> None:
        opa.held.set()
        names = [f"n{number}" for number in range(2 * MOST + 3)]
        assert reasons(await asyncio.gather(*(pdp.ask(of(name)) for name in names))) == [
            f"for {name}" for name in names
        ]
        assert sorted(map(len, opa.exchanges)) == [3, MOST, MOST]

    played(tmp_path, scene)


def test_two_questions_of_a_request_go_in_one_exchange_with_those_of_others(tmp_path: Path) -> None:
    async def both(pdp: PolicyDecisionPoint, name: str) -> list[Answer]:
        following = NextQuestion(of(f"{name}2"))
        return [await pdp.ask(of(name), following), await pdp.ask_next(following)]

    async def scene(pdp: PolicyDecisionPoint, opa: Opa, peer: Peer) -> None:
        opa.held.set()
        pairs = [f"p{number}-" for number in range(MOST // 2)]
        single, *answers = await asyncio.gather(pdp.ask(of("single")), *(both(pdp, name) for name in pairs))
        assert reasons([single]) == ["for single"]
        assert [reasons(found) for found in answers] == [[f"for {name}", f"for {name}2"] for name in pairs]
        # The last pair would be one question too many.
        assert sorted(opa.exchanges, key=len, reverse=True) == [
            ["single", *(one for name in pairs[:-1] for one in (name, f"{name}2"))],
            [pairs[-1], f"{pairs[-1]}2"],
        ]

    played(tmp_path, scene)


def test_long_ones_and_traced_ones_go_alone(tmp_path: Path) -> None:
    async def traced(pdp: PolicyDecisionPoint) -> None:
        CURRENT.set(TraceContext("a" * 32, "b" * 16, 1, "", "req_1"))
        await pdp.ask(of("traced"))

    async def scene(pdp: PolicyDecisionPoint, opa: Opa, peer: Peer) -> None:
        opa.held.set()
        await asyncio.gather(pdp.ask(of("ann")), pdp.ask(of("long", long=True)), traced(pdp), pdp.ask(of("ben")))
        assert sorted(opa.exchanges) == [["ann", "ben"], ["long"], ["traced"]]

    played(tmp_path, scene)


def test_where_opa_logs_each_goes_alone_and_has_an_id_of_its_own(tmp_path: Path) -> None:
    def logging(path: str, names: list[str]) -> bytes:
        assert SINGLE in path
        return reply(compact({"decision_id": f"id-{names[0]}", "result": told(names[0])}))

    async def scene(pdp: PolicyDecisionPoint, opa: Opa, peer: Peer) -> None:
        opa.held.set()
        await pdp.ask(of("first", long=True))
        answers = await asyncio.gather(*(pdp.ask(of(name)) for name in ("ann", "ben")))
        assert [one.decision_id for one in answers] == ["id-ann", "id-ben"]

    played(tmp_path, scene, logging)


@pytest.mark.parametrize(
    "spoilt",
    [
        reply(b"{}", "500 Internal Server Error"),
        reply(compact({})),
        reply(compact({"result": None})),
        reply(compact({"result": [told("ann")]})),
        reply(compact({"result": [told("ann")] * 3})),
        reply(compact({"result": [told("ann"), None]})),
        reply(compact({"decision_id": "one-for-two", "result": [told("ann"), told("ann")]})),
        reply(b"not json"),
        b"not http\r\n\r\n",
    ],
)
def test_what_spoils_an_exchange_has_each_asked_again_alone(spoilt: bytes, tmp_path: Path) -> None:
    def one_spoils(path: str, names: list[str]) -> bytes:
        return plainly(path, names) if SINGLE in path else spoilt

    async def scene(pdp: PolicyDecisionPoint, opa: Opa, peer: Peer) -> None:
        opa.held.set()
        answers = await asyncio.gather(pdp.ask(of("ann")), pdp.ask(of("no-ben")))
        assert reasons(answers) == ["for ann", "for no-ben"]
        assert sorted(opa.exchanges) == [["ann"], ["ann", "no-ben"], ["no-ben"]]

    played(tmp_path, scene, one_spoils)


def test_an_answer_that_is_odd_in_itself_is_not_believed_and_harms_its_own_question_alone(tmp_path: Path) -> None:
    def odd_for_ben(path: str, names: list[str]) -> bytes:
        results = [told(name) | ({"extra": True} if name == "ben" else {}) for name in names]
        return reply(compact({"result": results[0] if SINGLE in path else results}))

    async def scene(pdp: PolicyDecisionPoint, opa: Opa, peer: Peer) -> None:
        opa.held.set()
        ann, ben = await asyncio.gather(pdp.ask(of("ann")), pdp.ask(of("ben")), return_exceptions=True)
        assert reasons([ann]) == ["for ann"]
        assert isinstance(ben, PolicyUnavailable)
        assert ben.failure is Failure.MALFORMED

    played(tmp_path, scene, odd_for_ben)


def test_silence_answers_no_question_and_is_not_asked_twice(tmp_path: Path) -> None:
    async def scene(pdp: PolicyDecisionPoint, opa: Opa, peer: Peer) -> None:
        found = await asyncio.gather(*(pdp.ask(of(name)) for name in ("ann", "ben", "cas")), return_exceptions=True)
        assert [one.failure for one in found if isinstance(one, PolicyUnavailable)] == [Failure.DEADLINE] * 3
        assert len({id(one) for one in found}) == 3
        assert opa.exchanges == [["ann", "ben", "cas"]]

    played(tmp_path, scene, deadline=0.3)


@pytest.mark.parametrize("early", [True, False])
def test_who_leaves_takes_no_other_along(early: bool, tmp_path: Path) -> None:
    """Also the one that the others follow, before the exchange has begun or in the middle of it."""

    async def scene(pdp: PolicyDecisionPoint, opa: Opa, peer: Peer) -> None:
        tasks = [asyncio.create_task(pdp.ask(of(name))) for name in ("leader", "ann", "gone", "ben")]
        if early:
            await asyncio.sleep(0)
        else:
            await peer.until(lambda: bool(opa.exchanges))
        tasks[0].cancel()
        tasks[2].cancel()
        opa.held.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert reasons([found[1], found[3]]) == ["for ann", "for ben"]
        assert isinstance(found[0], asyncio.CancelledError)
        assert isinstance(found[2], asyncio.CancelledError)
        # And nothing is left over that a later question could run into.
        later = await asyncio.gather(*(pdp.ask(of(name)) for name in ("x", "no-y", "z")))
        assert reasons(later) == ["for x", "for no-y", "for z"]

    played(tmp_path, scene)
