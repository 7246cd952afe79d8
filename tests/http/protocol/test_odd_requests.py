"""Requests at random, from a grammar that knows every part of one and how each can be wrong: the answers stay right."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import unquote_to_bytes

import pytest
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from server.http.request_state import state_of
from tests.support.application import ByToken
from tests.support.odd_requests import Grammar, Request
from tests.support.patience import PATIENCE
from tests.support.real_policy import Decided, decided
from tests.support.serving import Address, Answer, is_whole, parsed

NIGHTLY = os.environ.get("OSTIARY_NIGHTLY") == "1"
SEEDS = range(200 if NIGHTLY else 2)
REQUESTS = 150
"""Of each seed."""

CONFIG = """
    version: 2
    apis: [inference]
    providers:
      inference:
      - {provider_id: echo, provider_type: inline::echo}
    models:
    - {model_id: llama, provider_id: echo, provider_model_id: llama3.2}
    - {model_id: secret, provider_id: echo}
    server:
      auth:
        provider_config: {type: oauth2_token, jwks: {uri: "https://issuer.example/keys"}}
        route_policy:
        - forbid: {paths: [/v1/version, /v1/providers*]}
        - permit: {paths: "*"}
        access_policy:
        - forbid: {actions: [read], resource: "model::secret"}
        - permit: {actions: [create, read, update, delete]}
"""
CLOSED: Final = ("/v1/version", "/v1/providers")

STATUSES: Final = frozenset({200, 400, 401, 403, 404, 405, 409, 413, 415})


class Matched:
    """What the router has matched, by request id."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.by_id: dict[str, str] = {}
        handle = Route.handle

        async def watched(route: Route, scope: Scope, receive: Receive, send: Send) -> None:
            self.by_id[state_of(scope).request_id] = f"{scope['method']} {scope['path']}"
            assert route.path_regex.fullmatch(scope["path"])
            await handle(route, scope, receive, send)

        monkeypatch.setattr(Route, "handle", watched)


@pytest.fixture(scope="module")
def real(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Decided]:
    with decided(CONFIG, opa_binary, tmp_path_factory.mktemp("odd-requests"), authenticator=ByToken()) as running:
        yield running


def answer_to(address: Address, request: Request) -> Answer | None:
    """The first answer that is none for the meantime; None if there is none, which a complete request may not get."""
    received, patience = b"", 10.0 if request.complete else 0.05
    with (
        socket.create_connection((address.host, address.port), timeout=PATIENCE) as connection,
        suppress(ConnectionError),
    ):
        connection.sendall(request.raw)
        while not is_whole(_final(received), head_only=request.method == "HEAD"):
            if not select.select([connection], [], [], patience)[0]:
                break
            part = connection.recv(65536)
            if not part:
                break
            received += part
            patience = 10.0
    received = _final(received)
    if not received and not request.complete:
        return None
    assert is_whole(received, head_only=request.method == "HEAD"), (request, received)
    return parsed(received)


def _final(received: bytes) -> bytes:
    return received.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")


def meant(target: str) -> str:
    """The path of a target that is a path and a query, read by nothing of the server's."""
    return unquote_to_bytes(target.partition("?")[0].encode("latin-1")).decode().rstrip("/") or "/"


def check(request: Request, answer: Answer) -> None:
    """What holds for every answer, whatever the policy says."""
    assert answer.status in STATUSES, (request, answer)
    assert answer.headers["x-request-id"].startswith("req_")
    if answer.status != 200 and request.method != "HEAD":
        assert answer.error["message"], (request, answer)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_answer_is_right_and_every_permit_was_decided(
    real: Decided, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    grammar, matched = Grammar(seed), Matched(monkeypatch)
    answers: dict[str, tuple[Request, Answer]] = {}
    for _ in range(REQUESTS):
        request = grammar.request()
        answer = answer_to(real.address, request)
        if answer is not None:
            check(request, answer)
            assert answer.headers["x-request-id"] not in answers
            answers[answer.headers["x-request-id"]] = request, answer
    decisions = real.whole_log()
    for identity, (request, answer) in answers.items():
        # Refusals of callers without a token may be told in one record for many, which names no request.
        made = [record for record in decisions if record.get("request_id") == identity]
        judged = {record["route"] for record in made if "route" in record}
        if judged:
            # What was judged was routed as such, or nowhere.
            assert judged == {matched.by_id.get(identity, f"{request.method} {meant(request.target)}")}, request
            assert judged == {f"{request.method} {meant(request.target)}"}, request
        if answer.status == 200:
            assert identity in matched.by_id
            assert made and all(record["effect"] in ("permit", "filter") for record in made if "route" in record)
            assert not matched.by_id[identity].split(" ", 1)[1].startswith(CLOSED)
            assert b"echo/secret" not in answer.body
        if b'"malformed_request"' in answer.body:
            assert made == [], request
    # The grammar is of use only as long as much of what it makes gets far, and much doesn't.
    statuses = {answer.status for _, answer in answers.values()}
    assert {200, 400, 401, 403, 404, 405} <= statuses
