"""The life of an issuer's keys: rotation, outages, floods; against a real server on loopback."""

from __future__ import annotations

import asyncio
import logging
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from server.authn import AuthenticationFailed, IdentityUnavailable
from server.authn.oauth2 import OAuth2Authenticator, OAuth2Settings
from tests.support.patience import PATIENCE
from tests.support.token_issuers import NOW, KeyServer, Signer, answer, ask, claims, jwk_set

HOUR = 3600.0


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def authenticator(server: KeyServer, clock: Clock) -> OAuth2Authenticator:
    return OAuth2Authenticator(OAuth2Settings(server.url), now=lambda: NOW, clock=clock)


def fails(handler: BaseHTTPRequestHandler) -> None:
    answer(handler, 500, b"")


async def arrival(server: KeyServer) -> None:
    assert await asyncio.to_thread(server.arrived.wait, PATIENCE)
    server.arrived.clear()


def test_many_callers_at_the_start_cause_one_fetch(server: KeyServer, clock: Clock, rsa_signer: Signer) -> None:
    async def scenario() -> None:
        identity = authenticator(server, clock)
        tokens = [rsa_signer.token(claims(sub=f"user-{number}")) for number in range(50)]
        found = await asyncio.gather(*(ask(identity, token) for token in tokens))
        assert [principal.id for principal in found] == [f"user-{number}" for number in range(50)]

    server.content = jwk_set(rsa_signer)
    asyncio.run(scenario())
    assert len(server.requests) == 1


def test_keys_are_fetched_again_only_when_the_period_has_passed(
    server: KeyServer, clock: Clock, rsa_signer: Signer
) -> None:
    async def scenario() -> None:
        identity = authenticator(server, clock)
        for seconds, fetches in ((0, 1), (HOUR - 11, 1), (11, 2), (HOUR - 11, 2), (11, 3)):
            clock.seconds += seconds
            await ask(identity, rsa_signer.token())
            assert len(server.requests) == fetches

    server.content = jwk_set(rsa_signer)
    asyncio.run(scenario())


def test_a_removed_key_stops_validating_after_the_period_cached_tokens_included(
    server: KeyServer, clock: Clock, rsa_signer: Signer, second_signer: Signer
) -> None:
    async def scenario() -> None:
        identity = authenticator(server, clock)
        old, new = rsa_signer.token(), second_signer.token()
        await ask(identity, old)
        server.content = jwk_set(second_signer)
        await ask(identity, old)
        clock.seconds += HOUR
        with pytest.raises(AuthenticationFailed):
            await ask(identity, old)
        assert (await ask(identity, new)).id == "user-1"

    server.content = jwk_set(rsa_signer, second_signer)
    asyncio.run(scenario())


def test_a_new_key_is_found_at_its_first_token(
    server: KeyServer, clock: Clock, rsa_signer: Signer, second_signer: Signer
) -> None:
    async def scenario() -> None:
        identity = authenticator(server, clock)
        await ask(identity, rsa_signer.token())
        server.content = jwk_set(rsa_signer, second_signer)
        found = await asyncio.gather(*(ask(identity, second_signer.token()) for _ in range(20)))
        assert {principal.id for principal in found} == {"user-1"}
        await ask(identity, rsa_signer.token())

    server.content = jwk_set(rsa_signer)
    asyncio.run(scenario())
    assert len(server.requests) == 2


def test_a_forged_token_under_a_known_kid_causes_no_fetch(
    server: KeyServer, clock: Clock, rsa_signer: Signer, second_signer: Signer
) -> None:
    async def scenario() -> None:
        identity = authenticator(server, clock)
        for _ in range(20):
            with pytest.raises(AuthenticationFailed):
                await ask(identity, second_signer.token(kid="rsa-1", jwk=second_signer.jwk(), jku=server.url))

    server.content = jwk_set(rsa_signer)
    asyncio.run(scenario())
    assert len(server.requests) == 1


def test_without_any_keys_no_caller_is_identified_and_the_endpoint_is_not_hammered(
    server: KeyServer, clock: Clock, rsa_signer: Signer, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        identity, token = authenticator(server, clock), rsa_signer.token()
        for seconds, fetches in ((0, 1), (0, 1), (4.9, 1), (0.1, 2), (4.9, 2)):
            clock.seconds += seconds
            results = await asyncio.gather(*(ask(identity, token) for _ in range(10)), return_exceptions=True)
            assert all(isinstance(result, IdentityUnavailable) for result in results)
            assert len(server.requests) == fetches
        server.behaviour = server.publish
        clock.seconds += 0.1
        assert (await ask(identity, token)).id == "user-1"
        assert not [part for part in token.split(".") if part in caplog.text]

    server.content, server.behaviour = jwk_set(rsa_signer), fails
    with caplog.at_level(logging.DEBUG):
        asyncio.run(scenario())
    assert "the answer's status was 500" in caplog.text


def test_the_last_good_keys_serve_for_24_hours_of_outage_and_no_longer(
    server: KeyServer, clock: Clock, rsa_signer: Signer
) -> None:
    async def scenario() -> None:
        identity, token = authenticator(server, clock), rsa_signer.token()
        await ask(identity, token)
        server.behaviour = fails
        for _ in range(23):
            clock.seconds += HOUR
            assert (await ask(identity, token)).id == "user-1"
        clock.seconds += HOUR
        with pytest.raises(IdentityUnavailable):
            await ask(identity, token)

    server.content = jwk_set(rsa_signer)
    asyncio.run(scenario())


@pytest.mark.parametrize("content", [b"<html>", b'{"keys": 1}', b'{"keys":[],"keys":[]}'])
def test_an_answer_that_is_no_key_set_counts_as_an_outage(
    server: KeyServer, clock: Clock, rsa_signer: Signer, content: bytes
) -> None:
    async def scenario() -> None:
        identity = authenticator(server, clock)
        await ask(identity, rsa_signer.token())
        server.content = content
        clock.seconds += HOUR
        assert (await ask(identity, rsa_signer.token())).id == "user-1"
        assert len(server.requests) == 2

    server.content = jwk_set(rsa_signer)
    asyncio.run(scenario())


@pytest.mark.parametrize("remaining", [[], [{"kty": "oct", "k": "AAAA"}]])
def test_a_set_without_a_usable_key_withdraws_the_last_good_ones(
    server: KeyServer, clock: Clock, rsa_signer: Signer, remaining: list[dict[str, Any]]
) -> None:
    async def scenario() -> None:
        identity, token = authenticator(server, clock), rsa_signer.token()
        await ask(identity, token)
        server.content = jwk_set(*remaining)
        clock.seconds += HOUR
        with pytest.raises(IdentityUnavailable):
            await ask(identity, token)
        server.content = jwk_set(rsa_signer)
        clock.seconds += 5
        assert (await ask(identity, token)).id == "user-1"

    server.content = jwk_set(rsa_signer)
    asyncio.run(scenario())


def test_a_recheck_is_waited_for_but_a_retry_after_an_outage_is_not(
    server: KeyServer, clock: Clock, rsa_signer: Signer
) -> None:
    async def scenario() -> None:
        identity, token = authenticator(server, clock), rsa_signer.token()
        await ask(identity, token)
        server.arrived.clear()
        server.behaviour = fails
        clock.seconds += HOUR
        await ask(identity, token)
        await arrival(server)
        server.behaviour = server.publish_when_released
        clock.seconds += 5
        await ask(identity, token)  # would wait for ever if it waited for the retry
        await arrival(server)
        clock.seconds += 5
        await ask(identity, token)
        assert len(server.requests) == 3
        server.released.set()

    server.content = jwk_set(rsa_signer)
    asyncio.run(scenario())


def test_a_caller_who_hangs_up_does_not_end_the_fetch_for_the_others(
    server: KeyServer, clock: Clock, rsa_signer: Signer
) -> None:
    async def scenario() -> None:
        identity, token = authenticator(server, clock), rsa_signer.token()
        first = asyncio.create_task(ask(identity, token))
        await arrival(server)
        second = asyncio.create_task(ask(identity, token))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        server.released.set()
        assert (await second).id == "user-1"

    server.content, server.behaviour = jwk_set(rsa_signer), server.publish_when_released
    asyncio.run(scenario())
    assert len(server.requests) == 1


def test_a_key_file_is_read_again_after_the_period_and_for_an_unknown_kid(
    tmp_path: Path, clock: Clock, rsa_signer: Signer, second_signer: Signer
) -> None:
    async def scenario() -> None:
        path = tmp_path / "jwks.json"
        identity = OAuth2Authenticator(OAuth2Settings(path.as_uri()), now=lambda: NOW, clock=clock)
        with pytest.raises(IdentityUnavailable):
            await ask(identity, rsa_signer.token())
        path.write_bytes(jwk_set(rsa_signer))
        clock.seconds += 5
        assert (await ask(identity, rsa_signer.token())).id == "user-1"
        path.write_bytes(jwk_set(second_signer))
        assert (await ask(identity, rsa_signer.token())).id == "user-1"
        assert (await ask(identity, second_signer.token())).id == "user-1"
        with pytest.raises(AuthenticationFailed):
            await ask(identity, rsa_signer.token())
        path.write_bytes(jwk_set(rsa_signer))
        clock.seconds += HOUR
        with pytest.raises(AuthenticationFailed):
            await ask(identity, second_signer.token())
        path.unlink()
        clock.seconds += HOUR
        assert (await ask(identity, rsa_signer.token())).id == "user-1"

    asyncio.run(scenario())
