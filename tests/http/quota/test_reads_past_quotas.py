"""A used-up quota stops what it counts, and keeps no caller from what it has paid for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.http.api_route import AskingRoute
from tests.support.application import ByToken
from tests.support.budgeted_server import budgeted, chat, provider
from tests.support.callers import ALICE
from tests.support.files_server import wait_until
from tests.support.identity_services import service
from tests.support.real_policy import Decided
from tests.support.responses_server import RESPONSES, events_of
from tests.support.route_table import ROUTES

REQUESTS = "authenticated_max_requests: 3"
BUDGET = "max_tokens_per_period: 100"
DO = "create, read, update, delete"


@pytest.fixture
def limited(opa_binary: Path, tmp_path: Path) -> Iterator[Decided]:
    with (
        service(provider({"total_tokens": 10})) as far,
        budgeted(far.url, opa_binary, tmp_path, REQUESTS, known=ByToken(), actions=DO) as running,
    ):
        yield running


def answered(running: Decided, **more: object) -> str:
    """The id of a response of ALICE's in the background, once it is answered."""
    made = running.address.post(RESPONSES, {"model": "m", "input": "hi", "background": True, **more}, ALICE)
    assert made.status == 200, made.body
    identity: str = events_of(made.body)[0]["response"]["id"] if more.get("stream") else made.json["id"]
    path = f"{RESPONSES}/{identity}"
    wait_until(lambda: running.address.get(path, ALICE).json["status"] == "completed")
    return identity


def used_up(running: Decided) -> None:
    """Use what is left of ALICE's requests."""
    while running.address.get("/v1/models", ALICE).status == 200:
        pass


def test_a_response_that_is_paid_for_is_read_with_a_used_up_quota(limited: Decided) -> None:
    one, streamed = answered(limited), answered(limited, stream=True)
    # Looking for their ends has taken nothing.
    assert limited.address.get("/v1/models", ALICE).headers["x-ratelimit-remaining-requests"] == "0"
    used_up(limited)
    for identity in (one, streamed):
        assert limited.address.get(f"{RESPONSES}/{identity}", ALICE).json["status"] == "completed"
    events = events_of(limited.address.get(f"{RESPONSES}/{streamed}?stream=true&starting_after=1", ALICE).body)
    assert (events[0]["sequence_number"], events[-1]["type"]) == (2, "response.completed")
    assert limited.address.get(RESPONSES, ALICE).status == 429
    assert limited.address.get(f"{RESPONSES}/{one}/input_items", ALICE).status == 429


def test_what_is_not_there_for_a_caller_is_counted(limited: Decided) -> None:
    one = answered(limited)
    assert limited.address.get(f"{RESPONSES}/resp_none", ALICE).status == 404
    assert limited.address.get(f"{RESPONSES}/{one}?stream=true", ALICE).status == 400
    for _ in range(2):
        assert limited.address.get(f"{RESPONSES}/resp_none", ALICE).status == 429
    assert limited.address.get(f"{RESPONSES}/{one}", ALICE).status == 200
    refused = limited.address.get(f"{RESPONSES}/resp_none", ALICE)
    lines = limited.log(refused.headers["x-request-id"])
    assert [line["limit"] for line in lines if line["kind"] == "quota"] == ["server.quota.authenticated_max_requests"]


def test_a_response_is_cancelled_with_a_used_up_quota(opa_binary: Path, tmp_path: Path) -> None:
    with (
        service(provider({"total_tokens": 10})) as far,
        budgeted(far.url, opa_binary, tmp_path, REQUESTS, known=ByToken(), actions=DO) as running,
    ):
        far.go_on.clear()
        made = running.address.post(RESPONSES, {"model": "m", "input": "hi", "background": True}, ALICE)
        used_up(running)
        cancelled = running.address.post(f"{RESPONSES}/{made.json['id']}/cancel", None, ALICE)
        assert (cancelled.status, cancelled.json["status"]) == (200, "cancelled")
        far.go_on.set()


def test_what_is_paid_before_is_looked_at_by_its_id_or_cancelled() -> None:
    routes = {name for name, route in ROUTES.items() if isinstance(route, AskingRoute) and route.paid_before}
    ones = ("/v1/responses/{response_id}", "/v1/batches/{batch_id}")
    assert routes == {f"GET {one}" for one in ones} | {f"POST {one}/cancel" for one in ones}


def test_a_caller_without_tokens_does_what_needs_none(opa_binary: Path, tmp_path: Path) -> None:
    with (
        service(provider({"total_tokens": 100})) as far,
        budgeted(far.url, opa_binary, tmp_path, BUDGET, known=ByToken(), actions=DO) as running,
    ):
        one = answered(running)
        assert running.address.get("/v1/models", ALICE).headers["x-ratelimit-remaining-tokens"] == "0"
        assert running.address.get(f"{RESPONSES}/{one}/input_items", ALICE).status == 200
        assert running.address.post("/v1/conversations", {}, ALICE).status == 200
        for more in ({}, {"background": True}):
            refused = running.address.post(RESPONSES, {"model": "m", "input": "hi", **more}, ALICE)
            assert (refused.status, refused.error["code"]) == (429, "insufficient_quota")
        assert chat(running, ALICE, max_completion_tokens=1).status == 429
        assert len(far.asked) == 1
