"""However many requests one caller sends, another caller's request waits for a few of them alone.

Counted is how many of the greedy caller's requests are answered while one of the modest caller is under way: that is
the wait, whatever else the machine does.
"""

from __future__ import annotations

from hashlib import sha256
from statistics import median, quantiles

import pytest
from starlette.types import Scope

from policy.vocabulary import Principal
from tests.support.application import ByToken, house
from tests.support.fair_turns_server import ALICE, CHAT, CONNECTIONS, Counting, ask, is_left_empty, turns_of, until
from tests.support.greedy_caller import greed
from tests.support.serving import Address, request_of, serving

MOST_AHEAD = 32
"""Without turns, all 64 are answered before the modest caller is, and more; with them, about four."""

MOST_PIECES_AHEAD = 128
"""Two pieces of its streams come in each turn of the loop, of which a request takes about twenty; without turns, over
a thousand come before the modest caller's answer."""

GREEDY = {
    "lists": request_of("GET", "/v1/models", ALICE),
    "chats": request_of("POST", "/v1/chat/completions", ALICE, body=CHAT),
    "nothing there": request_of("GET", "/v1/nothing", ALICE),
    "no such model": request_of("GET", "/v1/models/none", ALICE),
    "not allowed": request_of("DELETE", "/v1/models", ALICE),
    "no JSON": request_of("POST", "/v1/chat/completions", ALICE, body=b'{"model":'),
    "no token": request_of("GET", "/v1/models"),
    "a token that is refused": request_of("GET", "/v1/models", "Authorization: Bearer bad"),
    "a malformed path": request_of("GET", "/v1/a%00"),
    "a probe": request_of("GET", "/v1/health"),
    "a stream": request_of(
        "POST",
        "/v1/chat/completions",
        ALICE,
        body={**CHAT, "stream": True, "messages": [{"role": "user", "content": "a b c d e f g h " * 20}]},
    ),
}


def ahead_of(address: Address, requests: list[bytes], counting: Counting) -> float:
    """Return how many others come before one of these in three of four times; of the one that has most."""
    ahead: list[list[int]] = [[] for _ in requests]
    for _ in range(20):
        for one, counts in zip(requests, ahead, strict=True):
            before = counting.served
            assert ask(address, one).startswith(b"HTTP/1.1 200 ")
            counts.append(counting.served_before - before)
    return max(quantiles(counts, n=4)[0] for counts in ahead)


@pytest.mark.alone
@pytest.mark.parametrize("kind", GREEDY)
def test_few_requests_of_a_greedy_caller_come_before_that_of_another(kind: str) -> None:
    app = house(authenticator=ByToken())
    counting = Counting(app)
    with serving(counting) as address:
        modest = [
            request_of("GET", "/v1/models", "Authorization: Bearer bob"),
            request_of("POST", "/v1/chat/completions", "Authorization: Bearer bob", body=CHAT),
            request_of("GET", "/v1/health"),
        ]
        with greed(address.port, GREEDY[kind], CONNECTIONS):
            until(lambda: counting.served > 2 * CONNECTIONS)
            most = MOST_PIECES_AHEAD if kind == "a stream" else MOST_AHEAD
            # The client shares the machine: now and then it is late itself, with its request or with the count before,
            # and sometimes for a whole round.
            for _ in range(3):
                found = ahead_of(address, modest, counting)
                if found <= most:
                    break
        until(lambda: is_left_empty(app))
    assert found <= most


@pytest.mark.alone
def test_callers_without_authentication_that_send_one_token_have_turns_of_their_own() -> None:
    app = house()
    counting = Counting(app)
    request = request_of("GET", "/v1/models", "Authorization: Bearer none")
    with serving(counting) as address, greed(address.port, request, CONNECTIONS):
        until(lambda: counting.served > 2 * CONNECTIONS)
        ahead = []
        for _ in range(20):
            before = counting.served
            assert ask(address, request).startswith(b"HTTP/1.1 200 ")
            ahead.append(counting.served_before - before)
    assert median(ahead) <= MOST_AHEAD


def test_a_token_that_is_refused_waits_in_its_former_callers_turns_no_more() -> None:
    class Revoking(ByToken):
        is_revoked = False

        async def authenticate(self, token: str, request: Scope, /) -> Principal:
            return await super().authenticate("bad" if self.is_revoked else token, request)

    authenticator = Revoking()
    app, digest = house(authenticator=authenticator), sha256(b"Bearer alice").digest()
    request = request_of("GET", "/v1/models", ALICE)
    with serving(app) as address:
        assert ask(address, request).startswith(b"HTTP/1.1 200 ")
        known = turns_of(app)._admission.known
        assert known.caller(digest) == ("principal", "issuer", "alice")
        authenticator.is_revoked = True
        assert ask(address, request).startswith(b"HTTP/1.1 401 ")
        assert known.caller(digest) is None
