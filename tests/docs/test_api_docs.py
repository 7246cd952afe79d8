"""`docs/api/api.md` has every route of the server, with its resource, and the errors that the OpenAI SDK raises."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest

from policy.resource_types import TYPES, Ask
from tests.support.route_table import ROUTES

PAGE = (Path(__file__).parents[2] / "docs" / "api" / "api.md").read_text()
BACKTICKED = re.compile(r"`([^`]+)`")


def table(heading: str) -> Iterator[list[str]]:
    """The rows of the table whose first column has that heading."""
    _, _, rest = PAGE.partition(f"\n| {heading} |")
    for line in rest.splitlines()[2:]:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in line.strip("|").split("|")]


def served() -> Iterator[tuple[str, str]]:
    """Each route as the page has it, with what the page says of its resource."""
    for paths, methods, resource, _ in table("route"):
        routes = BACKTICKED.findall(paths)
        groups = methods.split("; ")
        assert len(groups) == len(routes), paths
        for path, group in zip(routes, groups, strict=True):
            for method in group.split(", "):
                yield f"{method} {path}", resource


def test_the_page_has_every_route_and_no_other() -> None:
    routes = [route for route, _ in served()]
    assert len(routes) == len(set(routes))
    assert set(routes) == {route.replace(":path}", "}") for route in ROUTES}


@pytest.mark.parametrize("route", ROUTES)
def test_a_route_is_named_with_the_resource_that_rules_name(route: str) -> None:
    resource = dict(served())[route.replace(":path}", "}")]
    named = [word.removesuffix("::…") for word in BACKTICKED.findall(resource)]
    assert named[:1] == [kind for _, kind in ROUTES[route].asks[:1]]
    assert (resource == "none") is (not ROUTES[route].asks)
    types = {word for word in named if word in TYPES}
    beside = [asks for name, asks in asked_by_row() if name == resource]
    assert {kind for _, kind in ROUTES[route].asks} <= types
    assert types <= {kind for asks in beside for _, kind in asks}


def asked_by_row() -> Iterator[tuple[str, list[Ask]]]:
    """What the page says of the resource of each route, with all that the route asks."""
    routes = {name.replace(":path}", "}"): route for name, route in ROUTES.items()}
    for name, resource in served():
        yield resource, [*routes[name].asks, *routes[name].may_ask]


def errors() -> Iterator[tuple[int, str]]:
    for statuses, kinds, _ in table("status"):
        (kind,) = BACKTICKED.findall(kinds)
        yield from ((int(status), kind) for status in statuses.split(", "))


@pytest.mark.parametrize(("status", "kind"), [*errors()])
def test_an_error_is_what_the_page_says_in_the_sdk(status: int, kind: str) -> None:
    answer = httpx.MockTransport(lambda _: httpx.Response(status, json={"error": {"message": "no"}}))
    with (
        openai.OpenAI(api_key="k", max_retries=0, http_client=httpx.Client(transport=answer)) as client,
        pytest.raises(openai.APIStatusError) as caught,
    ):
        client.models.list()
    assert type(caught.value).__name__ == kind
