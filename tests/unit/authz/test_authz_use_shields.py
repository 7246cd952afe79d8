"""The obligation to use shields, which is believed to the letter or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from policy.vocabulary import Action, Resource, Route, UseLimit, UseShields
from server.authz.contract.answer import read_answer
from server.authz.contract.errors import PolicyUnavailable
from server.authz.contract.question import Question
from tests.support.broken_opa import CREATE, answer, decision, stamp

ROUTE = Question(CREATE.principal, Route("POST", "/v1/completions"))
READ = Question(CREATE.principal, None, Action.READ, Resource("model", ("m",)))
LIMIT = {"id": "use_limit", "limit": 2}


def shields(*ids: Any) -> dict[str, Any]:
    return {"id": "use_shields", "shields": [*ids]}


def test_a_route_and_a_resource_may_bring_them() -> None:
    of_route = read_answer(answer(route=decision(obligations=[shields("a", "b")])), ROUTE).route
    with_limit = read_answer(answer(route=decision(obligations=[LIMIT, shields("a")])), ROUTE).route
    of_resource = read_answer(answer(resource=decision(obligations=[shields("a")])), READ).resource
    assert of_route is not None
    assert with_limit is not None
    assert of_resource is not None
    assert of_route.obligations == (UseShields(("a", "b")),)
    assert with_limit.obligations == (UseLimit(2), UseShields(("a",)))
    assert of_resource.obligations == (UseShields(("a",)),)


@pytest.mark.parametrize(
    "listed",
    [
        [shields()],
        [shields("a", "a")],
        [shields(1)],
        [shields("")],
        [shields(*map(str, range(9)))],
        [{"id": "use_shields"}],
        [{**shields("a"), "more": 1}],
        [{"id": "use_shields", "shields": "a"}],
        [shields("a"), shields("b")],
        [shields("a"), LIMIT],
        [LIMIT, LIMIT],
        [{"id": "use_shield", "shields": ["a"]}],
    ],
)
def test_anything_else_is_no_answer(listed: list[Any]) -> None:
    for asked, body in (
        (ROUTE, answer(route=decision(obligations=listed))),
        (READ, answer(resource=decision(obligations=listed))),
    ):
        with pytest.raises(PolicyUnavailable, match="the answer breaks the contract"):
            read_answer(body, asked)


def test_neither_a_refusal_nor_a_create_may_bring_them() -> None:
    for asked, body in (
        (READ, answer(resource=decision(effect="deny", obligations=[shields("a")]))),
        (ROUTE, answer(route=decision(effect="deny", obligations=[shields("a")]))),
        (CREATE, answer(resource=decision(obligations=[stamp(), shields("a")]))),
        (READ, answer(resource=decision(obligations=[LIMIT]))),
    ):
        with pytest.raises(PolicyUnavailable):
            read_answer(body, asked)
