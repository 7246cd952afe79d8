"""`verify`: a table of attacks, each refused for its own reason, and what a good token may look like."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable

import pytest

from server.authn import AuthenticationFailed
from server.authn.keys import parse_key_set
from server.authn.token_rules import TokenRules
from server.authn.verify import KeyNotFound, verify
from tests.support.token_attacks import ATTACKS, SINGLE_OUT, World, with_claims, with_header, with_payload
from tests.support.token_issuers import AUDIENCE, ISSUER, NOW, Signer, claims, jwk_set

RULES = TokenRules(ISSUER, AUDIENCE)


@pytest.fixture(scope="session")
def world(rsa_signer: Signer, ec_signer: Signer, second_signer: Signer) -> World:
    return World(rsa_signer, ec_signer, second_signer)


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_for_its_own_reason_and_quotes_nothing(
    world: World, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    make, reason = ATTACKS[name]
    token = make(world)
    with pytest.raises(AuthenticationFailed, match=reason) as refusal:
        verify(token, RULES, world.keys, NOW)
    seen = "".join(traceback.format_exception(refusal.value)) + caplog.text
    assert not [segment for segment in token.split(".") if len(segment) > 8 and segment in seen]
    assert refusal.value.__cause__ is None
    assert refusal.value.__context__ is None


ACCEPTED: dict[str, Callable[[World], str]] = {
    **{f"RSA with {name}": with_header(alg=name) for name in ("RS256", "RS384", "RS512")},
    "EC with ES256": lambda w: w.ec.token(),
    "typ at+jwt": with_header(typ="at+jwt"),
    "typ application/at+jwt": with_header(typ="application/at+jwt"),
    "typ in lower case": with_header(typ="jwt"),
    "typ missing, as in Kubernetes": with_header(typ=...),
    "aud a list with ours": with_claims(aud=["account", AUDIENCE]),
    "no iat and no nbf": with_claims(iat=..., nbf=...),
    "nbf within the leeway": with_claims(nbf=NOW + 60),
    "exp passed within the leeway": with_claims(exp=NOW - 59),
    "exp with a fraction": with_claims(exp=NOW + 600.5),
    "exp with an exponent": with_payload(json.dumps(claims(exp=...))[:-1].encode() + b',"exp":1.9e9}'),
    "exp, nbf and iat with fractions": with_claims(exp=NOW + 0.25, nbf=NOW - 0.25, iat=NOW - 0.75),
    "exp in the last second of 9999": with_claims(exp=253_402_300_799),
    "sub with colons and other scripts": with_claims(sub="system:serviceaccount:пространство:ß"),
    "sub of 256 characters": with_claims(sub="u" * 256),
    "our own key in jwk, and addresses, all ignored": lambda w: w.rsa.token(
        jwk=w.attacker.jwk(), jku="http://127.0.0.1:9"
    ),
    "16,384 characters": lambda w: padded(w.rsa, 16_384),
}


def padded(signer: Signer, length: int) -> str:
    """A good token of exactly `length` characters."""
    missing = (length - len(signer.token(claims(pad="")))) * 3 // 4
    tokens = (signer.token(claims(pad="x" * size)) for size in range(missing - 4, missing + 5))
    return next(token for token in tokens if len(token) == length)


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_good_token_is_accepted(world: World, name: str) -> None:
    verified = verify(ACCEPTED[name](world), RULES, world.keys, NOW)
    assert verified.issuer == ISSUER
    assert verified.subject == verified.claims["sub"]
    assert verified.expires == verified.claims["exp"]


@pytest.mark.parametrize(("curve", "algorithm"), [("P-256", "ES256"), ("P-384", "ES384"), ("P-521", "ES512")])
def test_each_curve_verifies_its_own_algorithm_alone(curve: str, algorithm: str) -> None:
    signer = Signer.ec("key", curve)
    keys = parse_key_set(jwk_set(signer))
    assert verify(signer.token(), RULES, keys, NOW).subject == "user-1"
    for other in {"ES256", "ES384", "ES512", "RS256"} - {algorithm}:
        with pytest.raises(AuthenticationFailed, match="not one that its key is for"):
            verify(signer.token(alg=other), RULES, keys, NOW)


def test_a_token_without_kid_takes_the_only_key(world: World) -> None:
    token = world.rsa.token(kid=...)
    for only in (world.rsa.jwk(), world.rsa.jwk(kid=...)):
        assert verify(token, RULES, parse_key_set(jwk_set(only)), NOW).subject == "user-1"
    unusable = world.ec.jwk(use="enc")
    assert verify(token, RULES, parse_key_set(jwk_set(unusable, world.rsa)), NOW).subject == "user-1"


def test_a_token_with_kid_never_takes_a_key_of_another_name(world: World) -> None:
    for only in (world.rsa.jwk(kid="other"), world.rsa.jwk(kid=...)):
        with pytest.raises(KeyNotFound):
            verify(world.rsa.token(), RULES, parse_key_set(jwk_set(only)), NOW)


def test_two_keys_with_one_kid_verify_nothing_under_it_and_leave_other_keys_alone(world: World) -> None:
    keys = parse_key_set(jwk_set(world.rsa, world.attacker.jwk(kid="rsa-1"), world.ec))
    for signer in (world.rsa, world.attacker):
        with pytest.raises(AuthenticationFailed, match=SINGLE_OUT):
            verify(signer.token(kid="rsa-1"), RULES, keys, NOW)
    assert verify(world.ec.token(), RULES, keys, NOW).subject == "user-1"


def test_without_an_issuer_or_audience_in_the_rules_these_claims_are_not_compared(world: World) -> None:
    rules = TokenRules(None, None)
    verified = verify(world.rsa.token(claims(iss="https://other.example", aud=...)), rules, world.keys, NOW)
    assert verified.issuer == "https://other.example"
    assert verify(world.rsa.token(claims(iss=...)), rules, world.keys, NOW).issuer is None
    for odd in (["x"], "", None, "a\nb", "i" * 1_025):
        with pytest.raises(AuthenticationFailed, match="not the name of an issuer"):
            verify(world.rsa.token(claims(iss=odd)), rules, world.keys, NOW)


def test_the_same_token_is_good_until_a_minute_after_it_expires(world: World) -> None:
    token = world.rsa.token(claims(exp=NOW + 600))
    assert verify(token, RULES, world.keys, NOW + 659.9).subject == "user-1"
    with pytest.raises(AuthenticationFailed, match="expired"):
        verify(token, RULES, world.keys, NOW + 660)
