"""From a configuration to whoever judges tokens: one issuer or several, by keys or by asking."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from policy.source.diagnostics import Findings
from policy.source.document import parse_document
from policy.vocabulary import Principal
from server.authn import AuthenticationFailed, Authenticator
from server.authn.api_keys import ISSUER as OF_KEYS
from server.authn.key_store import KeyStore, KeyStoreUnusable
from server.config import read_config
from server.wiring.authenticators import authenticator
from tests.support.identity_services import Asked, service
from tests.support.token_issuers import Signer, ask, claims, encode, jwk_set

A, B = "https://a.example", "https://b.example"


def chosen(provider: str) -> Authenticator:
    """Whom a configuration with that `provider_config` (flow style) asks."""
    findings = Findings()
    text = f"server:\n  auth:\n    provider_config: {provider}\n"
    config = read_config(parse_document(text, "config.yaml"), {}, findings)
    assert config is not None, findings.diagnostics
    found = authenticator(config.server.auth)
    assert found is not None
    return found


def identify(identity: Authenticator, token: str) -> Principal:
    async def once() -> Principal:
        try:
            return await ask(identity, token)
        finally:
            await identity.close()

    return asyncio.run(once())


def current(**changes: Any) -> dict[str, Any]:
    """Claims that are good now."""
    now = int(time.time())
    return claims(**({"iat": now, "nbf": now, "exp": now + 600} | changes))


def keys(folder: Path, *signers: Signer) -> str:
    path = folder / f"{len(list(folder.iterdir()))}.json"
    path.write_bytes(jwk_set(*signers))
    return f"jwks: {{uri: '{path.as_uri()}'}}"


@pytest.mark.parametrize(("switch", "teams"), [("", ("a b",)), (", split_claims: true", ("a", "b"))])
def test_texts_are_split_where_the_configuration_says_so(
    switch: str, teams: tuple[str, ...], tmp_path: Path, rsa_signer: Signer
) -> None:
    settings = f"issuer: '{A}', audience: a, claims_mapping: {{groups: teams}}{switch}, {keys(tmp_path, rsa_signer)}"
    for provider in (f"{{type: oauth2_token, {settings}}}", f"{{type: oauth2_token, issuers: [{{{settings}}}]}}"):
        found = identify(chosen(provider), rsa_signer.token(current(iss=A, aud="a", groups="a b")))
        assert found.attributes == {"teams": teams}


def test_each_issuer_judges_its_own_tokens_alone(
    tmp_path: Path, rsa_signer: Signer, second_signer: Signer, ec_signer: Signer
) -> None:
    identity = chosen(
        "{type: oauth2_token, issuers: ["
        f"{{issuer: '{A}', audience: a, {keys(tmp_path, rsa_signer)}}}, "
        f"{{issuer: '{B}', audience: b, {keys(tmp_path, second_signer)}, claims_mapping: {{groups: roles}}}}]}}"
    )
    group = {"groups": ["admin"]}
    of_a = identify(identity, rsa_signer.token(current(iss=A, aud="a", **group)))
    of_b = identify(identity, second_signer.token(current(iss=B, aud="b", **group)))
    assert (of_a.issuer, of_a.attributes) == (A, {"roles": ("user-1",), "teams": ("admin",)})
    assert (of_b.issuer, of_b.attributes) == (B, {"roles": ("admin",)})
    assert of_a.id == of_b.id
    assert of_a != of_b
    for forged in (
        second_signer.token(current(iss=A, aud="a")),
        rsa_signer.token(current(iss=B, aud="b")),
        rsa_signer.token(current(iss=A, aud="b")),
        rsa_signer.token(current(iss=A + "/", aud="a")),
        rsa_signer.token(current(iss="https://c.example", aud="a")),
        rsa_signer.token(current(iss=[A], aud="a")),
        rsa_signer.token(current(iss=..., aud="a")),
        rsa_signer.sign(encode({"alg": "RS256"}), encode(b"not json")),
        rsa_signer.sign(encode({"alg": "RS256"}), encode(f'{{"iss":"{A}","iss":"{B}"}}'.encode())),
        "opaque",
        "a.b",
        "x" * 20_000,
    ):
        with pytest.raises(AuthenticationFailed):
            identify(identity, forged)


def introspecting(asked: Asked) -> tuple[int, Any]:
    """An issuer that knows one opaque token, and says that every other one is not active."""
    good = parse_qs(asked.body.decode())["token"] == ["opaque-token"]
    return 200, {"active": True, "sub": "by-asking", "iss": A, "aud": "a"} if good else {"active": False}


def test_beside_keys_only_tokens_that_are_no_jwt_are_asked_about(tmp_path: Path, rsa_signer: Signer) -> None:
    with service(introspecting) as endpoint:
        asked = f"introspection: {{url: '{endpoint.url}', client_id: c, client_secret: s}}"
        config = f"{{type: oauth2_token, issuer: '{A}', audience: a, {keys(tmp_path, rsa_signer)}, {asked}}}"
        assert identify(chosen(config), rsa_signer.token(current(iss=A, aud="a"))).id == "user-1"
        assert endpoint.asked == []
        assert identify(chosen(config), "opaque-token").id == "by-asking"
        with pytest.raises(AuthenticationFailed, match="not active"):
            identify(chosen(config), "unknown")
        assert len(endpoint.asked) == 2
        with pytest.raises(AuthenticationFailed):
            identify(chosen(config), rsa_signer.token(current(iss=B, aud="a")))
        assert len(endpoint.asked) == 2


def test_without_keys_every_token_is_asked_about(rsa_signer: Signer) -> None:
    with service(introspecting) as endpoint:
        asked = f"introspection: {{url: '{endpoint.url}', client_id: c, client_secret: s}}"
        config = f"{{type: oauth2_token, issuer: '{A}', audience: a, {asked}}}"
        assert identify(chosen(config), "opaque-token").id == "by-asking"
        with pytest.raises(AuthenticationFailed, match="not active"):
            identify(chosen(config), rsa_signer.token(current(iss=A, aud="a")))
        assert len(endpoint.asked) == 2


def by_asking(url: str, issuer: str, audience: str) -> str:
    introspection = f"introspection: {{url: '{url}', client_id: c, client_secret: s}}"
    return f"{{issuer: '{issuer}', audience: {audience}, {introspection}}}"


def test_of_two_issuers_that_are_asked_each_is_asked_about_its_own_tokens_alone(rsa_signer: Signer) -> None:
    def speaking_for(issuer: str, audience: str) -> Any:
        return lambda _asked: (200, {"active": True, "sub": "ann", "iss": issuer, "aud": audience})

    with service(speaking_for(A, "a")) as of_a, service(speaking_for(B, "b")) as of_b:
        config = f"{{type: oauth2_token, issuers: [{by_asking(of_a.url, A, 'a')}, {by_asking(of_b.url, B, 'b')}]}}"
        assert identify(chosen(config), rsa_signer.token(current(iss=B, aud="b"))) == Principal(
            "ann", B, {"roles": ("ann",)}
        )
        assert (len(of_a.asked), len(of_b.asked)) == (0, 1)
        assert identify(chosen(config), rsa_signer.token(current(iss=A, aud="a"))) == Principal(
            "ann", A, {"roles": ("ann",)}
        )
        assert (len(of_a.asked), len(of_b.asked)) == (1, 1)
        # A token that names neither, or nobody, is asked about nowhere.
        for token in (
            rsa_signer.token(current(iss="https://c.example")),
            "opaque",
            rsa_signer.token(current(iss=A + "/")),
        ):
            with pytest.raises(AuthenticationFailed):
                identify(chosen(config), token)
        assert (len(of_a.asked), len(of_b.asked)) == (1, 1)


@pytest.mark.parametrize("claimed", [B, A + "/", A.upper(), "", None, [A]])
def test_an_issuer_that_is_asked_speaks_for_no_other(rsa_signer: Signer, claimed: Any) -> None:
    with service(lambda _asked: (200, {"active": True, "sub": "ann", "iss": claimed, "aud": "a"})) as of_a:
        other = by_asking("https://127.0.0.1:9/introspect", B, "b")
        for config in (
            f"{{type: oauth2_token, issuers: [{by_asking(of_a.url, A, 'a')}, {other}]}}",
            f"{{type: oauth2_token, {by_asking(of_a.url, A, 'a')[1:-1]}}}",
        ):
            with pytest.raises(AuthenticationFailed, match="issuer"):
                identify(chosen(config), rsa_signer.token(current(iss=A, aud="a")))
        assert len(of_a.asked) == 2


def test_a_key_made_on_the_command_line_is_its_principal_until_it_is_over_or_revoked(tmp_path: Path) -> None:
    path = tmp_path / "home" / "keys.db"
    now = [1000.0]
    store = KeyStore(path, lambda: now[0])
    key = store.create("ci-bot", {"roles": ("developer",), "teams": ()}, None)
    config = f"{{type: api_key, db_path: '{path}', recheck_period: 0}}"
    assert identify(chosen(config), key) == Principal("ci-bot", OF_KEYS, {"roles": ("developer",)})
    assert path.stat().st_mode & 0o777 == 0o600
    assert key.split("_", 2)[2].encode() not in path.read_bytes()

    identity, _, secret = key.removeprefix("ost_").partition("_")
    other = "B" if secret[0] == "A" else "A"
    for wrong in (key[:-1], key + "A", f"ost_{identity}_{other}{secret[1:]}", f"ost_{'a' * 12}_{secret}", "ost", "x"):
        with pytest.raises(AuthenticationFailed):
            identify(chosen(config), wrong)

    assert store.revoke(identity) is True
    assert store.revoke("a" * 12) is False
    with pytest.raises(AuthenticationFailed, match="not valid"):
        identify(chosen(config), key)
    now[0] = time.time()
    ending = store.create("ci-bot", {}, int(now[0]) + 1000)
    assert identify(chosen(config), ending).attributes == {}
    over = KeyStore(path, lambda: time.time() - 10_000).create("ci-bot", {}, int(time.time()) - 5000)
    with pytest.raises(AuthenticationFailed, match="not valid"):
        identify(chosen(config), over)
    assert [entry.principal for entry in store.all()] == ["ci-bot"] * 3


@pytest.mark.parametrize(
    ("principal", "attributes"),
    [("", {}), (" ", {}), ("a\nb", {}), ("x" * 257, {}), ("a", {"roles": ("",)}), ("a", {"": ("b",)})],
)
def test_no_key_is_made_for_a_name_that_no_caller_can_have(
    tmp_path: Path, principal: str, attributes: dict[str, tuple[str, ...]]
) -> None:
    with pytest.raises(ValueError, match="plain characters"):
        KeyStore(tmp_path / "keys.db").create(principal, attributes, None)


def test_a_store_of_keys_that_is_none_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "keys.db").write_bytes(b"this is no database at all, whatever its name says" * 100)
    with pytest.raises(KeyStoreUnusable, match=r"keys\.db` can't be used: file is not a database"):
        KeyStore(tmp_path / "keys.db").all()
    with pytest.raises(KeyStoreUnusable, match="can't be used"):
        KeyStore(tmp_path).all()
