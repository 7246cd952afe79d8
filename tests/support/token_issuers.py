"""Issuers with real keys, written on `cryptography` alone, and a real HTTP server that publishes them."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from starlette.types import Scope

from policy.vocabulary import Principal
from server.authn import Authenticator
from tests.support.http_server import handled
from tests.support.patience import PATIENCE

NO_REQUEST: Scope = {"path": "/v1/models", "query_string": b"", "headers": []}

NOW = 1_800_000_000
ISSUER = "https://issuer.example"
AUDIENCE = "ostiary"

HASHES = {"256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}
CURVES = {"P-256": ec.SECP256R1, "P-384": ec.SECP384R1, "P-521": ec.SECP521R1}


async def ask(identity: Authenticator, token: str) -> Principal:
    """Whom the token proves, when it comes with a request that says nothing."""
    return await identity.authenticate(token, NO_REQUEST)


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def claims(**changes: Any) -> dict[str, Any]:
    """Good claims for `NOW`, with `changes`; a change to `...` takes the claim away."""
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "user-1", "iat": NOW, "nbf": NOW, "exp": NOW + 600}
    return {name: value for name, value in (good | changes).items() if value is not ...}


def encode(value: Any) -> str:
    """One segment: of bytes as they are, of anything else its JSON."""
    return base64url(value if isinstance(value, bytes) else json.dumps(value).encode())


class Signer:
    """A private key and the name under which it is published."""

    def __init__(self, private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, kid: str | None) -> None:
        self.private = private
        self.kid = kid
        self.algorithm = "RS256" if isinstance(private, rsa.RSAPrivateKey) else f"ES{min(private.key_size, 512)}"

    @classmethod
    def rsa(cls, kid: str | None = "rsa-1", bits: int = 2048) -> Signer:
        return cls(rsa.generate_private_key(public_exponent=65537, key_size=bits), kid)

    @classmethod
    def ec(cls, kid: str | None = "ec-1", curve: str = "P-256") -> Signer:
        return cls(ec.generate_private_key(CURVES[curve]()), kid)

    def jwk(self, **changes: Any) -> dict[str, Any]:
        """The public JWK with `changes`; a change to `...` takes the member away."""
        members: dict[str, Any] = {"kid": self.kid, "use": "sig"} if self.kid is not None else {"use": "sig"}
        if isinstance(self.private, rsa.RSAPrivateKey):
            numbers = self.private.public_key().public_numbers()
            members |= {"kty": "RSA", "n": _integer(numbers.n), "e": _integer(numbers.e)}
        else:
            point, size = self.private.public_key().public_numbers(), (self.private.key_size + 7) // 8
            members |= {"kty": "EC", "crv": f"P-{self.private.key_size}", "x": _integer(point.x, size)}
            members |= {"y": _integer(point.y, size)}
        return {name: value for name, value in (members | changes).items() if value is not ...}

    def public_bytes(self, encoding: serialization.Encoding, form: serialization.PublicFormat) -> bytes:
        return self.private.public_key().public_bytes(encoding, form)

    def token(self, payload: Any = None, **header: Any) -> str:
        """A signed token of `payload` (default: good claims); header members as given, `...` takes one away."""
        members = {"alg": self.algorithm, "typ": "JWT", "kid": self.kid} | header
        members = {name: value for name, value in members.items() if value is not ... and value is not None}
        return self.sign(encode(members), encode(claims() if payload is None else payload), members.get("alg"))

    def sign(self, header: str, payload: str, algorithm: object = None) -> str:
        """Two segments as they are, with the signature that `algorithm` (default: the key's own) asks for."""
        signed = f"{header}.{payload}"
        name = str(algorithm) if str(algorithm)[-3:] in HASHES else self.algorithm
        digest = HASHES[name[-3:]]()
        if isinstance(self.private, rsa.RSAPrivateKey):
            pss = padding.PSS(padding.MGF1(digest), digest.digest_size)
            scheme = pss if name.startswith("PS") else padding.PKCS1v15()
            return f"{signed}.{base64url(self.private.sign(signed.encode(), scheme, digest))}"
        r, s = decode_dss_signature(self.private.sign(signed.encode(), ec.ECDSA(digest)))
        size = (self.private.key_size + 7) // 8
        return f"{signed}.{base64url(r.to_bytes(size, 'big') + s.to_bytes(size, 'big'))}"


def jwk_set(*keys: Signer | dict[str, Any]) -> bytes:
    return json.dumps({"keys": [key.jwk() if isinstance(key, Signer) else key for key in keys]}).encode()


class KeyServer:
    """A JWKS endpoint on loopback: records each request, answers as its `behaviour` says."""

    def __init__(self) -> None:
        self.content = b""
        self.requests: list[dict[str, str]] = []
        self.arrived = threading.Event()
        self.released = threading.Event()
        self.behaviour: Callable[[BaseHTTPRequestHandler], None] = self.publish
        self.url = ""

    def publish(self, handler: BaseHTTPRequestHandler) -> None:
        answer(handler, 200, self.content)

    def publish_when_released(self, handler: BaseHTTPRequestHandler) -> None:
        self.released.wait(PATIENCE)
        self.publish(handler)


def answer(handler: BaseHTTPRequestHandler, status: int, content: bytes, **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)


@contextmanager
def key_server(context: ssl.SSLContext | None = None) -> Iterator[KeyServer]:
    keys = KeyServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            keys.requests.append({name.lower(): value for name, value in self.headers.items()} | {":path": self.path})
            keys.arrived.set()
            try:
                keys.behaviour(self)
            except OSError:
                self.close_connection = True  # the client has left, as some of the tests want

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            pass

    with handled(Handler, context) as url:
        keys.url = f"{url}/jwks"
        try:
            yield keys
        finally:
            keys.released.set()


def _integer(value: int, size: int | None = None) -> str:
    return base64url(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))
