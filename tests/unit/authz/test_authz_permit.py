"""A permit is made by the enforcement point alone, from a logged decision."""

from __future__ import annotations

import ast
import asyncio
import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from policy.vocabulary import Action
from server.authz.contract.answer import read_answer
from server.authz.contract.errors import Failure, PolicyUnavailable
from server.authz.decision_log.log import DecisionLog
from server.authz.opa.transport import UnixAddress
from server.authz.pdp import PolicyDecisionPoint
from server.authz.pep import PolicyEnforcementPoint
from server.authz.permit import MINT, Permit
from server.authz.request_context import RequestContext
from tests.support.broken_opa import (
    ALICE,
    CREATE,
    MODEL,
    PERMITTED,
    READ,
    answer,
    answering,
    decision,
    reply,
    scripted,
    stamp,
    transport_to,
)

SERVER = Path(__file__).parents[3] / "server"
CONTEXT = RequestContext("req_1", ALICE)


def a_permit() -> Permit:
    decided = read_answer(PERMITTED, READ).resource
    assert decided is not None
    return Permit(MINT, ALICE, Action.READ, MODEL, decided, "d1")


@pytest.mark.parametrize("mint", [None, object(), "MINT", True])
def test_no_permit_is_made_without_the_mint(mint: Any) -> None:
    permit = a_permit()
    with pytest.raises(TypeError, match="enforcement point alone"):
        Permit(mint, permit.principal, permit.action, permit.resource, permit.decision, permit.decision_id)


def test_a_permit_is_not_changed_into_another_one() -> None:
    permit = a_permit()
    with pytest.raises(dataclasses.FrozenInstanceError):
        permit.action = Action.DELETE  # type: ignore[misc]
    with pytest.raises((TypeError, ValueError)):
        dataclasses.replace(permit, action=Action.DELETE)  # type: ignore[call-arg]
    assert copy.copy(permit) == permit


def importers(of: Callable[[ast.AST], bool]) -> set[str]:
    return {
        path.relative_to(SERVER).as_posix()
        for path in SERVER.rglob("*.py")
        if any(of(node) for node in ast.walk(ast.parse(path.read_text())))
    }


def test_the_mint_is_known_to_the_enforcement_point_alone() -> None:
    def of_mint(node: ast.AST) -> bool:
        names = [alias.name for alias in node.names] if isinstance(node, ast.ImportFrom) else []
        return "MINT" in names or (isinstance(node, ast.Attribute) and node.attr == "MINT")

    def of_granting(node: ast.AST) -> bool:
        if isinstance(node, ast.Import):
            return any(alias.name.endswith("authz.granting") for alias in node.names)
        if not isinstance(node, ast.ImportFrom):
            return False
        return (node.module or "").endswith("granting") or any(alias.name == "granting" for alias in node.names)

    assert importers(of_mint) == {"authz/granting.py"}
    assert importers(of_granting) == {"authz/pep.py", "authz/listing.py"}


def test_a_permitted_create_says_whose_the_record_will_be(tmp_path: Path) -> None:
    async def main() -> None:
        body = answer(resource=decision(obligations=[stamp()]))
        async with scripted(answering(reply(body)), tmp_path / "s") as peer, transport_to(peer.address) as transport:
            log = DecisionLog.to_file(tmp_path / "log")
            pep = PolicyEnforcementPoint(PolicyDecisionPoint(transport, "r1"), log)
            assert CREATE.resource is not None
            permit = await pep.permit(CONTEXT, Action.CREATE, CREATE.resource)
            assert permit.owner == ALICE
            assert (permit.principal, permit.action, permit.resource) == (ALICE, Action.CREATE, CREATE.resource)
            await log.close()
        (line,) = (tmp_path / "log").read_text().splitlines()
        assert json.loads(line)["decision_id"] == permit.decision_id

    asyncio.run(main())


def test_no_answer_is_no_permit_and_a_line_in_the_log(tmp_path: Path) -> None:
    async def main() -> None:
        async with transport_to(UnixAddress(tmp_path / "nothing")) as transport:
            log = DecisionLog.to_file(tmp_path / "log")
            pep = PolicyEnforcementPoint(PolicyDecisionPoint(transport, "r1"), log)
            with pytest.raises(PolicyUnavailable):
                await pep.permit(CONTEXT, Action.READ, MODEL)
            with pytest.raises(PolicyUnavailable):
                await pep.readable(CONTEXT, [MODEL] * 20)
            await log.close()

    asyncio.run(main())
    records = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert {record["effect"] for record in records} == {"unavailable"}
    assert (records[0]["reason"], records[0]["request_id"]) == ("opa can't be reached", "req_1")


def test_no_line_in_the_log_is_no_permit(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            scripted(answering(reply(PERMITTED)), tmp_path / "s") as peer,
            transport_to(peer.address) as transport,
        ):
            log = DecisionLog.to_file(tmp_path / "log")
            pdp = PolicyDecisionPoint(transport, "r1")
            await log.close()
            with pytest.raises(PolicyUnavailable) as caught:
                await PolicyEnforcementPoint(pdp, log).permit(CONTEXT, Action.READ, MODEL)
            assert caught.value.failure is Failure.DECISION_LOG
            assert pdp.failures[Failure.DECISION_LOG] == 1

    asyncio.run(main())
