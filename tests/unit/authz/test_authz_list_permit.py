"""Leave for a list is made by the enforcement point alone, from an answer that is in the log."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from policy.vocabulary import Action
from server.authz.contract.errors import Failure, PolicyUnavailable
from server.authz.contract.question import ListQuestion, encode_list
from server.authz.contract.record_filter import read_filter
from server.authz.decision_log.log import DecisionLog
from server.authz.opa.transport import UnixAddress
from server.authz.pdp import PolicyDecisionPoint
from server.authz.pep import PolicyEnforcementPoint
from server.authz.permit import ListPermit
from server.authz.request_context import RequestContext
from tests.support.broken_opa import ALICE, answer, answering, reply, scripted, transport_to

FILES = ListQuestion(ALICE, Action.READ, "sql_record::openai_files")
CONTEXT = RequestContext("req_1", ALICE)
PERMITS_ALL = {"rule": "access_policy[0]", "effect": "permit", "where": []}


def test_leave_for_a_list_is_made_by_the_enforcement_point_alone_from_a_logged_answer(tmp_path: Path) -> None:
    async def main() -> None:
        body = answer(clauses=[PERMITS_ALL, PERMITS_ALL])
        async with scripted(answering(reply(body)), tmp_path / "s") as peer, transport_to(peer.address) as transport:
            log = DecisionLog.to_file(tmp_path / "log")
            pep = PolicyEnforcementPoint(PolicyDecisionPoint(transport, "r1"), log)
            async with pep.listing(CONTEXT, Action.READ, FILES.type) as listing:
                listing.permitted_by_filter(3)
            permit = listing.permit
            await log.close()
        assert peer.requests[0].startswith(
            b"POST /v1/data/ostiary/filters/answer?strict-builtin-errors=true HTTP/1.1\r\n"
        )
        assert peer.requests[0].endswith(encode_list(FILES))
        assert (permit.principal, permit.action, permit.type) == (ALICE, Action.READ, FILES.type)
        assert permit.filter == read_filter(body, FILES)
        (line,) = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
        assert line.pop("milliseconds") >= 0
        assert line.pop("time")
        assert line == {
            "kind": "list",
            "request_id": "req_1",
            "decision_id": permit.decision_id,
            "revision": "r1",
            "principal": "alice",
            "issuer": "https://issuer.example",
            "action": "read",
            "resource": "sql_record::openai_files::*",
            "effect": "filter",
            "rule": None,
            "source": None,
            "description": None,
            "reason": "clauses that decide each record: 2",
            "permitted": 3,
            "denied": 0,
            "by_rule": [],
            "by_other_rules": 3,
        }
        with pytest.raises(TypeError, match="enforcement point alone"):
            ListPermit(None, ALICE, Action.READ, FILES.type, permit.filter, "d1")

    asyncio.run(main())


def test_no_answer_is_no_list_and_a_line_in_the_log(tmp_path: Path) -> None:
    async def main() -> None:
        async with transport_to(UnixAddress(tmp_path / "nothing")) as transport:
            log = DecisionLog.to_file(tmp_path / "log")
            pdp = PolicyDecisionPoint(transport, "r1")
            with pytest.raises(PolicyUnavailable):
                async with PolicyEnforcementPoint(pdp, log).listing(CONTEXT, Action.READ, FILES.type):
                    raise AssertionError("there is no list")
            assert (pdp.questions, pdp.failures[Failure.UNREACHABLE]) == (1, 1)
            await log.close()

    asyncio.run(main())
    (line,) = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert (line["effect"], line["reason"], line["resource"]) == (
        "unavailable",
        "opa can't be reached",
        "sql_record::openai_files::*",
    )


def test_an_answer_of_another_revision_is_no_list(tmp_path: Path) -> None:
    async def main() -> None:
        body = answer(clauses=[PERMITS_ALL])
        async with scripted(answering(reply(body)), tmp_path / "s") as peer, transport_to(peer.address) as transport:
            pdp = PolicyDecisionPoint(transport, "r2")
            with pytest.raises(PolicyUnavailable) as caught:
                await pdp.filter(FILES)
            assert caught.value.failure is Failure.REVISION
            assert pdp.failures[Failure.REVISION] == 1

    asyncio.run(main())


def test_no_line_in_the_log_is_no_list(tmp_path: Path) -> None:
    async def main() -> None:
        body = answer(clauses=[PERMITS_ALL])
        async with scripted(answering(reply(body)), tmp_path / "s") as peer, transport_to(peer.address) as transport:
            log = DecisionLog.to_file(tmp_path / "log")
            await log.close()
            with pytest.raises(PolicyUnavailable) as caught:
                pep = PolicyEnforcementPoint(PolicyDecisionPoint(transport, "r1"), log)
                async with pep.listing(CONTEXT, Action.READ, FILES.type):
                    pass
            assert caught.value.failure is Failure.DECISION_LOG

    asyncio.run(main())
