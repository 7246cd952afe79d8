"""Tokens as data: a table of attacks (cases 9 to 11 of the threat model), each with the reason for its refusal."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from server.authn.keys import KeySet, parse_key_set
from tests.support.token_issuers import AUDIENCE, ISSUER, NOW, Signer, base64url, claims, encode, jwk_set

HUGE = 10**400


@dataclass(frozen=True)
class World:
    rsa: Signer
    ec: Signer
    attacker: Signer

    @property
    def keys(self) -> KeySet:
        return parse_key_set(jwk_set(self.ec, self.rsa))  # an EC key before the RSA key, as during a roll-over


def hs256(secret: bytes, kid: str = "rsa-1", algorithm: str = "HS256") -> str:
    signed = f"{encode({'alg': algorithm, 'typ': 'JWT', 'kid': kid})}.{encode(claims())}"
    return f"{signed}.{base64url(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


def unsigned(algorithm: str, signature: str = "") -> str:
    return f"{encode({'alg': algorithm, 'typ': 'JWT', 'kid': 'rsa-1'})}.{encode(claims())}.{signature}"


def with_claims(**changes: Any) -> Callable[[World], str]:
    return lambda world: world.rsa.token(claims(**changes))


def with_header(**changes: Any) -> Callable[[World], str]:
    return lambda world: world.rsa.token(**changes)


def with_payload(payload: bytes) -> Callable[[World], str]:
    return lambda world: world.rsa.token(payload)


def with_raw_header(header: bytes) -> Callable[[World], str]:
    return lambda world: world.rsa.sign(base64url(header), encode(claims()))


def spare_bits(segment: str) -> str:
    """Another spelling of the same bytes, which lenient decoders take."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert len(segment) % 4
    return segment[:-1] + alphabet[alphabet.index(segment[-1]) + 1]


PUBLIC = {
    "PEM": lambda signer: signer.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    "PKCS1 PEM": lambda signer: signer.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
    "DER": lambda signer: signer.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    "SSH": lambda signer: signer.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
    "JWK text": lambda signer: json.dumps(signer.jwk()).encode(),
    "nothing": lambda signer: b"",
}

NOT_READABLE = "can't be read"
SEGMENTS = "three base64url segments"
ALGORITHM = "`alg` is not one of"
SIGNATURE = "signature doesn't fit"
SINGLE_OUT = "single out"

ATTACKS: dict[str, tuple[Callable[[World], str], str]] = {
    # 9: algorithms
    **{
        f"alg {name} {signature or 'with an empty signature'}": (lambda _, n=name, s=signature: unsigned(n, s), reason)
        for name in ("none", "None", "nOnE", "NONE")
        for signature, reason in (("", SEGMENTS), ("AAAA", ALGORITHM))
    },
    **{
        f"HS256 signed with the public key as {form}": (lambda w, p=public: hs256(p(w.rsa)), ALGORITHM)
        for form, public in PUBLIC.items()
    },
    "HS256 named RS256": (lambda w: hs256(PUBLIC["DER"](w.rsa), algorithm="RS256"), SIGNATURE),
    "alg missing": (with_header(alg=...), ALGORITHM),
    "alg a list": (with_header(alg=["RS256"]), NOT_READABLE),
    "alg a number": (with_header(alg=256), ALGORITHM),
    "alg in lower case": (with_header(alg="rs256"), ALGORITHM),
    "PS256, which python-jose lacks": (with_header(alg="PS256"), ALGORITHM),
    "EdDSA, which python-jose lacks": (with_header(alg="EdDSA"), ALGORITHM),
    "RS256 with an EC key": (lambda w: w.rsa.token(kid="ec-1"), "not one that its key is for"),
    "ES256 with an RSA key": (lambda w: w.ec.token(kid="rsa-1"), "not one that its key is for"),
    "ES384 with a P-256 key": (lambda w: w.ec.token(alg="ES384"), "not one that its key is for"),
    "another key's signature": (lambda w: w.attacker.token(kid="rsa-1"), SIGNATURE),
    "signature of another payload": (
        lambda w: ".".join((w.rsa.token().rsplit(".", 2)[0], encode(claims(sub="admin")), w.rsa.token().split(".")[2])),
        SIGNATURE,
    ),
    "ECDSA signature of zeros": (lambda w: w.ec.token().rsplit(".", 1)[0] + "." + base64url(bytes(64)), SIGNATURE),
    "ECDSA signature too short": (lambda w: w.ec.token().rsplit(".", 1)[0] + "." + base64url(bytes(63)), SIGNATURE),
    # 10: kid and keys in the header
    "kid a path": (with_header(kid="../../../../dev/null"), "doesn't publish"),
    "kid SQL": (with_header(kid="rsa-1' OR '1'='1"), "doesn't publish"),
    "kid a URL": (with_header(kid="http://169.254.169.254/latest"), "doesn't publish"),
    "kid of 10 KB": (with_header(kid="k" * 10_240), "not the name of a key"),
    "kid empty": (with_header(kid=""), "not the name of a key"),
    "kid null": (with_raw_header(b'{"alg":"RS256","kid":null}'), "not the name of a key"),
    "kid a list": (with_header(kid=["rsa-1"]), "not the name of a key"),
    "kid with a line break": (with_header(kid="rsa-1\n"), "not the name of a key"),
    "kid missing, and the signature of another key": (lambda w: w.attacker.token(kid=...), SIGNATURE),
    "jwk of the attacker": (lambda w: w.attacker.token(kid="rsa-1", jwk=w.attacker.jwk()), SIGNATURE),
    "jwk of the attacker under its own kid": (lambda w: w.attacker.token(jwk=w.attacker.jwk()), "doesn't publish"),
    "jku and x5u of the attacker": (
        lambda w: w.attacker.token(kid="rsa-1", jku="http://127.0.0.1:9/k", x5u="http://127.0.0.1:9/c"),
        SIGNATURE,
    ),
    "x5c of the attacker": (lambda w: w.attacker.token(kid="rsa-1", x5c=["AAAA"]), SIGNATURE),
    # header
    "crit unknown": (with_header(crit=["exp"]), "extensions"),
    "crit empty": (with_header(crit=[]), "extensions"),
    "b64 false": (with_header(b64=False, crit=["b64"]), "extensions"),
    "b64 without crit": (with_header(b64=True), "extensions"),
    "typ of an ID token for something else": (with_header(typ="logout+jwt"), "`typ`"),
    "typ JWE": (with_header(typ="JWE"), "`typ`"),
    "typ null": (with_raw_header(b'{"alg":"RS256","typ":null,"kid":"rsa-1"}'), "`typ`"),
    "typ a list": (with_header(typ=["JWT"]), "`typ`"),
    "alg twice in the header": (with_raw_header(b'{"alg":"none","alg":"RS256","kid":"rsa-1"}'), NOT_READABLE),
    "kid twice in the header": (with_raw_header(b'{"alg":"RS256","kid":"ec-1","kid":"rsa-1"}'), NOT_READABLE),
    "header a list": (with_raw_header(b'["RS256"]'), NOT_READABLE),
    "header not JSON": (with_raw_header(b"RS256"), NOT_READABLE),
    "header with NaN": (with_raw_header(b'{"alg":"RS256","kid":"rsa-1","x":NaN}'), NOT_READABLE),
    "header in UTF-16": (with_raw_header('{"alg":"RS256","kid":"rsa-1"}'.encode("utf-16")), NOT_READABLE),
    "header with a byte order mark": (with_raw_header(b'\xef\xbb\xbf{"alg":"RS256","kid":"rsa-1"}'), NOT_READABLE),
    "header followed by more": (with_raw_header(b'{"alg":"RS256","kid":"rsa-1"}{}'), NOT_READABLE),
    # form
    "empty": (lambda _: "", SEGMENTS),
    "two segments": (lambda w: w.rsa.token().rsplit(".", 1)[0], SEGMENTS),
    "four segments": (lambda w: w.rsa.token() + ".AAAA", SEGMENTS),
    "five segments, as of a JWE": (lambda w: w.rsa.token() + ".AAAA.AAAA", SEGMENTS),
    "empty signature": (lambda w: w.rsa.token().rsplit(".", 1)[0] + ".", SEGMENTS),
    "padding": (lambda w: w.ec.token() + "==", SEGMENTS),
    "plain base64 letters": (lambda w: w.rsa.token()[:-1] + "+", SEGMENTS),
    "line break at the end": (lambda w: w.rsa.token() + "\n", SEGMENTS),
    "blank inside": (lambda w: w.rsa.token().replace(".", ". ", 1), SEGMENTS),
    "letters outside ASCII": (lambda w: w.rsa.token()[:-1] + "\u212a", SEGMENTS),
    "lone surrogate": (lambda w: w.rsa.token()[:-1] + "\ud800", SEGMENTS),
    "impossible length of a segment": (lambda w: w.rsa.token().rsplit(".", 1)[0] + ".AAAAA", NOT_READABLE),
    "spare bits in the signature": (lambda w: spare_bits(w.rsa.token()), NOT_READABLE),
    "spare bits in the payload": (
        lambda w: w.rsa.sign(encode({"alg": "RS256", "kid": "rsa-1"}), spare_bits(encode(claims(sub="user-123")))),
        NOT_READABLE,
    ),
    "longer than 16 KB": (with_claims(pad="x" * 16_384), "longer than 16384"),
    "1 MB": (lambda _: "A" * 1_000_000, "longer than 16384"),
    # payload
    "payload a list": (with_payload(b"[]"), NOT_READABLE),
    "payload a number": (with_payload(b"1"), NOT_READABLE),
    "payload not JSON": (with_payload(b"\x00\x01"), NOT_READABLE),
    "payload not UTF-8": (with_payload(b'{"sub":"\xff"}'), NOT_READABLE),
    "payload nested deeply": (with_payload(b'{"sub":' + b"[" * 5_000 + b"]" * 5_000 + b"}"), NOT_READABLE),
    "claim twice": (
        with_payload(json.dumps(claims()).replace('"sub"', '"sub": "admin", "sub"').encode()),
        NOT_READABLE,
    ),
    "key twice inside a claim": (
        with_payload(json.dumps(claims())[:-1].encode() + b',"x":{"a":1,"a":2}}'),
        NOT_READABLE,
    ),
    "number with 5,000 digits": (
        with_payload(json.dumps(claims())[:-1].encode() + b',"x":' + b"9" * 5_000 + b"}"),
        NOT_READABLE,
    ),
    "number beyond all floats": (with_payload(json.dumps(claims())[:-1].encode() + b',"x":1e400}'), NOT_READABLE),
    # 11: times
    "exp missing": (with_claims(exp=...), "no `exp`"),
    "exp passed": (with_claims(exp=NOW - 60), "expired"),
    "exp negative": (with_claims(exp=-1), "`exp` is not a number"),
    "exp huge": (with_claims(exp=HUGE), "`exp` is not a number"),
    "exp after the year 9999": (with_claims(exp=253_402_300_800), "`exp` is not a number"),
    "exp Infinity": (with_claims(exp=float("inf")), NOT_READABLE),
    "exp NaN": (with_claims(exp=float("nan")), NOT_READABLE),
    "exp 1e400": (with_payload(json.dumps(claims(exp=...))[:-1].encode() + b',"exp":1e400}'), NOT_READABLE),
    "exp null": (with_claims(exp=None), "`exp` is not a number"),
    "exp a list": (with_claims(exp=[]), "`exp` is not a number"),
    "exp a string": (with_claims(exp="99999999999"), "`exp` is not a number"),
    "exp passed by a fraction": (with_claims(exp=NOW - 60.5), "expired"),
    "exp a negative fraction": (with_claims(exp=-0.5), "`exp` is not a number"),
    "exp of a large exponent": (with_claims(exp=1e300), "`exp` is not a number"),
    "exp an object": (with_claims(exp={"seconds": NOW}), "`exp` is not a number"),
    "nbf in the future by a fraction": (with_claims(nbf=NOW + 60.5), "`nbf` lies in the future"),
    "nbf negative": (with_claims(nbf=-1), "`nbf` is not a number"),
    "iat of a large exponent": (with_claims(iat=1e300), "`iat` is not a number"),
    "exp a boolean": (with_claims(exp=True), "`exp` is not a number"),
    "nbf in the future": (with_claims(nbf=NOW + 61), "`nbf` lies in the future"),
    "nbf a string": (with_claims(nbf="0"), "`nbf` is not a number"),
    "nbf null": (with_claims(nbf=None), "`nbf` is not a number"),
    "iat in the future": (with_claims(iat=NOW + 61), "`iat` lies in the future"),
    "iat a boolean": (with_claims(iat=False), "`iat` is not a number"),
    # 11: audience and issuer
    "aud missing": (with_claims(aud=...), "another audience"),
    "aud null": (with_claims(aud=None), "neither a text nor a list"),
    "aud foreign": (with_claims(aud="elsewhere"), "another audience"),
    "aud a list of foreign ones": (with_claims(aud=["elsewhere", "ostiary2", "ostiar"]), "another audience"),
    "aud empty list": (with_claims(aud=[]), "another audience"),
    "aud holds ours beside a number": (with_claims(aud=[AUDIENCE, 1]), "neither a text nor a list"),
    "aud an object with ours as key": (with_claims(aud={AUDIENCE: True}), "neither a text nor a list"),
    "aud in another case": (with_claims(aud="Ostiary"), "another audience"),
    "aud that contains ours": (with_claims(aud="not-ostiary-at-all"), "another audience"),
    "iss missing": (with_claims(iss=...), "another issuer"),
    "iss with a slash at the end": (with_claims(iss=ISSUER + "/"), "another issuer"),
    "iss in another case": (with_claims(iss=ISSUER.upper()), "another issuer"),
    "iss a list with ours": (with_claims(iss=[ISSUER]), "not the name of an issuer"),
    "iss null": (with_claims(iss=None), "not the name of an issuer"),
    "iss empty": (with_claims(iss=""), "not the name of an issuer"),
    # subject
    "sub missing": (with_claims(sub=...), "`sub`"),
    "sub empty": (with_claims(sub=""), "`sub`"),
    "sub blank": (with_claims(sub="  "), "`sub`"),
    "sub null": (with_claims(sub=None), "`sub`"),
    "sub a number": (with_claims(sub=1), "`sub`"),
    "sub a list": (with_claims(sub=["user-1"]), "`sub`"),
    "sub of 257 characters": (with_claims(sub="u" * 257), "`sub`"),
    "sub with NUL": (with_claims(sub="user-1\x00"), "`sub`"),
    "sub with a line break": (with_claims(sub="user-1\nadmin"), "`sub`"),
    "sub with an escape character": (with_claims(sub="\x1b[2Juser"), "`sub`"),
    "sub with a C1 control character": (with_claims(sub="user\x85"), "`sub`"),
    "sub with a line separator": (with_claims(sub="user\u2028"), "`sub`"),
    "sub with a lone surrogate": (with_claims(sub="user\ud800"), "`sub`"),
}
