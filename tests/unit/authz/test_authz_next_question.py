"""A question that goes to OPA with the one before it: it saves an exchange, and nothing else is other than without."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from policy.vocabulary import Action, Anonymous, Principal, Resource, Route
from server.authz import pdp as decision_point
from server.authz.contract.errors import Failure, PolicyUnavailable
from server.authz.decision_log.log import DecisionLog
from server.authz.opa.batching import LONGEST
from server.authz.pdp import PolicyDecisionPoint
from server.authz.pep import PolicyEnforcementPoint
from server.authz.permit import AccessDenied, Permit, RouteDenied
from server.authz.request_authorization import Gate
from server.authz.request_context import RequestContext
from server.net.trace_context import CURRENT, TraceContext
from tests.support.broken_opa import Peer, decision, reply, scripted, stamp, transport_to

Json = dict[str, Any]
Change = Callable[[Json, Json], Any]
Scene = Callable[["Asked"], Awaitable[None]]

ANN, LONG = Principal("ann", "i", {"roles": ("r",)}), Principal("ann", "i", {"roles": ("r" * LONGEST,)})
MODEL, OTHER, MADE = Resource("model", ("m",)), Resource("model", ("other",)), Resource("sql_record::responses", ())
WHOLE = reply(b"{}", "500 Internal Server Error")


@pytest.fixture(autouse=True)
def busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replies stay fresh, however long the machine takes for something else."""
    monkeypatch.setattr(decision_point, "DEADLINE", 20.0)


def told(asked: Json, *refused: str, change: Change = lambda asked, told: told) -> Any:
    """The answer to a question; the parts and actions in `refused` are refused."""
    said: Json = {"contract": 1, "revision": "r1"}
    if "route" in asked:
        said["route"] = decision(effect="deny" if "route" in refused else "permit")
    if "action" in asked:
        is_permitted = asked["action"] not in refused
        caller = asked["principal"]
        duties = [stamp(ANN) | {"owner": caller}] if caller and is_permitted and asked["action"] == "create" else []
        effect = "permit" if is_permitted else "deny"
        said["resource"] = decision(effect=effect, obligations=duties, reason=f"for {asked['action']}")
    return change(asked, said)


class Asked:
    """A gate, and what came to OPA and into the log for it."""

    def __init__(self, pdp: PolicyDecisionPoint, log: DecisionLog, caller: Principal | Anonymous) -> None:
        self.pdp = pdp
        self.exchanges: list[list[str]] = []
        self.outcomes: list[str] = []
        self.gate = Gate(
            PolicyEnforcementPoint(pdp, log),
            RequestContext("req_1", caller),
            Route("POST", "/v1/responses"),
            requires_token=False,
        )

    async def ask(self, action: Action, resource: Resource, *made: str) -> Permit | None:
        try:
            permit = await self.gate.permit(action, resource, made)
        except (AccessDenied, RouteDenied, PolicyUnavailable) as fault:
            named = fault.failure if isinstance(fault, PolicyUnavailable) else ""
            self.outcomes.append(f"{type(fault).__name__} {named}")
            return None
        self.outcomes.append(f"{action} {permit.owner and permit.owner.id}")
        return permit

    async def both(self) -> None:
        """Ask as a request for a response does."""
        if await self.ask(Action.READ, MODEL) is not None:
            self.gate.about("resp_1")
            await self.ask(Action.CREATE, MADE, "resp_1")


def played(
    folder: Path,
    scene: Scene,
    answering: Callable[[str, list[Json]], bytes],
    *,
    caller: Principal | Anonymous = ANN,
    deadline: float = 20.0,
    seconds_each: float = 0.0,
) -> tuple[Asked, list[Json]]:
    """What came of the scene, and the lines of the decision log without their ids and times.

    OPA takes `seconds_each` for each question.
    """
    (folder / "log").unlink(missing_ok=True)

    async def play() -> Asked:
        async def opa(peer: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                head, _, body = (await peer.request(reader)).partition(b"\r\n\r\n")
                asked = json.loads(body)["input"]
                questions = asked.get("questions", [asked])
                house.exchanges.append([one.get("action", "route") for one in questions])
                await asyncio.sleep(seconds_each * len(questions))
                writer.write(answering(head.decode().split()[1], questions))
                await writer.drain()

        async with scripted(opa, folder / "s") as peer, transport_to(peer.address, deadline=deadline) as transport:
            log = DecisionLog.to_file(folder / "log")
            house = Asked(PolicyDecisionPoint(transport, "r1"), log, caller)
            await scene(house)
            await log.close()
        return house

    house = asyncio.run(play())
    lines = [json.loads(line) for line in (folder / "log").read_text().splitlines()]
    for line in lines:
        for name in ("time", "decision_id", "milliseconds"):
            assert line.pop(name)
    return house, lines


def plainly(*refused: str, change: Change = lambda asked, told: told) -> Callable[[str, list[Json]], bytes]:
    def answer(path: str, asked: list[Json]) -> bytes:
        results = [told(one, *refused, change=change) for one in asked]
        found = results if "/answers?" in path else results[0]
        return reply(json.dumps({"result": found}, separators=(",", ":")).encode() + b"\n")

    return answer


async def expecting(house: Asked) -> None:
    house.gate.expect(Action.CREATE, MADE)
    await house.both()


async def apart(house: Asked) -> None:
    await house.both()


@pytest.mark.parametrize("caller", [ANN, Anonymous()])
@pytest.mark.parametrize("refused", [(), ("route",), ("read",), ("create",), ("read", "create"), ("route", "read")])
def test_two_decisions_of_one_exchange_are_those_of_two(
    refused: tuple[str, ...], caller: Principal | Anonymous, tmp_path: Path
) -> None:
    together, lines = played(tmp_path, expecting, plainly(*refused), caller=caller)
    alone, same = played(tmp_path, apart, plainly(*refused), caller=caller)
    assert lines == same
    assert together.outcomes == alone.outcomes
    assert (together.pdp.questions, together.pdp.failures) == (alone.pdp.questions, alone.pdp.failures)
    assert together.exchanges == [["read", "create"]]


@pytest.mark.parametrize(
    "spoilt",
    [
        WHOLE,
        reply(b'{"result":[]}\n'),
        reply(b"not json"),
        plainly()("/answers?", [{"principal": None, "action": "read"}]),
        plainly()("/answers?", [{"principal": None, "action": "read"}] * 3),
    ],
)
def test_what_spoils_the_exchange_has_each_asked_alone(spoilt: bytes, tmp_path: Path) -> None:
    def spoiling(path: str, asked: list[Json]) -> bytes:
        return spoilt if "/answers?" in path else plainly()(path, asked)

    house, lines = played(tmp_path, expecting, spoiling)
    assert house.exchanges == [["read", "create"], ["read"], ["create"]]
    assert house.outcomes == ["read None", "create ann"]
    assert lines == played(tmp_path, apart, plainly())[1]


@pytest.mark.parametrize("odd", ["read", "create"])
@pytest.mark.parametrize("change", [{"revision": "r2"}, {"resource": None}, {"extra": 1}, {"contract": 2}])
def test_an_odd_answer_harms_its_own_question_alone(change: Json, odd: str, tmp_path: Path) -> None:
    answers = plainly(change=lambda asked, said: said | (change if asked.get("action") == odd else {}))
    together, lines = played(tmp_path, expecting, answers)
    alone, same = played(tmp_path, apart, answers)
    assert together.outcomes == alone.outcomes
    assert together.outcomes[-1].startswith("PolicyUnavailable")
    assert lines == same
    assert together.pdp.failures == alone.pdp.failures


def test_an_owner_that_is_not_the_caller_makes_nothing(tmp_path: Path) -> None:
    def foreign(asked: Json, said: Json) -> Json:
        if asked.get("action") == "create":
            said["resource"]["obligations"] = [stamp(Principal("ben", "i"))]
        return said

    house, lines = played(tmp_path, expecting, plainly(change=foreign))
    assert house.outcomes == ["read None", "PolicyUnavailable malformed"]
    assert lines[-1]["effect"] == "unavailable"


def test_silence_refuses_what_is_asked_first_and_tells_of_that_alone(tmp_path: Path) -> None:
    house, lines = played(tmp_path, expecting, lambda _path, _asked: b"", deadline=0.1)
    assert house.outcomes == ["PolicyUnavailable deadline"]
    assert [(line["kind"], line["effect"]) for line in lines] == [("route", "unavailable"), ("resource", "unavailable")]
    assert house.exchanges == [["read", "create"]]
    assert house.pdp.failures[Failure.DEADLINE] == 1


def test_a_reply_is_for_the_very_next_question_alone(tmp_path: Path) -> None:
    async def scene(house: Asked) -> None:
        house.gate.expect(Action.CREATE, MADE)
        await house.ask(Action.READ, MODEL)
        await house.ask(Action.READ, OTHER)
        await house.ask(Action.CREATE, MADE, "resp_1")
        await house.ask(Action.CREATE, MADE, "resp_2")

    house, lines = played(tmp_path, scene, plainly())
    assert house.exchanges == [["read", "create"], ["read"], ["create"], ["create"]]
    assert len(lines) == 5


def test_a_reply_serves_one_question_once(tmp_path: Path) -> None:
    async def scene(house: Asked) -> None:
        await expecting(house)
        await house.ask(Action.CREATE, MADE, "resp_2")

    house, _ = played(tmp_path, scene, plainly())
    assert house.exchanges == [["read", "create"], ["create"]]


async def list_first(house: Asked) -> None:
    await house.gate.readable([OTHER])


async def become_another(house: Asked) -> None:
    house.gate.act_as(Principal("ann", "i", {"roles": ("less",)}))


async def wait_long(house: Asked) -> None:
    await asyncio.sleep(0.02)


@pytest.mark.parametrize("meanwhile", [list_first, become_another, wait_long])
def test_a_reply_is_not_used_after_something_else(
    meanwhile: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if meanwhile is wait_long:
        monkeypatch.setattr(decision_point, "DEADLINE", 0.01)

    async def scene(house: Asked) -> None:
        house.gate.expect(Action.CREATE, MADE)
        await house.ask(Action.READ, MODEL)
        await meanwhile(house)
        house.exchanges.clear()
        await house.ask(Action.CREATE, MADE)

    house, _ = played(tmp_path, scene, plainly())
    assert house.exchanges == [["create"]]
    assert house.outcomes == ["read None", "create ann"]


def test_a_question_that_is_expected_and_comes_first_is_asked_once(tmp_path: Path) -> None:
    async def scene(house: Asked) -> None:
        house.gate.expect(Action.CREATE, MADE)
        await house.ask(Action.CREATE, MADE)

    assert played(tmp_path, scene, plainly())[0].exchanges == [["create"]]


def test_traced_and_long_questions_go_alone(tmp_path: Path) -> None:
    async def traced(house: Asked) -> None:
        CURRENT.set(TraceContext("a" * 32, "b" * 16, 1, "", "req_1"))
        await expecting(house)

    assert played(tmp_path, traced, plainly())[0].exchanges == [["read"], ["create"]]
    assert played(tmp_path, expecting, plainly(), caller=LONG)[0].exchanges == [["read"], ["create"]]


def test_where_opa_logs_each_has_an_id_of_its_own(tmp_path: Path) -> None:
    def logging(path: str, asked: list[Json]) -> bytes:
        found = plainly()(path, asked).partition(b"\r\n\r\n")[2]
        action = asked[0].get("action", "many")
        return reply(b'{"decision_id":"id-%b",' % action.encode() + found[1:])

    ids: list[str] = []

    async def scene(house: Asked) -> None:
        house.gate.expect(Action.CREATE, MADE)
        for permit in (await house.ask(Action.READ, MODEL), await house.ask(Action.CREATE, MADE)):
            assert permit is not None
            ids.append(permit.decision_id)

    house, _ = played(tmp_path, scene, logging)
    assert ids == ["id-read", "id-create"]
    assert house.exchanges == [["read", "create"], ["read"], ["create"]]
