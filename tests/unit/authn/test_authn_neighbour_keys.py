"""The cost of API keys, key sets and checks of signatures to other callers."""

from __future__ import annotations

import asyncio
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from server.authn import AuthenticationFailed, limits
from server.authn.api_keys import ApiKeyValidator
from server.authn.caching import CachingAuthenticator
from server.authn.custom import CustomValidator
from server.authn.jwks import REREAD_SECONDS, REREADINGS
from server.authn.key_store import ApiKey, KeyStore
from server.authn.limits import AHEAD_SECONDS, CHECKS, KNOWN_KEYS, UNKNOWN_KEYS
from server.authn.oauth2 import OAuth2Authenticator, OAuth2Settings
from server.net.tls import client_context
from tests.support.identity_services import Asked, service
from tests.support.patience import PATIENCE
from tests.support.scripted_validator import FLOOD, HOME, Clock, at, outcome
from tests.support.token_issuers import NOW, KeyServer, Signer, claims, jwk_set


class SlowStore(KeyStore):
    """A store whose lookups take their time, and note how many there are at once."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.lock = threading.Lock()
        self.at_once = self.most = 0

    def find(self, identity: str) -> ApiKey | None:
        with self.lock:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        time.sleep(0.02)
        with self.lock:
            self.at_once -= 1
        return super().find(identity)


@pytest.mark.alone
def test_made_up_api_keys_hold_up_neither_a_known_one_nor_the_servers_threads(tmp_path: Path) -> None:
    async def scenario() -> None:
        directory = tmp_path / "keys"
        directory.mkdir(mode=0o700)
        store = SlowStore(directory / "keys.db")
        key = store.create("ci-bot", {}, None)
        clock = Clock()
        identity = CachingAuthenticator(ApiKeyValidator(store), 5, known=KNOWN_KEYS, unknown=UNKNOWN_KEYS, clock=clock)
        await identity.authenticate(key, HOME)
        clock.seconds = 10.0
        flood = [asyncio.create_task(identity.authenticate(f"ost_{n:012}_{'x' * 43}", FLOOD)) for n in range(200)]
        await asyncio.sleep(0.05)
        began = time.monotonic()
        await asyncio.to_thread(int)
        assert (await identity.authenticate(key, HOME)).id == "ci-bot"
        assert time.monotonic() - began < 0.5, "200 lookups of 0.02 s would take 4 s"
        for task in flood:
            task.cancel()
        await asyncio.gather(*flood, return_exceptions=True)
        await identity.close()
        assert store.most <= UNKNOWN_KEYS.each + 1

    asyncio.run(scenario())


def test_made_up_keys_of_one_address_keep_no_new_key_from_another(
    server: KeyServer, rsa_signer: Signer, second_signer: Signer, ec_signer: Signer
) -> None:
    async def scenario() -> None:
        clock = Clock(1_000.0)
        identity = OAuth2Authenticator(OAuth2Settings(server.url), now=lambda: NOW, clock=clock)
        server.content = jwk_set(rsa_signer)
        await identity.authenticate(rsa_signer.token(), HOME)
        made_up = (ec_signer.token(claims(jti=str(number)), kid=f"made-up-{number}") for number in range(2000))
        for _ in range(3 * REREADINGS):
            await outcome(identity.authenticate(next(made_up), FLOOD))
        assert await outcome(identity.authenticate(next(made_up), FLOOD)) == "IdentityUnavailable"
        server.content = jwk_set(rsa_signer, second_signer)
        assert await outcome(identity.authenticate(second_signer.token(), HOME)) == "user-1"
        for number in range(200):
            clock.seconds += 0.5
            for client in range(5):
                await outcome(identity.authenticate(next(made_up), at(f"192.0.2.{(number + client) % 50}")))
        assert len(server.requests) <= 2 * (REREADINGS + 1 + 100 / REREAD_SECONDS)

    asyncio.run(scenario())


def test_the_last_keys_serve_while_a_due_recheck_is_slow(server: KeyServer, rsa_signer: Signer) -> None:
    async def scenario() -> None:
        clock = Clock(1_000.0)
        identity = OAuth2Authenticator(OAuth2Settings(server.url), now=lambda: NOW, clock=clock)
        server.content = jwk_set(rsa_signer)
        await identity.authenticate(rsa_signer.token(), HOME)
        server.behaviour = server.publish_when_released
        clock.seconds += 3600 - AHEAD_SECONDS
        for number in range(5):
            async with asyncio.timeout(PATIENCE):
                await identity.authenticate(rsa_signer.token(claims(jti=str(number))), HOME)
        assert await asyncio.to_thread(server.arrived.wait, PATIENCE)
        clock.seconds += AHEAD_SECONDS
        late = asyncio.create_task(identity.authenticate(rsa_signer.token(), HOME))
        await asyncio.sleep(0.05)
        assert not late.done(), "removed keys stop verifying with the period, as before"
        server.released.set()
        assert (await late).id == "user-1"
        assert len(server.requests) == 2

    asyncio.run(scenario())


def test_checks_of_forged_tokens_leave_the_event_loop_to_others(
    server: KeyServer, rsa_signer: Signer, ec_signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks: list[int] = []
    turn = 0

    def counted(*given: object) -> None:
        checks.append(turn)
        raise AuthenticationFailed("forged")

    async def scenario() -> None:
        nonlocal turn
        identity = OAuth2Authenticator(OAuth2Settings(server.url), now=lambda: NOW)
        server.content = jwk_set(rsa_signer)
        known = rsa_signer.token()
        await identity.authenticate(known, HOME)
        monkeypatch.setattr("server.authn.oauth2.verify", counted)
        forged = [
            asyncio.create_task(outcome(identity.authenticate(f"{number}.forged", at(f"192.0.2.{number % 50}"))))
            for number in range(200)
        ]
        while not all(task.done() for task in forged):
            turn += 1
            await asyncio.sleep(0)
            assert (await identity.authenticate(known, HOME)).id == "user-1"
        assert {task.result() for task in forged} == {"AuthenticationFailed"}
        assert len(checks) == 200
        assert max(checks.count(each) for each in set(checks)) <= 2 * CHECKS.capacity

    asyncio.run(scenario())


@pytest.mark.alone
def test_a_flood_against_a_real_endpoint_keeps_no_known_caller_waiting() -> None:
    def judged(asked: Asked) -> tuple[int, dict[str, object]]:
        time.sleep(0.1)
        return (200, {"principal": "user-1"}) if b"known" in asked.body else (401, {})

    async def scenario(url: str) -> None:
        clock = Clock()
        validator = CustomValidator(url, partial(str), client_context(None, verify=True))
        identity = CachingAuthenticator(validator, 60, clock=clock)
        await identity.authenticate("known", HOME)
        stop = asyncio.Event()
        numbers = iter(range(1_000_000))

        async def flood() -> None:
            while not stop.is_set():
                if await outcome(identity.authenticate(f"random-{next(numbers)}", FLOOD)) == "NoRoom":
                    await asyncio.sleep(0.05)

        async with asyncio.TaskGroup() as group:
            for _ in range(400):
                group.create_task(flood())
            await asyncio.sleep(0.5)
            waits: list[float] = []
            for moment in (51, 70, 200):  # ahead of time, while the answer stands, and long after
                clock.seconds = moment
                began = time.monotonic()
                assert (await identity.authenticate("known", HOME)).id == "user-1"
                waits.append(time.monotonic() - began)
                await asyncio.sleep(0.3)
            stop.set()
        await identity.close()
        assert max(waits) < 1.0, "it waited 5 s, or was refused"
        assert waits[0] < 0.1

    with service(judged) as endpoint:
        asyncio.run(scenario(endpoint.url))


def test_every_share_of_authentication_fits_the_connections() -> None:
    assert limits.KNOWN.capacity + limits.UNKNOWN.capacity == limits.MAX_CONNECTIONS
    assert limits.UNKNOWN.each < limits.UNKNOWN.capacity
