"""What one caller's tokens cost others: known tokens first, floods by address, rechecks ahead of time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from starlette.types import Scope

from policy.vocabulary import Principal
from server.authn import AuthenticationFailed, IdentityUnavailable, caching, limits
from server.authn.api_keys import ApiKeyValidator
from server.authn.caching import CachingAuthenticator, Validated
from server.authn.custom import CustomValidator
from server.authn.jwks import REREAD_SECONDS, REREADINGS
from server.authn.key_store import ApiKey, KeyStore
from server.authn.limits import AHEAD_SECONDS, CHECKS, KNOWN_KEYS, RECHECK_RETRY_SECONDS, UNKNOWN, UNKNOWN_KEYS
from server.authn.oauth2 import OAuth2Authenticator, OAuth2Settings
from server.authn.remembered import Remembered
from server.fairness.caller import CURRENT
from server.fairness.shares import NoRoom
from server.net.http_client import ServiceFailed
from server.net.tls import client_context
from tests.support.identity_services import Asked, service
from tests.support.token_issuers import NOW, KeyServer, Signer, claims, jwk_set


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


def test_the_last_good_answer_stands_during_a_recheck_and_not_beyond_its_time() -> None:
    async def scenario() -> None:
        judge, clock = Scripted(), Clock()
        identity = CachingAuthenticator(judge, 60, clock=clock)
        await identity.authenticate("good", HOME)
        judge.hold("good")
        clock.seconds = 60 - AHEAD_SECONDS
        for _ in range(3):
            async with asyncio.timeout(0.5):
                assert (await identity.authenticate("good", HOME)).id == "good"
            await turns()
        assert judge.asked == ["good", "good"], "one recheck for all"
        clock.seconds = 60.0
        late = asyncio.create_task(identity.authenticate("good", HOME))
        await turns()
        assert not late.done(), "the answer does not stand beyond its time"
        judge.release()
        assert (await late).id == "good"

    asyncio.run(scenario())


@pytest.mark.parametrize(("seconds", "due"), [(60.0, 50.0), (5.0, 2.5), (1.0, 0.5), (3600.0, 3590.0)])
def test_a_recheck_begins_shortly_before_the_end_and_renews_the_answer(seconds: float, due: float) -> None:
    async def scenario() -> None:
        judge, clock = Scripted(), Clock()
        identity = CachingAuthenticator(judge, seconds, clock=clock)
        for moment, asked in ((0.0, 1), (due - 0.01, 1), (due, 2), (due + due - 0.01, 2), (2 * due, 3)):
            clock.seconds = moment
            await identity.authenticate("good", HOME)
            await turns()
            assert len(judge.asked) == asked, moment

    asyncio.run(scenario())


def test_a_recheck_that_says_no_ends_the_answer_at_once() -> None:
    async def scenario() -> None:
        judge, clock = Scripted(), Clock()
        identity = CachingAuthenticator(judge, 60, clock=clock)
        await identity.authenticate("good", HOME)
        judge.revoked.add("good")
        clock.seconds = 51
        await identity.authenticate("good", HOME)
        await turns()
        clock.seconds = 52
        with pytest.raises(AuthenticationFailed, match="does not accept"):
            await identity.authenticate("good", HOME)
        assert len(judge.asked) == 2

    asyncio.run(scenario())


def test_a_recheck_that_fails_is_tried_again_and_the_answer_ends_with_its_time() -> None:
    async def scenario() -> None:
        judge, clock = Scripted(), Clock()
        identity = CachingAuthenticator(judge, 60, clock=clock)
        await identity.authenticate("good", HOME)
        judge.is_down = True
        for moment, asked in ((50.0, 2), (50.5, 2), (50 + RECHECK_RETRY_SECONDS, 3), (59.9, 4)):
            clock.seconds = moment
            assert (await identity.authenticate("good", HOME)).id == "good"
            await turns()
            assert len(judge.asked) == asked
        clock.seconds = 60.0
        with pytest.raises(IdentityUnavailable):
            await identity.authenticate("good", HOME)
        judge.is_down = False
        assert (await identity.authenticate("good", HOME)).id == "good"

    asyncio.run(scenario())


def test_unknown_tokens_keep_neither_a_known_one_nor_another_address_waiting() -> None:
    async def scenario() -> None:
        judge, clock, many = Scripted(), Clock(), UNKNOWN.each + UNKNOWN.waiting_each + 100
        judge.hold("made-up")
        identity = CachingAuthenticator(judge, 60, clock=clock)
        await identity.authenticate("good", HOME)
        clock.seconds = 100.0
        flood = [asyncio.create_task(identity.authenticate(f"made-up-{number}", FLOOD)) for number in range(many)]
        await turns()
        assert judge.at_once == UNKNOWN.each
        async with asyncio.timeout(0.5):
            assert (await identity.authenticate("good", FLOOD)).id == "good"
            assert (await identity.authenticate("good-2", HOME)).id == "good"
        refused = [task for task in flood if task.done()]
        assert len(refused) == 100
        assert {await outcome(task) for task in refused} == {"NoRoom"}
        judge.release()
        assert {await outcome(task) for task in flood} == {"NoRoom", "AuthenticationFailed"}
        assert judge.most <= UNKNOWN.each + 1

    asyncio.run(scenario())


def test_the_caller_of_the_request_counts_and_not_the_proxy_it_comes_through() -> None:
    async def scenario() -> None:
        judge = Scripted()
        judge.hold("made-up")
        identity = CachingAuthenticator(judge, 60)

        async def through_proxy(token: str, address: str) -> Principal:
            CURRENT.set(("address", address))
            return await identity.authenticate(token, FLOOD)

        flood = [asyncio.create_task(through_proxy(f"made-up-{number}", "192.0.2.9")) for number in range(100)]
        await turns()
        async with asyncio.timeout(0.5):
            assert (await asyncio.create_task(through_proxy("good", "192.0.2.10"))).id == "good"
        judge.release()
        await asyncio.gather(*flood, return_exceptions=True)

    asyncio.run(scenario())


def test_without_a_cache_a_token_that_was_accepted_before_is_known_all_the_same() -> None:
    async def scenario() -> None:
        judge = Scripted()
        identity = CachingAuthenticator(judge, 0)
        await identity.authenticate("good", FLOOD)
        judge.hold("made-up")
        flood = [asyncio.create_task(identity.authenticate(f"made-up-{number}", FLOOD)) for number in range(100)]
        await turns()
        async with asyncio.timeout(0.5):
            assert (await identity.authenticate("good", FLOOD)).id == "good"
        judge.release()
        await asyncio.gather(*flood, return_exceptions=True)

    asyncio.run(scenario())


def test_a_principal_with_many_tokens_drops_none_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching, "MAX_REMEMBERED", 10)

    async def scenario() -> None:
        judge = Scripted()
        identity = CachingAuthenticator(judge, 60)
        await identity.authenticate("good", HOME)
        for number in range(50):
            await identity.authenticate(f"good2-{number}", FLOOD)
        await identity.authenticate("good", HOME)
        assert judge.asked.count("good") == 1

    asyncio.run(scenario())


def test_refused_tokens_of_one_address_drop_none_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching, "MAX_REMEMBERED", 10)

    async def scenario() -> None:
        judge = Scripted()
        identity = CachingAuthenticator(judge, 60)
        for token, request in (("bad", HOME), *((f"made-up-{number}", FLOOD) for number in range(50)), ("bad", HOME)):
            with pytest.raises(AuthenticationFailed):
                await identity.authenticate(token, request)
        assert judge.asked.count("bad") == 1

    asyncio.run(scenario())


def test_a_bounded_memory_forgets_the_oldest_of_the_holder_with_most() -> None:
    memory: Remembered[int] = Remembered(4)
    small, large, new = ("s",), ("l",), ("n",)
    memory.put(b"s", 0, small)
    for number in range(6):
        memory.put(b"l%d" % number, number, large)
    assert [memory.get(b"l%d" % number) for number in range(6)] == [None, None, None, 3, 4, 5]
    assert memory.get(b"s") == 0
    memory.use(b"s")
    memory.put(b"n", 7, new)
    assert memory.get(b"l3") is None, "the oldest of all, whose holder has more"
    memory.put(b"s", 1, small)
    assert (len(memory), memory.get(b"s"), memory.get(b"n")) == (4, 1, 7)
    memory.drop(b"s")
    memory.drop(b"s")
    assert len(memory) == 3
    memory.clear()
    assert len(memory) == 0


def test_a_flood_of_failures_writes_few_warnings(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        judge, clock = Scripted(is_down=True), Clock()
        identity = CachingAuthenticator(judge, 60, clock=clock)
        for number in range(500):
            clock.seconds += 0.01
            assert await outcome(identity.authenticate(f"any-{number}", FLOOD)) == "IdentityUnavailable"

    asyncio.run(scenario())
    said = [record for record in caplog.records if "could not be asked" in record.message]
    assert limits.WARNINGS <= len(said) <= limits.WARNINGS + 6


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
            async with asyncio.timeout(2):
                await identity.authenticate(rsa_signer.token(claims(jti=str(number))), HOME)
        assert await asyncio.to_thread(server.arrived.wait, 10)
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
