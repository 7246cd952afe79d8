"""The state of one request, from its first byte to its last."""

from __future__ import annotations

from dataclasses import dataclass
from os import urandom
from typing import TYPE_CHECKING, Final

from starlette.types import Scope, Send

if TYPE_CHECKING:
    from server.authz.request_authorization import Gate
    from server.http.fair_turns import RequestTurn

_KEY: Final = "ostiary.call"


@dataclass(slots=True)
class RequestState:
    """One request: its id, when it began (seconds of `perf_counter`), and its way to the policy once there is one.

    `status` is that of the answer, or 0 until that has begun. `send_piece` takes the pieces of a body past the guards,
    which look at nothing but its head: for a stream, being handed from guard to guard would cost more than being sent.
    `turn` is its place among the requests that are worked on, `token_digest` the SHA-256 of its credential.
    """

    request_id: str
    started: float
    send_piece: Send
    gate: Gate | None = None
    turn: RequestTurn | None = None
    token_digest: bytes | None = None
    status: int = 0


def state_of(scope: Scope) -> RequestState:
    """Return the call that a scope belongs to; every scope behind `RequestIds` has one."""
    call: RequestState = scope[_KEY]
    return call


def scope_of(call: RequestState) -> dict[str, RequestState]:
    """Return the member of a scope that `state_of` reads."""
    return {_KEY: call}


def gate_of(scope: Scope) -> Gate:
    """Return the way to the policy of a request that has passed `RouteGuard`."""
    gate: Gate | None = scope[_KEY].gate
    if gate is None:
        raise RuntimeError("a handler ran in front of the route guard")
    return gate


def turn_of(scope: Scope) -> RequestTurn:
    """Return the turn of a request that has passed `FairTurns`."""
    turn: RequestTurn | None = scope[_KEY].turn
    if turn is None:
        raise RuntimeError("a handler ran in front of the fair turns")
    return turn


def new_request_id() -> str:
    """Return a new request id: unique, and impossible to guess."""
    return f"req_{urandom(16).hex()}"
