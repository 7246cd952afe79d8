"""Which keys of a JWK Set may verify a token."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from server.authn import AuthenticationFailed
from server.authn.keys import RSA_ALGORITHMS, parse_key_set
from server.authn.token_rules import TokenRules
from server.authn.verify import KeyNotFound, verify
from tests.support.token_issuers import NOW, Signer, base64url, jwk_set

RULES = TokenRules(None, None)


def private_members(signer: Signer) -> dict[str, Any]:
    assert isinstance(signer.private, rsa.RSAPrivateKey)
    return {"d": base64url(signer.private.private_numbers().d.to_bytes(256, "big"))}


UNUSABLE: dict[str, dict[str, Any]] = {
    "meant for encryption": {"use": "enc"},
    "use empty": {"use": ""},
    "key_ops without verify": {"key_ops": ["sign"]},
    "key_ops a text": {"key_ops": "verify"},
    "alg for encryption": {"alg": "RSA-OAEP"},
    "alg of another family": {"alg": "ES256"},
    "alg HS256": {"alg": "HS256"},
    "alg PS256": {"alg": "PS256"},
    "alg a list": {"alg": ["RS256"]},
    "symmetric": {"kty": "oct", "k": "AAAA"},
    "Ed25519": {"kty": "OKP", "crv": "Ed25519", "x": "AAAA"},
    "kty missing": {"kty": ...},
    "kty of the wrong family": {"kty": "EC"},
    "kty in lower case": {"kty": "rsa"},
    "modulus missing": {"n": ...},
    "modulus a number": {"n": 5},
    "modulus empty": {"n": ""},
    "modulus with padding": {"n": "AAAA="},
    "exponent missing": {"e": ...},
    "exponent one": {"e": "AQ"},
    "exponent even": {"e": "Ag"},
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_key_that_may_not_verify_is_left_out_and_the_others_stay(
    name: str, rsa_signer: Signer, ec_signer: Signer
) -> None:
    keys = parse_key_set(jwk_set(rsa_signer.jwk(**UNUSABLE[name]), ec_signer)).keys
    assert [key.kid for key in keys] == ["ec-1"]


def test_a_published_private_key_is_left_out(rsa_signer: Signer) -> None:
    assert parse_key_set(jwk_set(rsa_signer.jwk(**private_members(rsa_signer)))).keys == ()


@pytest.mark.parametrize("member", ["d", "p", "q", "dp", "dq", "qi", "oth"])
@pytest.mark.parametrize("use", ["sig", "enc"])
def test_a_part_of_a_private_key_is_enough_and_counts_for_all_its_entries(
    member: str, use: str, rsa_signer: Signer, ec_signer: Signer
) -> None:
    private = rsa_signer.jwk(**{member: "AQAB", "use": use, "kid": "other"})
    keys = parse_key_set(jwk_set(rsa_signer, private, ec_signer)).keys
    assert [key.kid for key in keys] == [ec_signer.kid]


@pytest.mark.parametrize(("bits", "usable"), [(1024, False), (2047, False), (2048, True)])
def test_an_rsa_key_needs_2048_bits(bits: int, usable: bool) -> None:
    signer = Signer.rsa("key", bits)
    assert isinstance(signer.private, rsa.RSAPrivateKey)
    assert bool(parse_key_set(jwk_set(signer)).keys) is usable


@pytest.mark.parametrize(
    "changes",
    [{"crv": "P-384"}, {"crv": "secp256k1"}, {"crv": ...}, {"x": "AAAA"}, {"y": 1}, {"d": "AAAA"}, {"alg": "ES384"}],
)
def test_an_ec_key_off_its_curve_is_left_out(changes: dict[str, Any], ec_signer: Signer) -> None:
    assert parse_key_set(jwk_set(ec_signer.jwk(**changes))).keys == ()


@pytest.mark.parametrize("entry", [None, 1, "key", [], {}, {"kty": []}, {"kty": "RSA", "n": {}, "e": []}])
def test_an_entry_that_is_no_key_is_left_out(entry: Any, rsa_signer: Signer) -> None:
    assert [key.kid for key in parse_key_set(jwk_set(entry, rsa_signer)).keys] == ["rsa-1"]


@pytest.mark.parametrize(
    "entry",
    [
        '{"kty":"RSA","kid":"a","kid":"b"}',
        '{"kty":"RSA","kid":"rsa-1","x":{"a":1,"a":2}}',
        '{"kty":"RSA","x":1e400}',
        '{"kty":"RSA","x":-1e400,"kid":9' + "9" * 5_000 + "}",
        '{"kty":"RSA","n":"\\ud800","e":"AQAB"}',
        '{"kty":"EC","crv":["P-256"],"x":{},"y":[]}',
        '{"kty":"RSA","n":"' + "A" * 100_000 + '","e":"AQAB","use":"enc"}',
    ],
)
def test_no_odd_key_spoils_the_others(entry: str, rsa_signer: Signer) -> None:
    content = jwk_set(rsa_signer).replace(b'"keys": [', b'"keys": [' + entry.encode() + b", ")
    keys = parse_key_set(content)
    assert [key.kid for key in keys.keys] == ["rsa-1"]
    assert verify(rsa_signer.token(), RULES, keys, NOW).subject == "user-1"


def test_alg_use_and_key_ops_narrow_what_a_key_verifies(rsa_signer: Signer) -> None:
    narrow = rsa_signer.jwk(alg="RS512", key_ops=["verify"])
    (key,) = parse_key_set(jwk_set(narrow)).keys
    assert set(key.verifiers) == {"RS512"}
    (key,) = parse_key_set(jwk_set(rsa_signer.jwk(use=...))).keys
    assert set(key.verifiers) == {"RS256", "RS384", "RS512"}


def test_unknown_members_of_a_key_change_nothing(rsa_signer: Signer) -> None:
    keys = parse_key_set(jwk_set(rsa_signer.jwk(x5c=["AAAA"], x5u="http://127.0.0.1:9/", x5t="AA", more={"a": [1]})))
    assert verify(rsa_signer.token(), RULES, keys, NOW).subject == "user-1"


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"null", b"{}", b'{"keys":{}}', b'{"keys":null}', b'{"keys":[],"keys":[]}', b'{"keys":[NaN]}',
     b"<html>", b'{"keys":' + b"[" * 50_000],
)  # fmt: skip
def test_what_is_no_jwk_set_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="not a JWK Set"):
        parse_key_set(content)


def test_more_than_100_keys_are_refused(rsa_signer: Signer) -> None:
    assert len(parse_key_set(jwk_set(*[rsa_signer] * 100)).keys) == 100
    with pytest.raises(ValueError, match="more than 100 keys"):
        parse_key_set(jwk_set(*[rsa_signer] * 101))


def test_an_empty_set_is_a_set() -> None:
    assert parse_key_set(json.dumps({"keys": []}).encode()).keys == ()


@pytest.mark.parametrize("kid", [None, 1, 0, True, "", [], {}, "k" * 257, "a\nb", "\ud800"])
def test_a_kid_that_is_no_name_counts_as_absent(kid: Any, rsa_signer: Signer, ec_signer: Signer) -> None:
    keys = parse_key_set(jwk_set(rsa_signer.jwk(kid=kid), ec_signer))
    assert [key.kid for key in keys.keys] == [None, "ec-1"]
    assert verify(ec_signer.token(), RULES, keys, NOW).subject == "user-1"
    assert verify(rsa_signer.token(kid=...), RULES, keys, NOW).subject == "user-1"
    with pytest.raises(KeyNotFound):
        verify(rsa_signer.token(), RULES, keys, NOW)


def test_members_that_are_null_count_as_absent(rsa_signer: Signer, ec_signer: Signer) -> None:
    optional = ("kid", "use", "key_ops", "alg", "x5u", "x5c", "x5t", "x5t#S256", "d", "p", "q", "oth", "k", "crv")
    for signer in (rsa_signer, ec_signer):
        nulls = dict.fromkeys(name for name in optional if signer is rsa_signer or name != "crv")
        keys = parse_key_set(jwk_set(signer.jwk(**nulls)))
        assert verify(signer.token(kid=...), RULES, keys, NOW).subject == "user-1"
    for name in ("kty", "n", "e"):
        assert parse_key_set(jwk_set(rsa_signer.jwk(**{name: None}))).keys == ()


def test_one_key_listed_once_for_each_of_its_algorithms_verifies_all_of_them(rsa_signer: Signer) -> None:
    keys = parse_key_set(jwk_set(*[rsa_signer.jwk(alg=name) for name in RSA_ALGORITHMS]))
    for name in RSA_ALGORITHMS:
        assert verify(rsa_signer.token(alg=name), RULES, keys, NOW).subject == "user-1"
        assert verify(rsa_signer.token(alg=name, kid=...), RULES, keys, NOW).subject == "user-1"


def padded(members: dict[str, Any]) -> dict[str, Any]:
    """The same key with a zero before its modulus: another spelling, which RFC 7518 forbids and issuers write."""
    modulus = base64.urlsafe_b64decode(members["n"] + "==")
    return {**members, "n": base64url(b"\0" + modulus)}


DOUBLES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "as it is": lambda members: members,
    "under no name": lambda members: {name: value for name, value in members.items() if name != "kid"},
    "under another name": lambda members: members | {"kid": "other"},
    "with an alg": lambda members: members | {"alg": "RS256"},
    "with key_ops": lambda members: members | {"key_ops": ["verify"]},
    "with a certificate": lambda members: members | {"x5c": ["AAAA"]},
    "in another spelling": padded,
}


@pytest.mark.parametrize("name", DOUBLES)
def test_a_key_that_is_listed_twice_is_one_key(name: str, rsa_signer: Signer, ec_signer: Signer) -> None:
    keys = parse_key_set(jwk_set(rsa_signer, ec_signer, DOUBLES[name](rsa_signer.jwk())))
    for kid in ("rsa-1", ...):
        assert verify(rsa_signer.token(kid=kid), RULES, keys, NOW).subject == "user-1"


def test_the_alg_of_the_token_chooses_among_keys_of_one_name(
    rsa_signer: Signer, ec_signer: Signer, second_signer: Signer
) -> None:
    """RFC 7517 section 4.5: keys of different kinds may share a name; so may keys for different algorithms."""
    shared = [rsa_signer.jwk(kid="k", alg="RS256"), second_signer.jwk(kid="k", alg="RS512"), ec_signer.jwk(kid="k")]
    keys = parse_key_set(jwk_set(*shared, rsa_signer.jwk(kid="k", use="enc"), second_signer.jwk(kid="k", use="enc")))
    for signer, algorithm in ((rsa_signer, "RS256"), (second_signer, "RS512"), (ec_signer, "ES256")):
        assert verify(signer.token(kid="k", alg=algorithm), RULES, keys, NOW).subject == "user-1"
        assert verify(signer.token(kid=..., alg=algorithm), RULES, keys, NOW).subject == "user-1"
    for signer, algorithm in ((rsa_signer, "RS512"), (second_signer, "RS256")):
        with pytest.raises(AuthenticationFailed, match="signature"):
            verify(signer.token(kid="k", alg=algorithm), RULES, keys, NOW)
    with pytest.raises(KeyNotFound, match="not one that its key is for"):
        verify(rsa_signer.token(kid="k", alg="RS384"), RULES, keys, NOW)


def test_two_different_keys_that_fit_verify_nothing(rsa_signer: Signer, second_signer: Signer) -> None:
    nameless = parse_key_set(jwk_set(rsa_signer.jwk(kid=...), second_signer.jwk(kid=...)))
    for keys, kid in ((nameless, ...), (parse_key_set(jwk_set(rsa_signer, second_signer.jwk(kid="rsa-1"))), "rsa-1")):
        with pytest.raises(KeyNotFound, match="single out"):
            verify(rsa_signer.token(kid=kid), RULES, keys, NOW)
