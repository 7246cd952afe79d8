"""Secrets that lie in files, files of keys that others could write, hosts in plain, and leeway: while it runs."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from server.authn import AuthenticationFailed, IdentityUnavailable
from server.authn.attributes import ClaimsMapping
from server.authn.caching import CachingAuthenticator
from server.authn.introspection import IntrospectionSettings, IntrospectionValidator
from server.authn.key_source import UnusableEndpoint, open_endpoint
from server.authn.oauth2 import OAuth2Authenticator, OAuth2Settings
from server.authn.token_rules import TokenRules
from server.net.tls import client_context
from tests.support.identity_services import Asked, service
from tests.support.patience import PATIENCE
from tests.support.token_issuers import AUDIENCE, ISSUER, NOW, KeyServer, Signer, ask, claims, jwk_set

SECRET = "canary-51f7"
HOUR = 3600.0


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what a reading does that no caller waits for."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - what it waits for knows no events
            await asyncio.sleep(0.01)


def test_the_token_for_the_keys_is_read_anew_at_each_reading(
    server: KeyServer, tmp_path: Path, rsa_signer: Signer, caplog: pytest.LogCaptureFixture
) -> None:
    """As a cluster renews it: the spec's own recipe gives one of one hour."""
    seconds, file = [0.0], tmp_path / "token"

    async def scenario() -> None:
        settings = OAuth2Settings(server.url, jwks_token_file=file)
        identity = OAuth2Authenticator(settings, now=lambda: NOW, clock=lambda: seconds[0])
        for number, written in enumerate(("one\n", "two", "three\r\n")):
            file.write_text(written)
            await ask(identity, rsa_signer.token())
            assert server.requests[number]["authorization"] == f"Bearer {written.strip()}"
            seconds[0] += HOUR
        # What is no token keeps the keys that there are, and is sent nowhere.
        for written, reason in (("", "is empty"), (f"{SECRET} {SECRET}", "holds a blank"), (None, "can't be read (No")):
            file.unlink()
            if written is not None:
                file.write_text(written)
            await ask(identity, rsa_signer.token())
            await until(lambda reason=reason: f"its `token_file` `{file}` {reason}" in caplog.text)
            seconds[0] += HOUR
        assert len(server.requests) == 3
        file.write_text("four")
        await ask(identity, rsa_signer.token())
        await until(lambda: len(server.requests) == 4)
        assert server.requests[3]["authorization"] == "Bearer four"

    server.content = jwk_set(rsa_signer)
    with caplog.at_level(logging.DEBUG):
        asyncio.run(scenario())
    assert SECRET not in caplog.text


@pytest.mark.parametrize("in_body", [False, True])
def test_the_secret_of_the_client_is_read_anew_for_each_question(
    in_body: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "secret"

    def shown(asked: Asked) -> str:
        if in_body:
            return parse_qs(asked.body.decode())["client_secret"][0]
        return base64.b64decode(asked.headers["authorization"].removeprefix("Basic ")).decode().partition(":")[2]

    async def scenario(url: str) -> None:
        settings = IntrospectionSettings(url, "client", file, in_body)
        validator = IntrospectionValidator(
            settings, TokenRules(None, None), ClaimsMapping({}), client_context(None, verify=True), lambda: NOW
        )
        identity = CachingAuthenticator(validator, 0)
        for written in ("one\n", "two"):
            file.write_text(written)
            await ask(identity, "token")
        for written in ("", f"{SECRET}\n{SECRET}"):
            file.write_text(written)
            with pytest.raises(IdentityUnavailable):
                await ask(identity, "token")
        await identity.close()

    with service(lambda asked: (200, {"active": True, "sub": "ann"})) as endpoint, caplog.at_level(logging.DEBUG):
        asyncio.run(scenario(endpoint.url))
        assert [shown(asked) for asked in endpoint.asked] == ["one", "two"]
    assert f"the `client_secret_file` `{file}` is empty" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize("seconds", [0, 5, 300])
def test_times_may_be_so_much_off_and_no_more(seconds: int, tmp_path: Path, rsa_signer: Signer) -> None:
    (tmp_path / "keys").write_bytes(jwk_set(rsa_signer))
    settings = OAuth2Settings((tmp_path / "keys").as_uri(), ISSUER, AUDIENCE, leeway=seconds)
    identity = OAuth2Authenticator(settings, now=lambda: NOW)

    async def is_good(**changes: Any) -> bool:
        try:
            await ask(identity, rsa_signer.token(claims(**changes)))
        except AuthenticationFailed:
            return False
        return True

    async def scenario() -> None:
        for name, good, bad in (
            ("exp", NOW - seconds + 1, NOW - seconds),
            ("nbf", NOW + seconds, NOW + seconds + 1),
            ("iat", NOW + seconds, NOW + seconds + 1),
        ):
            assert await is_good(**{name: good}), name
            assert not await is_good(**{name: bad}), name

    asyncio.run(scenario())


def test_the_leeway_holds_for_introspection_too() -> None:
    ends = [NOW - 4]

    async def scenario(url: str) -> None:
        settings = IntrospectionSettings(url, "client", "secret")
        rules, context = TokenRules(None, None, 5), client_context(None, verify=True)
        validator = IntrospectionValidator(settings, rules, ClaimsMapping({}), context, lambda: NOW)
        identity = CachingAuthenticator(validator, 60, now=lambda: NOW)
        assert (await ask(identity, "one")).id == "ann"
        ends[0] = NOW - 5
        with pytest.raises(AuthenticationFailed, match="expired"):
            await ask(identity, "two")
        await identity.close()

    with service(lambda asked: (200, {"active": True, "sub": "ann", "exp": ends[0]})) as endpoint:
        asyncio.run(scenario(endpoint.url))


def test_a_file_of_keys_that_others_may_write_is_believed_no_more(
    tmp_path: Path, rsa_signer: Signer, second_signer: Signer, caplog: pytest.LogCaptureFixture
) -> None:
    path, seconds = tmp_path / "keys", [0.0]
    path.write_bytes(jwk_set(rsa_signer))

    async def scenario() -> None:
        identity = OAuth2Authenticator(OAuth2Settings(path.as_uri()), now=lambda: NOW, clock=lambda: seconds[0])
        await ask(identity, rsa_signer.token())
        path.write_bytes(jwk_set(second_signer))
        path.chmod(0o666)
        seconds[0] += HOUR
        await ask(identity, rsa_signer.token())
        with pytest.raises(IdentityUnavailable):
            await ask(identity, second_signer.token())
        path.chmod(0o644)
        seconds[0] += 5
        await ask(identity, second_signer.token())

    asyncio.run(scenario())
    assert f"it is not safe to believe: other users may write `{path}`" in caplog.text


def test_a_host_is_asked_in_plain_only_where_it_is_named() -> None:
    def opened(*hosts: str) -> str:
        endpoint = open_endpoint(
            "http://keycloak:8080/keys?k=v", token=None, tls_cafile=None, verify_tls=True, allow_http=hosts
        )
        return endpoint.address

    assert opened("other", "keycloak") == "http://keycloak:8080/keys"
    for hosts in ((), ("other",), ("keycloak.example",), ("eycloak",), ("keycloak:8080",)):
        with pytest.raises(UnusableEndpoint, match="not encrypted"):
            opened(*hosts)
