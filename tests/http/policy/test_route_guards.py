"""The guards keep their promise even where a handler forgets its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Message

from policy.vocabulary import Action, Origin, Resource
from server.http.api_route import ROUTE_ALONE, AskingRoute
from server.http.authentication import Authentication
from server.http.edge import EdgeGuard
from server.http.error_table import Envelopes
from server.http.errors import invalid
from server.http.fair_turns import FairTurns
from server.http.request_ids import RequestIds
from server.http.request_state import gate_of
from server.http.route_guard import RouteGuard
from server.quota.admission import unlimited
from tests.support.application import house
from tests.support.serving import Address, serving
from tests.support.unsafe_policy import UnsafePermitAll

THING = Resource("model", ("p/m",), None, Origin.CONFIG)


async def forgetful(request: Request) -> Response:
    """Answer without having asked."""
    return PlainTextResponse("canary")


async def hasty(request: Request) -> Response:
    """Complain without having asked."""
    raise invalid("the body is wrong")


async def careful(request: Request) -> Response:
    """Ask, and ask again."""
    gate = gate_of(request.scope)
    await gate.permit(Action.READ, THING)
    await gate.permit(Action.UPDATE, THING)
    return PlainTextResponse("well")


@asynccontextmanager
async def nothing(app: Starlette) -> AsyncIterator[None]:
    yield


@pytest.fixture
def enforcement() -> UnsafePermitAll:
    return UnsafePermitAll()


@pytest.fixture
def address(enforcement: UnsafePermitAll) -> Iterator[Address]:
    routes = [
        AskingRoute("/forgetful", forgetful, asks=ROUTE_ALONE, name="forgetful"),
        AskingRoute("/hasty", hasty, asks=ROUTE_ALONE, name="hasty"),
        AskingRoute("/careful", careful, asks=[(Action.READ, "model")], name="careful"),
        Route("/plain", forgetful),
    ]
    admission = unlimited()
    guards = [
        Middleware(RequestIds),
        Middleware(FairTurns, admission),
        Middleware(EdgeGuard),
        Middleware(Envelopes),
        Middleware(Authentication, None, enforcement, admission),
        Middleware(RouteGuard, routes),
    ]
    with serving(Starlette(routes=routes, middleware=guards, lifespan=nothing)) as running:
        yield running


def test_a_handler_that_answers_without_asking_answers_no_caller(
    address: Address, enforcement: UnsafePermitAll
) -> None:
    answer = address.get("/forgetful")
    assert (answer.status, answer.error["code"]) == (500, "server_error")
    assert b"canary" not in answer.body


def test_a_complaint_is_made_to_those_alone_who_may_use_the_route(
    address: Address, enforcement: UnsafePermitAll
) -> None:
    assert address.get("/hasty").status == 400
    assert [route.path for route, _ in enforcement.asked if route is not None] == ["/hasty"]


def test_the_route_is_asked_about_once(address: Address, enforcement: UnsafePermitAll) -> None:
    assert address.get("/careful").status == 200
    assert [(route is not None, resource) for route, resource in enforcement.asked] == [(True, THING), (False, THING)]


def test_a_plain_route_is_asked_about_before_its_handler_runs(address: Address, enforcement: UnsafePermitAll) -> None:
    assert address.get("/plain").body == b"canary"
    assert len(enforcement.asked) == 1


def test_a_websocket_is_closed_by_the_edge_guard_on_any_server() -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/v1/responses", "raw_path": b"/v1/responses", "headers": []}
    asyncio.run(house()(scope, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_every_route_has_a_name_of_its_own() -> None:
    names = [route.name for route in house().routes if isinstance(route, Route)]
    assert len(set(names)) == len(names) == len(house().routes)
