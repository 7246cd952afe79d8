"""The census of routes is whole, and a route that asks otherwise than it says is refused."""

from __future__ import annotations

import pytest
from starlette.routing import Route

from policy.served_routes import LATER, SERVED
from policy.vocabulary import Action
from server.http.api_route import ROUTE_ALONE, ApiRoute, AskingRoute, checked
from tests.support.route_table import CENSUS, ROUTES, Found


def test_every_route_is_in_the_census() -> None:
    unknown, gone = sorted(ROUTES.keys() - CENSUS.keys()), sorted(CENSUS.keys() - ROUTES.keys())
    sentence = "has no row in `tests/support/route_table.py`: write down how the resource that it is about is found"
    assert not unknown, "; ".join(f"`{route}` {sentence}" for route in unknown)
    assert not gone, f"the census has rows for routes that there are not: {gone}"


@pytest.mark.parametrize("route", CENSUS)
def test_a_row_says_what_happens_without_each_permission_that_its_route_needs(route: str) -> None:
    row = CENSUS[route]
    assert (row.found is Found.NOT_AT_ALL) is (not row.asks)
    assert {*row.asks[1:]} == row.beside.keys() - row.may_ask
    assert row.shows <= row.may_ask


def test_what_policies_know_of_routes_is_what_they_ask() -> None:
    known = {f"{served.method} {served.path}": ({*served.needs}, {*served.may_need}) for served in SERVED}
    assert len(known) == len(SERVED)
    assert known == {name: ({*route.asks}, {*route.may_ask}) for name, route in ROUTES.items()}


@pytest.mark.parametrize("kind", ["no_type", "vector_db", "session", "sql_record::openai_file"])
def test_a_route_that_asks_about_what_is_no_served_type_is_refused(kind: str) -> None:
    handler = ROUTES["GET /v1/version"].endpoint
    with pytest.raises(ValueError, match=f"`/v1/things` asks about `{kind}`"):
        AskingRoute("/v1/things", handler, asks=[(Action.READ, kind)], name="things")
    with pytest.raises(ValueError, match=f"`/v1/things` asks about `{kind}`"):
        ApiRoute("/v1/things", handler, asks=ROUTE_ALONE, may_ask=[(Action.READ, kind)], name="things")


def test_a_route_that_does_not_say_what_it_asks_is_refused() -> None:
    version = ROUTES["GET /v1/version"]
    assert checked([version]) == [version]
    with pytest.raises(TypeError, match="`/v1/things` doesn't say what it asks"):
        checked([version, Route("/v1/things", version.endpoint)])


@pytest.mark.parametrize(
    "route",
    [
        ApiRoute("/v1/things", ROUTES["GET /v1/version"].endpoint, asks=ROUTE_ALONE, name="things"),
        ApiRoute("/v1/models", ROUTES["GET /v1/models"].endpoint, asks=[(Action.UPDATE, "model")], name="models.list"),
        ApiRoute("/v1/health/ready", ROUTES["GET /v1/health/ready"].endpoint, asks=ROUTE_ALONE, name="health.ready"),
    ],
    ids=["unknown", "other questions", "fewer questions"],
)
def test_a_route_that_asks_otherwise_than_policies_know_is_refused(route: ApiRoute) -> None:
    with pytest.raises(ValueError, match=f"doesn't have what `GET {route.path}` asks"):
        checked([route])


def test_no_route_is_said_to_come_later() -> None:
    assert [path for path in LATER for served in SERVED if f"{served.path}/".startswith(f"{path}/")] == []
