"""How long an answer about a token is believed, and who asks."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from starlette.types import Scope

from policy.vocabulary import Principal
from server.authn import AuthenticationFailed, IdentityUnavailable, caching
from server.authn.caching import MAX_REMEMBERED, REFUSAL_SECONDS, CachingAuthenticator, Validated
from server.net.http_client import ServiceFailed
from tests.support.scripted_validator import Clock
from tests.support.token_issuers import NOW, ask


@dataclass
class Scripted:
    """Knows the tokens that begin with `good`; is out of reach while `down`."""

    service: str = "the service"
    asked: list[str] = field(default_factory=list)
    down: bool = False
    expires: float | None = None
    gate: asyncio.Event | None = None

    async def validate(self, token: str, request: Scope) -> Validated:
        self.asked.append(token)
        if self.gate is not None:
            await self.gate.wait()
        if self.down:
            raise ServiceFailed("it is out of reach")
        if not token.startswith("good"):
            raise AuthenticationFailed("the service does not accept the token")
        return Validated(Principal(token, "service"), self.expires)

    async def close(self) -> None:
        pass


def test_a_good_answer_is_believed_for_its_time_and_not_longer() -> None:
    async def scenario() -> None:
        service, clock = Scripted(), Clock()
        identity = CachingAuthenticator(service, 60, clock=clock)
        for _ in range(3):
            assert (await ask(identity, "good")).id == "good"
        clock.seconds = 59.9
        await ask(identity, "good")
        assert len(service.asked) == 1
        clock.seconds = 60.0
        await ask(identity, "good")
        assert len(service.asked) == 2

    asyncio.run(scenario())


def test_a_revoked_token_is_refused_once_its_time_is_over_even_while_others_are_served() -> None:
    async def scenario() -> None:
        service, clock = Scripted(), Clock()
        identity = CachingAuthenticator(service, 60, clock=clock)
        await ask(identity, "good")
        service.down = True
        await ask(identity, "good")
        clock.seconds = 61
        with pytest.raises(IdentityUnavailable, match="the service can't be asked"):
            await ask(identity, "good")

    asyncio.run(scenario())


def test_with_no_memory_every_request_asks() -> None:
    async def scenario() -> None:
        service = Scripted()
        identity = CachingAuthenticator(service, 0)
        await ask(identity, "good")
        await ask(identity, "good")
        await asyncio.gather(*(ask(identity, "good") for _ in range(3)))
        assert len(service.asked) == 5

    asyncio.run(scenario())


def test_no_answer_outlives_the_token() -> None:
    async def scenario() -> None:
        service, now = Scripted(expires=NOW + 10), Clock(NOW)
        identity = CachingAuthenticator(service, 60, now=now, clock=Clock())
        await ask(identity, "good")
        now.seconds = NOW + 10
        with pytest.raises(AuthenticationFailed, match="expired"):
            await ask(identity, "good")

    asyncio.run(scenario())


def test_a_refusal_is_remembered_briefly_and_an_outage_never() -> None:
    async def scenario() -> None:
        service, clock = Scripted(), Clock()
        identity = CachingAuthenticator(service, 60, clock=clock)
        for _ in range(5):
            with pytest.raises(AuthenticationFailed, match="does not accept"):
                await ask(identity, "bad")
        assert len(service.asked) == 1
        clock.seconds = REFUSAL_SECONDS
        with pytest.raises(AuthenticationFailed):
            await ask(identity, "bad")
        assert len(service.asked) == 2
        service.down = True
        for _ in range(2):
            with pytest.raises(IdentityUnavailable):
                await ask(identity, "good")
        service.down = False
        assert (await ask(identity, "good")).id == "good"

    asyncio.run(scenario())


def test_many_requests_with_one_token_ask_once_and_one_that_leaves_takes_nothing_from_the_others() -> None:
    async def scenario() -> None:
        service = Scripted(gate=asyncio.Event())
        identity = CachingAuthenticator(service, 60)
        first = asyncio.create_task(ask(identity, "good"))
        others = [asyncio.create_task(ask(identity, "good")) for _ in range(9)]
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        assert service.gate is not None
        service.gate.set()
        found = await asyncio.gather(*others)
        assert {principal.id for principal in found} == {"good"}
        assert len(service.asked) == 1
        with pytest.raises(asyncio.CancelledError):
            await first

    asyncio.run(scenario())


def test_a_flood_of_forged_tokens_pushes_no_good_one_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching, "MAX_REMEMBERED", 10)
    assert MAX_REMEMBERED >= 1000

    async def scenario() -> None:
        service = Scripted()
        identity = CachingAuthenticator(service, 60)
        await ask(identity, "good")
        for number in range(50):
            with pytest.raises(AuthenticationFailed):
                await ask(identity, f"forged-{number}")
        await ask(identity, "good")
        assert service.asked.count("good") == 1

    asyncio.run(scenario())


def test_an_endless_token_is_refused_without_asking() -> None:
    service = Scripted()
    with pytest.raises(AuthenticationFailed, match="longer than"):
        asyncio.run(ask(CachingAuthenticator(service, 60), "good" * 10_000))
    assert service.asked == []
