"""Keys that tokens ask for: a new one is noticed soon, whatever others send, and readings are bounded."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from server.authn import AuthenticationFailed, Authenticator, IdentityUnavailable
from server.authn.jwks import REREAD_SECONDS, REREADINGS
from server.authn.oauth2 import OAuth2Authenticator, OAuth2Settings
from server.telemetry.dependencies import Dependency, State
from server.wiring.observed import ObservedAuthenticator
from tests.support.patience import PATIENCE
from tests.support.token_issuers import AUDIENCE, ISSUER, NOW, KeyServer, Signer, answer, ask, claims, jwk_set

Scenario = Callable[[OAuth2Authenticator], Any]


class Clock:
    """Seconds that pass when told to."""

    seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def play(server: KeyServer, clock: Clock, scenario: Scenario, *keys: Signer | dict[str, Any]) -> None:
    """Run the scenario with an authenticator that has read these keys already."""

    async def run() -> None:
        settings = OAuth2Settings(server.url, ISSUER, AUDIENCE)
        identity = OAuth2Authenticator(settings, now=lambda: NOW, clock=clock)
        server.content = jwk_set(*keys)
        with pytest.raises(AuthenticationFailed):
            await ask(identity, "no token")
        await scenario(identity)

    asyncio.run(run())


async def outcome(identity: Authenticator, token: str) -> int:
    """The status that the token's bearer gets."""
    try:
        await ask(identity, token)
    except AuthenticationFailed:
        return 401
    except IdentityUnavailable as unavailable:
        assert 1 <= unavailable.seconds <= REREAD_SECONDS
        return 503
    return 200


numbers = itertools.count()


def made_up(signer: Signer, **changes: Any) -> str:
    """A forged token that names a key which no one has."""
    return signer.token(claims(**changes), kid=f"made-up-{next(numbers)}")


def test_a_reading_that_fails_is_told_apart_from_a_key_that_does_not_exist(
    server: KeyServer, clock: Clock, rsa_signer: Signer, second_signer: Signer
) -> None:
    async def scenario(identity: OAuth2Authenticator) -> None:
        server.content = jwk_set(rsa_signer, second_signer)
        server.behaviour = lambda handler: answer(handler, 503, b"")
        for seconds, readings in ((0, 2), (0, 2), (0.9, 2), (0.2, 3), (1, 4)):
            clock.seconds += seconds
            assert await outcome(identity, second_signer.token()) == 503
            assert await outcome(identity, rsa_signer.token()) == 200
            assert len(server.requests) == readings
        server.behaviour = server.publish
        clock.seconds += 1
        assert await outcome(identity, second_signer.token()) == 200

    play(server, clock, scenario, rsa_signer)


@pytest.mark.parametrize("content", [b"<html>", b'{"keys": 1}', b""])
def test_an_answer_that_is_no_key_set_is_a_reading_that_fails(
    content: bytes, server: KeyServer, clock: Clock, rsa_signer: Signer, second_signer: Signer
) -> None:
    async def scenario(identity: OAuth2Authenticator) -> None:
        server.content = content
        assert await outcome(identity, second_signer.token()) == 503
        assert await outcome(identity, rsa_signer.token()) == 200
        server.content = jwk_set(second_signer)
        clock.seconds += 1
        assert await outcome(identity, second_signer.token()) == 200

    play(server, clock, scenario, rsa_signer)


@pytest.mark.parametrize("pause", [0, 1, 30, 60])
def test_a_made_up_key_now_and_then_keeps_no_new_one_out(
    pause: int, server: KeyServer, clock: Clock, rsa_signer: Signer, second_signer: Signer, ec_signer: Signer
) -> None:
    async def scenario(identity: OAuth2Authenticator) -> None:
        for _ in range(3):
            clock.seconds += pause
            assert await outcome(identity, made_up(ec_signer)) == 401
        server.content = jwk_set(rsa_signer, second_signer)
        assert await outcome(identity, second_signer.token()) == 200

    play(server, clock, scenario, rsa_signer)


def test_a_flood_of_made_up_keys_reads_at_a_bounded_pace_and_keeps_no_new_one_out_for_long(
    server: KeyServer, clock: Clock, rsa_signer: Signer, second_signer: Signer, ec_signer: Signer
) -> None:
    async def flood(identity: OAuth2Authenticator) -> None:
        tokens = [made_up(ec_signer) for _ in range(10)]
        assert set(await asyncio.gather(*(outcome(identity, token) for token in tokens))) <= {401, 503}

    async def scenario(identity: OAuth2Authenticator) -> None:
        for _ in range(120):
            clock.seconds += 0.5
            await flood(identity)
            assert await outcome(identity, rsa_signer.token()) == 200
        assert REREADINGS < len(server.requests) <= 1 + REREADINGS + 60 / REREAD_SECONDS
        server.content = jwk_set(rsa_signer, second_signer)
        rotated_at, found = clock.seconds, 503
        while found == 503:
            clock.seconds += 0.5
            await flood(identity)
            found = await outcome(identity, second_signer.token())
        assert found == 200
        assert clock.seconds - rotated_at <= REREAD_SECONDS

    play(server, clock, scenario, rsa_signer)


def test_made_up_keys_that_come_at_once_share_a_reading(
    server: KeyServer, clock: Clock, rsa_signer: Signer, ec_signer: Signer
) -> None:
    async def scenario(identity: OAuth2Authenticator) -> None:
        tokens = [made_up(ec_signer) for _ in range(100)]
        assert set(await asyncio.gather(*(outcome(identity, token) for token in tokens))) == {401}
        assert len(server.requests) == 2

    play(server, clock, scenario, rsa_signer)


def test_who_hangs_up_has_asked_for_a_reading_all_the_same(
    server: KeyServer, clock: Clock, rsa_signer: Signer, ec_signer: Signer
) -> None:
    async def scenario(identity: OAuth2Authenticator) -> None:
        for _ in range(50):
            server.arrived.clear()
            asked = asyncio.create_task(ask(identity, made_up(ec_signer)))
            await asyncio.sleep(0)
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
            await asyncio.sleep(0.02)  # the reading goes on by itself
        assert len(server.requests) <= 1 + REREADINGS

    play(server, clock, scenario, rsa_signer)


def test_a_reading_that_was_under_way_before_a_token_came_does_not_refuse_it(
    server: KeyServer, clock: Clock, rsa_signer: Signer, second_signer: Signer, ec_signer: Signer
) -> None:
    async def scenario(identity: OAuth2Authenticator) -> None:
        old = server.content
        server.arrived.clear()
        server.behaviour = lambda handler: (server.released.wait(PATIENCE), answer(handler, 200, old))  # type: ignore[assignment,return-value]  # both are done, and neither's value is used
        first = asyncio.create_task(outcome(identity, made_up(ec_signer)))
        assert await asyncio.to_thread(server.arrived.wait, PATIENCE)
        second = asyncio.create_task(outcome(identity, second_signer.token()))
        await asyncio.sleep(0)
        server.content, server.behaviour = jwk_set(rsa_signer, second_signer), server.publish
        server.released.set()
        assert await first == 401
        assert await second == 200
        assert len(server.requests) == 3

    play(server, clock, scenario, rsa_signer)


BAD = {
    "expired": {"exp": NOW - 600},
    "of another issuer": {"iss": "https://other.example"},
    "for another audience": {"aud": "other"},
    "without a subject": {"sub": ...},
    "without an end": {"exp": ...},
}


@pytest.mark.parametrize("name", BAD)
def test_a_token_that_no_key_could_make_good_asks_for_no_reading(
    name: str, server: KeyServer, clock: Clock, rsa_signer: Signer, ec_signer: Signer
) -> None:
    async def scenario(identity: OAuth2Authenticator) -> None:
        for _ in range(20):
            assert await outcome(identity, made_up(ec_signer, **BAD[name])) == 401
        assert len(server.requests) == 1

    play(server, clock, scenario, rsa_signer)


def test_a_token_whose_key_does_not_exist_asks_once_in_five_seconds(
    server: KeyServer, clock: Clock, rsa_signer: Signer, second_signer: Signer
) -> None:
    async def scenario(identity: OAuth2Authenticator) -> None:
        token = second_signer.token()
        for seconds, readings in ((0, 2), (0, 2), (4.9, 2), (0.2, 3), (4.9, 3)):
            clock.seconds += seconds
            assert await outcome(identity, token) == 401
            assert len(server.requests) == readings
        server.content = jwk_set(second_signer)
        assert await outcome(identity, second_signer.token(claims(jti="another"))) == 200
        assert await outcome(identity, token) == 200, "it is judged by the keys that are known by now"

    play(server, clock, scenario, rsa_signer)


NAMELESS: dict[str, Callable[[Signer, Signer, Signer], tuple[tuple[Any, ...], tuple[Any, ...]]]] = {
    "replaced": lambda old, new, other: ((old,), (new,)),
    "replaced by a key that has a name": lambda old, new, other: ((old,), (new | {"kid": "new"},)),
    "replaced beside one of another kind": lambda old, new, other: ((old, other), (new, other)),
    "added to one of another kind": lambda old, new, other: ((other,), (new, other)),
    "left alone by the other one": lambda old, new, other: ((old, new), (new,)),
}


@pytest.mark.parametrize("name", NAMELESS)
def test_a_key_without_a_name_that_takes_anothers_place_is_noticed_at_its_first_token(
    name: str, server: KeyServer, clock: Clock, rsa_signer: Signer, second_signer: Signer, ec_signer: Signer
) -> None:
    before, after = NAMELESS[name](rsa_signer.jwk(kid=...), second_signer.jwk(kid=...), ec_signer.jwk(kid=...))

    async def scenario(identity: OAuth2Authenticator) -> None:
        server.content = jwk_set(*after)
        assert await outcome(identity, second_signer.token(kid=...)) == 200
        assert await outcome(identity, rsa_signer.token(kid=...)) == 401

    play(server, clock, scenario, *before)


def test_forged_tokens_that_name_no_key_read_at_the_same_bounded_pace(
    server: KeyServer, clock: Clock, rsa_signer: Signer, second_signer: Signer
) -> None:
    async def scenario(identity: OAuth2Authenticator) -> None:
        for number in range(60):
            clock.seconds += 1
            forged = second_signer.token(claims(jti=str(number)), kid=...)
            assert await outcome(identity, forged) in (401, 503)
            assert await outcome(identity, rsa_signer.token(kid=...)) == 200
        assert len(server.requests) <= 1 + REREADINGS + 60 / REREAD_SECONDS

    play(server, clock, scenario, rsa_signer.jwk(kid=...))


def test_a_key_under_an_old_name_for_another_algorithm_is_noticed(
    server: KeyServer, clock: Clock, rsa_signer: Signer, ec_signer: Signer
) -> None:
    async def scenario(identity: OAuth2Authenticator) -> None:
        server.content = jwk_set(ec_signer.jwk(kid="rsa-1"))
        assert await outcome(identity, ec_signer.token(kid="rsa-1")) == 200

    play(server, clock, scenario, rsa_signer)


def test_made_up_keys_are_no_outage_and_a_reading_that_fails_is_one(
    server: KeyServer, clock: Clock, rsa_signer: Signer, ec_signer: Signer
) -> None:
    dependency = Dependency("identity")

    async def scenario(identity: OAuth2Authenticator) -> None:
        observed = ObservedAuthenticator(identity, dependency, ())
        await ask(observed, rsa_signer.token())
        found = [await outcome(observed, made_up(ec_signer)) for _ in range(2 * REREADINGS)]
        assert set(found) == {401, 503}
        assert (dependency.failures, dependency.finding.state) == (0, State.OK)
        clock.seconds += REREAD_SECONDS
        server.behaviour = lambda handler: answer(handler, 503, b"")
        for failures in (1, 2):
            assert await outcome(observed, made_up(ec_signer)) == 503
            assert dependency.failures == failures
        assert dependency.finding.state is not State.OK

    play(server, clock, scenario, rsa_signer)
