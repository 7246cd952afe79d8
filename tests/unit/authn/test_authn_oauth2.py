"""Tokens → principals."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from policy.vocabulary import Principal
from server.authn import AuthenticationFailed, Authenticator, oauth2
from server.authn.attributes import ClaimsMapping
from server.authn.oauth2 import OAuth2Authenticator, OAuth2Settings
from tests.support.identity_services import private_ca
from tests.support.token_issuers import AUDIENCE, ISSUER, NOW, KeyServer, Signer, ask, claims, jwk_set, key_server


@pytest.fixture
def key_file(tmp_path: Path, rsa_signer: Signer, ec_signer: Signer) -> str:
    (tmp_path / "jwks.json").write_bytes(jwk_set(rsa_signer, ec_signer))
    return (tmp_path / "jwks.json").as_uri()


@pytest.fixture
def verifications(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by the token of each verification that really takes place."""
    seen: list[str] = []
    verify = oauth2.verify

    def counting(token: str, *others: Any) -> Any:
        seen.append(token)
        return verify(token, *others)

    monkeypatch.setattr(oauth2, "verify", counting)
    return seen


def identify(identity: Authenticator, *tokens: str) -> list[Principal]:
    async def one_after_the_other() -> list[Principal]:
        return [await ask(identity, token) for token in tokens]

    return asyncio.run(one_after_the_other())


def test_a_kubernetes_service_account_is_identified_over_tls_with_a_private_ca(
    tmp_path: Path, rsa_signer: Signer
) -> None:
    """Example C15."""
    ca_file, context = private_ca(tmp_path)
    cluster = "https://kubernetes.default.svc"
    with key_server(context) as server:
        server.content = jwk_set(rsa_signer.jwk(alg="RS256"))
        settings = OAuth2Settings(
            server.url, issuer=cluster, audience=cluster, jwks_token="cluster-token", tls_cafile=ca_file
        )
        body = claims(iss=cluster, aud=[cluster], sub="system:serviceaccount:ns:sa", groups=["system:authenticated"])
        body["kubernetes.io"] = {"namespace": "ns", "serviceaccount": {"name": "sa"}}
        identity = OAuth2Authenticator(settings, now=lambda: NOW)
        (principal,) = identify(identity, rsa_signer.token(body, typ=...))
        assert principal == Principal(
            "system:serviceaccount:ns:sa",
            cluster,
            {"roles": ("system:serviceaccount:ns:sa",), "teams": ("system:authenticated",)},
        )
        assert [request["authorization"] for request in server.requests] == ["Bearer cluster-token"]
    assert "cluster-token" not in repr(settings)


def test_the_same_subject_of_two_issuers_is_two_principals(key_file: str, rsa_signer: Signer) -> None:
    identity = OAuth2Authenticator(OAuth2Settings(key_file), now=lambda: NOW)
    tokens = [rsa_signer.token(claims(iss=issuer)) for issuer in ("https://a.example", "https://b.example", ...)]
    found = identify(identity, *tokens)
    assert [principal.id for principal in found] == ["user-1"] * 3
    assert [principal.issuer for principal in found] == ["https://a.example", "https://b.example", key_file]


def test_issuer_audience_and_mapping_of_the_settings_are_in_force(key_file: str, rsa_signer: Signer) -> None:
    settings = OAuth2Settings(key_file, ISSUER, AUDIENCE, claims_mapping=ClaimsMapping({"realm_access.roles": "roles"}))
    identity = OAuth2Authenticator(settings, now=lambda: NOW)
    body = claims(realm_access={"roles": ["developer"]}, roles=["admin"])
    assert identify(identity, rsa_signer.token(body))[0].attributes == {"roles": ("developer",)}
    for change in ({"iss": "x"}, {"aud": "x"}, {"realm_access": []}):
        with pytest.raises(AuthenticationFailed):
            identify(identity, rsa_signer.token(body | change))


def test_a_token_is_verified_once_until_it_expires(key_file: str, rsa_signer: Signer, verifications: list[str]) -> None:
    now = [float(NOW)]
    identity = OAuth2Authenticator(OAuth2Settings(key_file), now=lambda: now[0])
    first, second = rsa_signer.token(), rsa_signer.token(claims(sub="user-2"))
    found = identify(identity, first, second, first, second, first)
    assert [principal.id for principal in found] == ["user-1", "user-2", "user-1", "user-2", "user-1"]
    assert verifications == [first, second]
    now[0] = NOW + 599.0
    identify(identity, first)
    assert verifications == [first, second]
    now[0] = NOW + 660.0
    with pytest.raises(AuthenticationFailed, match="expired"):
        identify(identity, first)
    assert verifications == [first, second, first]


def test_a_refusal_is_not_remembered(key_file: str, rsa_signer: Signer) -> None:
    now = [float(NOW)]
    identity = OAuth2Authenticator(OAuth2Settings(key_file), now=lambda: now[0])
    token = rsa_signer.token(claims(nbf=NOW + 100))
    with pytest.raises(AuthenticationFailed):
        identify(identity, token)
    now[0] += 100
    assert identify(identity, token)[0].id == "user-1"


def test_the_cache_forgets_the_token_that_was_used_longest_ago(
    key_file: str, rsa_signer: Signer, verifications: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oauth2, "MAX_CACHED_TOKENS", 2)
    identity = OAuth2Authenticator(OAuth2Settings(key_file), now=lambda: NOW)
    a, b, c = (rsa_signer.token(claims(sub=f"user-{name}")) for name in "abc")
    identify(identity, a, b, a, c, a, b)
    assert verifications == [a, b, c, b]


def test_the_cache_holds_few_principals_with_many_groups(
    key_file: str, rsa_signer: Signer, verifications: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oauth2, "MAX_REMEMBERED_BYTES", 100_000)
    identity = OAuth2Authenticator(OAuth2Settings(key_file), now=lambda: NOW)
    modest = rsa_signer.token(claims(sub="modest"))
    groups = [f"g{number}" for number in range(900)]
    greedy = [rsa_signer.token(claims(sub="greedy", groups=groups, jti=str(number))) for number in range(4)]
    identify(identity, modest, *greedy, modest, greedy[3], greedy[0])
    assert verifications == [modest, *greedy, greedy[0]]


def test_unchanged_keys_keep_the_verified_tokens_and_changed_ones_do_not(
    server: KeyServer, rsa_signer: Signer, ec_signer: Signer, verifications: list[str]
) -> None:
    seconds = [0.0]
    identity = OAuth2Authenticator(OAuth2Settings(server.url), now=lambda: NOW, clock=lambda: seconds[0])
    token = rsa_signer.token()
    server.content = jwk_set(rsa_signer)
    for fetches in (1, 2):
        identify(identity, token)
        assert len(server.requests) == fetches
        seconds[0] += 3600
    assert len(verifications) == 1
    server.content = jwk_set(rsa_signer, ec_signer)
    identify(identity, token, token)
    assert len(verifications) == 2


def accepted_or_refused(identity: OAuth2Authenticator, token: str) -> bool:
    """Whether the token was accepted; anything but a principal or a refusal fails the test."""
    try:
        (principal,) = identify(identity, token)
    except AuthenticationFailed as refusal:
        assert not any(len(part) > 8 and part in str(refusal) for part in token.split("."))
        return False
    principal.id.encode()
    assert all(value.encode() for values in principal.attributes.values() for value in values)
    return True


@pytest.fixture
def fuzzed(key_file: str) -> OAuth2Authenticator:
    return OAuth2Authenticator(OAuth2Settings(key_file, ISSUER, AUDIENCE), now=lambda: NOW)


fuzz = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@fuzz
@example(token="\ud800")
@given(
    token=st.text() | st.from_regex(r"[\w.=+/-]*", fullmatch=True) | st.binary().map(lambda raw: raw.decode("latin-1"))
)
def test_no_text_but_a_token_is_accepted(fuzzed: OAuth2Authenticator, token: str) -> None:
    assert not accepted_or_refused(fuzzed, token)


@fuzz
@given(data=st.data())
def test_a_token_changed_in_any_place_is_refused(
    fuzzed: OAuth2Authenticator, ec_signer: Signer, data: st.DataObject
) -> None:
    token = ec_signer.token(claims(roles=["developer"]))
    start = data.draw(st.integers(0, len(token)))
    end = data.draw(st.integers(start, min(len(token), start + 4)))
    inserted = data.draw(st.text(st.sampled_from("abcXYZ019-_.=+ \n\x00é"), max_size=4))
    changed = token[:start] + inserted + token[end:]
    assert accepted_or_refused(fuzzed, changed) == (changed == token)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
claim_names = st.sampled_from(["iss", "aud", "sub", "exp", "nbf", "iat", "roles", "groups", "teams", "projects"])
header_names = st.sampled_from(["alg", "typ", "kid", "crit", "b64", "jwk", "jku", "x5c", "cty", "zip"])


@fuzz
@given(
    changes=st.dictionaries(claim_names, json_values, max_size=3),
    header=st.dictionaries(header_names, json_values, max_size=2),
)
def test_odd_claims_and_headers_under_a_good_signature_give_a_principal_or_a_refusal(
    fuzzed: OAuth2Authenticator, ec_signer: Signer, changes: dict[str, Any], header: dict[str, Any]
) -> None:
    accepted_or_refused(fuzzed, ec_signer.token(claims() | changes, **header))


@fuzz
@given(payload=st.binary() | json_values.map(repr).map(str.encode))
def test_any_bytes_under_a_good_signature_are_refused(
    fuzzed: OAuth2Authenticator, ec_signer: Signer, payload: bytes
) -> None:
    assert not accepted_or_refused(fuzzed, ec_signer.token(payload or b"x"))
