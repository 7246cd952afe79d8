"""A service that says which tokens are good when a test lets it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field

from starlette.types import Scope

from policy.vocabulary import Principal
from server.authn import AuthenticationFailed, IdentityUnavailable
from server.authn.caching import Validated
from server.fairness.shares import NoRoom
from server.net.http_client import ServiceFailed


def at(address: str) -> Scope:
    """A request from that address."""
    return {"path": "/v1/models", "query_string": b"", "headers": [], "client": (address, 1)}


FLOOD, HOME = at("192.0.2.1"), at("198.51.100.7")


@dataclass
class Clock:
    """Seconds that pass when a test says so."""

    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


@dataclass
class Scripted:
    """Accepts the tokens that begin with `good`; answers wait for the gate of the token's first word."""

    service: str = "the service"
    asked: list[str] = field(default_factory=list)
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)
    is_down: bool = False
    at_once: int = 0
    most: int = 0

    async def validate(self, token: str, request: Scope) -> Validated:
        self.asked.append(token)
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            for word, gate in self.gates.items():
                if token.startswith(word):
                    await gate.wait()
        finally:
            self.at_once -= 1
        if self.is_down:
            raise ServiceFailed("it is out of reach")
        if not token.startswith("good") or token in self.revoked:
            raise AuthenticationFailed("the service does not accept the token")
        return Validated(Principal(token.split("-")[0], "service"))

    async def close(self) -> None:
        pass

    def hold(self, word: str) -> None:
        """Let the answers about tokens that begin with `word` wait."""
        self.gates[word] = asyncio.Event()

    def release(self) -> None:
        """Let every answer come."""
        for gate in self.gates.values():
            gate.set()


async def turns(count: int = 20) -> None:
    """Let the event loop run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def outcome(asking: Awaitable[Principal]) -> str:
    """The caller's id, or the kind of the refusal."""
    try:
        return (await asking).id
    except (AuthenticationFailed, IdentityUnavailable, NoRoom) as fault:
        return type(fault).__name__
