"""A line of the decision log: what it says, and what no value can do to it."""

from __future__ import annotations

import json
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from policy.vocabulary import Action, Anonymous, Principal, Resource, Route
from server.authz.contract.answer import read_answer
from server.authz.contract.question import Question
from server.authz.decision_log.record import lines_of
from tests.support.broken_opa import ALICE, BOTH, READ, answer, decision

ANSWER = read_answer(answer(route=decision(rule="route_policy[1]"), resource=decision(effect="deny")), BOTH)


def test_a_question_about_route_and_resource_makes_two_lines_with_one_decision_id() -> None:
    route, resource = [json.loads(line) for line in lines_of("req_1", "d1", BOTH, ANSWER, 1.23456)]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", route.pop("time"))
    resource.pop("time")
    shared = {
        "request_id": "req_1",
        "decision_id": "d1",
        "revision": "r1",
        "principal": "alice",
        "issuer": "https://issuer.example",
        "source": "config.yaml:41",
        "description": None,
        "reason": "the rule permits it",
        "milliseconds": 1.235,
    }
    assert route == shared | {
        "kind": "route",
        "route": "GET /v1/models",
        "effect": "permit",
        "rule": "route_policy[1]",
    }
    assert resource == shared | {
        "kind": "resource",
        "action": "read",
        "resource": "model::ollama/llama",
        "effect": "deny",
        "rule": "access_policy[0]",
    }


def test_a_question_without_an_answer_is_logged_as_unavailable() -> None:
    question = Question(Anonymous(), action=Action.CREATE, resource=Resource("prompt", ()))
    (line,) = lines_of("req_1", "d1", question, "opa can't be reached", 250)
    record = json.loads(line)
    assert (record["effect"], record["reason"]) == ("unavailable", "opa can't be reached")
    assert (record["principal"], record["issuer"], record["revision"], record["rule"]) == (None, None, None, None)
    assert (record["action"], record["resource"]) == ("create", "prompt::")


@settings(deadline=None)  # how long an example takes is the machine's affair
@given(st.text(max_size=50), st.text(max_size=50), st.text(max_size=50))
def test_no_value_can_end_a_line_or_move_a_cursor(principal: str, name: str, path: str) -> None:
    question = Question(
        Principal(principal + "\n\x1b[2J\x7f\u2028"), Route("GET", path), Action.READ, Resource("model", (name,))
    )
    for line in lines_of("req\r\n", "d", question, ANSWER, 0):
        assert line.isascii()
        assert line.isprintable()
        assert json.loads(line)["principal"] == principal + "\n\x1b[2J\x7f\u2028"


def test_attributes_stay_out_of_the_log() -> None:
    (line,) = lines_of("req_1", "d1", READ, read_answer(answer(resource=decision()), READ), 0)
    assert "developer" in dict(ALICE.attributes)["roles"]
    assert "developer" not in line


def test_a_refused_route_has_no_line_about_a_resource() -> None:
    refused = read_answer(answer(route=decision(effect="deny"), resource=decision()), BOTH)
    (line,) = lines_of("req_1", "d1", BOTH, refused, 1)
    assert (json.loads(line)["kind"], json.loads(line)["effect"]) == ("route", "deny")
