"""Questions on the wire: what the law's schema says, or nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.vocabulary import Action, Anonymous, Origin, Principal, Resource, Route
from server.authz.contract.answer import read_undecided
from server.authz.contract.errors import Failure, PolicyUnavailable
from server.authz.contract.question import MALFORMED, Question, encode

SCHEMA = json.loads((Path(__file__).parents[3] / "rego/schemas/input.json").read_text())

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
principals = st.builds(
    Principal, texts, texts, st.dictionaries(texts, st.lists(texts, max_size=3).map(tuple), max_size=3)
)
resources = st.builds(
    Resource, texts, st.lists(texts, max_size=3).map(tuple), st.none() | principals, st.sampled_from(Origin)
)
callers = principals | st.builds(Anonymous)
questions = (
    st.builds(Question, callers, st.builds(Route, texts, texts))
    | st.builds(Question, callers, st.none() | st.builds(Route, texts, texts), st.sampled_from(Action), resources)
)  # fmt: skip


def plain(principal: Principal | Anonymous | None) -> Any:
    if not isinstance(principal, Principal):
        return None
    attributes = {name: list(values) for name, values in principal.attributes.items()}
    return {"id": principal.id, "issuer": principal.issuer, "attributes": attributes}


@settings(deadline=None)  # how long an example takes is the machine's affair
@given(questions)
def test_a_question_is_the_json_that_the_schema_of_the_law_describes(question: Question) -> None:
    sent = json.loads(encode(question))
    expected: dict[str, Any] = {"principal": plain(question.principal)}
    if question.route is not None:
        expected["route"] = {"method": question.route.method, "path": question.route.path}
    if question.action is not None and question.resource is not None:
        names = list(question.resource.names) or [""]
        resource = question.resource
        expected["action"] = question.action.value
        expected["resource"] = {
            "type": resource.type,
            "names": names,
            "owner": plain(resource.owner),
            "origin": resource.origin.value,
        }
    assert sent == {"input": expected}
    jsonschema.validate(sent["input"], SCHEMA)


A_MODEL = Resource("model", ("a",))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Question(Anonymous()),
        lambda: Question(Anonymous(), action=Action.READ),
        lambda: Question(Anonymous(), resource=A_MODEL),
        lambda: Question(Anonymous(), Route("GET", "/"), Action.READ),
        lambda: Question(Anonymous(), Route("GET", "/"), resource=A_MODEL),
    ],
)
def test_a_question_that_asks_for_nothing_whole_is_not_made(make: Callable[[], Question]) -> None:
    with pytest.raises(ValueError, match="ask"):
        make()


ODD: dict[str, Any] = {
    "a number as id": Question(Principal(1), Route("GET", "/")),  # type: ignore[arg-type]
    "no principal": Question(None, Route("GET", "/")),  # type: ignore[arg-type]
    "a name as principal": Question("alice", Route("GET", "/")),  # type: ignore[arg-type]
    "a text as values": Question(Principal("a", "", {"roles": "admin"}), Route("GET", "/")),  # type: ignore[dict-item]
    "numbers as values": Question(Principal("a", "", {"roles": (1,)}), Route("GET", "/")),  # type: ignore[dict-item]
    "null among values": Question(Principal("a", "", {"roles": (None,)}), Route("GET", "/")),  # type: ignore[dict-item]
    "attributes missing": Question(Principal("a", "", None), Route("GET", "/")),  # type: ignore[arg-type]
    "bytes as path": Question(Anonymous(), Route("GET", b"/")),  # type: ignore[arg-type]
    "a text as names": Question(Anonymous(), None, Action.READ, Resource("model", "abc")),  # type: ignore[arg-type]
    "anonymous owner": Question(
        Anonymous(), None, Action.READ, Resource("model", ("a",), Anonymous())  # type: ignore[arg-type]
    ),
    "a lone surrogate in a path": Question(Anonymous(), Route("GET", "/\ud800")),
    "a lone surrogate in a role": Question(Principal("a", "", {"roles": ("\udfff",)}), Route("GET", "/")),
    "a lone surrogate in a name": Question(Anonymous(), None, Action.READ, Resource("model", ("a\ud800",))),
}  # fmt: skip


@pytest.mark.parametrize("oddity", ODD)
def test_what_is_not_text_is_never_asked_about(oddity: str) -> None:
    with pytest.raises(PolicyUnavailable) as caught:
        encode(ODD[oddity])
    assert caught.value.failure is Failure.QUESTION


def test_the_malformed_probe_is_refused_by_the_schema_of_the_law() -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(MALFORMED)["input"], SCHEMA)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"result":{"contract":1}}',
        b'{"result":{"contract":2,"revision":"r1"}}',
        b'{"result":{"contract":1,"revision":"r1","resource":{}}}',
        b'{"result":{"contract":1,"revision":"r1","route":null}}',
    ],
)
def test_an_answer_to_the_malformed_probe_with_any_decision_is_refused(body: bytes) -> None:
    assert read_undecided(b'{"result":{"contract":1,"revision":"r1"}}') == "r1"
    with pytest.raises(PolicyUnavailable):
        read_undecided(body)
