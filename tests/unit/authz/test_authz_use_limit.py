"""The limit that a decision about a route names, believed only to the letter."""

from __future__ import annotations

from typing import Any

import pytest

from policy.vocabulary import UseLimit
from server.authz.contract.answer import read_answer
from server.authz.contract.errors import Failure, PolicyUnavailable
from tests.support.broken_opa import BOTH, CREATE, ROUTE, answer, decision, stamp


def named(limit: Any = 0, **more: Any) -> dict[str, Any]:
    return {"id": "use_limit", "limit": limit, **more}


@pytest.mark.parametrize("place", [0, 1, 70])
def test_a_permitted_route_names_a_limit_or_none(place: int) -> None:
    for question, more in ((ROUTE, {}), (BOTH, {"resource": decision()})):
        found = read_answer(answer(route=decision(obligations=[named(place)]), **more), question)
        assert found.route is not None
        assert found.route.obligations == (UseLimit(place),)
        assert found.resource is None or found.resource.obligations == ()
    plain = read_answer(answer(route=decision()), ROUTE)
    assert plain.route is not None
    assert plain.route.obligations == ()


@pytest.mark.parametrize(
    "obligations",
    [
        [named(-1)],
        [named(True)],
        [named(False)],
        [named(1.0)],
        [named("1")],
        [named(None)],
        [named([1])],
        [named(0), named(1)],
        [named(0), named(0)],
        [named(0, more=1)],
        [{"id": "use_limit"}],
        [{"limit": 0}],
        [{"id": "use_limits", "limit": 0}],
        [{"id": ["use_limit"], "limit": 0}],
        ["use_limit"],
        [None],
        [[]],
        [stamp()],
        {"id": "use_limit", "limit": 0},
        None,
    ],
)
def test_anything_else_is_no_answer(obligations: Any) -> None:
    for question, more in ((ROUTE, {}), (BOTH, {"resource": decision()})):
        with pytest.raises(PolicyUnavailable) as failed:
            read_answer(answer(route=decision(obligations=obligations), **more), question)
        assert failed.value.failure is Failure.MALFORMED


def test_only_a_permitted_route_names_a_limit() -> None:
    refused = answer(route=decision(effect="deny", obligations=[named()]))
    read = answer(route=decision(), resource=decision(obligations=[named()]))
    created = answer(resource=decision(obligations=[named()]))
    both = answer(resource=decision(obligations=[stamp(), named()]))
    for body, question in ((refused, ROUTE), (read, BOTH), (created, CREATE), (both, CREATE)):
        with pytest.raises(PolicyUnavailable) as failed:
            read_answer(body, question)
        assert failed.value.failure is Failure.MALFORMED
