"""The services that can be asked about a token, as real HTTP servers that speak the documented wire formats."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.http_server import handled
from tests.support.patience import PATIENCE

_PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class Asked:
    """A request as it came in; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Service:
    """A running service: what it was asked, and how it answers."""

    reply: Callable[[Asked], tuple[int, Any] | tuple[int, Any, dict[str, str]]]
    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    go_on: threading.Event = field(default_factory=threading.Event)
    """Answers wait for it."""

    def __post_init__(self) -> None:
        self.go_on.set()


@contextmanager
def service(
    reply: Callable[[Asked], tuple[int, Any] | tuple[int, Any, dict[str, str]]], context: ssl.SSLContext | None = None
) -> Iterator[Service]:
    """A service on loopback; `reply` gives status, body (bytes as they are, else as JSON) and perhaps headers."""
    running = Service(reply)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            length = int(self.headers.get("content-length", "0"))
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, self.path, headers, self.rfile.read(length))
            running.asked.append(asked)
            running.go_on.wait(PATIENCE)
            status, body, *more = running.reply(asked)
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            try:
                self.send_response(status)
                for name, value in (more[0] if more else {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except OSError:
                self.close_connection = True  # the client has left, as some of the tests want

        do_GET = do_POST = answer  # noqa: N815 - the base class names them so

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            pass

    with handled(Handler, context) as url:
        running.url = url
        try:
            yield running
        finally:
            running.go_on.set()


class Authority:
    """A new CA, whose certificate lies in `directory`; issues certificates for 127.0.0.1, to servers and clients.

    They end after `ends`, which may lie in the past.
    """

    def __init__(self, directory: Path, ends: timedelta = timedelta(hours=1)) -> None:
        directory.mkdir(exist_ok=True)
        self._ends = ends
        self.certificate = directory / "ca.crt"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a private CA")])
        self._identifier = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        own = _certificate(self._name, self._key.public_key()).issuer_name(self._name)
        own = own.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        own = own.add_extension(self._identifier, critical=False).add_extension(_key_usage(), critical=True)
        self.certificate.write_bytes(own.sign(self._key, hashes.SHA256()).public_bytes(_PEM))

    def issue(self, path: Path) -> Path:
        """A new key and its certificate, in one PEM file."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a holder")])
        issued = _certificate(name, key.public_key(), self._ends).issuer_name(self._name)
        addresses = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(self._identifier)
        issued = issued.add_extension(addresses, critical=False).add_extension(authority, critical=False)
        private = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        path.write_bytes(private + issued.sign(self._key, hashes.SHA256()).public_bytes(_PEM))
        return path


def private_ca(directory: Path) -> tuple[Path, ssl.SSLContext]:
    """The file of a new CA's certificate, and a server context with a certificate of that CA for 127.0.0.1."""
    authority = Authority(directory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue(directory / "server.pem"))
    return authority.certificate, context


def encrypt(path: Path) -> None:
    """Encrypt the key in a PEM file that holds a key and a certificate."""
    content = path.read_bytes()
    key = serialization.load_pem_private_key(content, None)
    encryption = serialization.BestAvailableEncryption(b"a pass phrase")
    path.write_bytes(
        key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, encryption)
        + content[content.index(b"-----BEGIN CERTIFICATE") :]
    )


def _certificate(
    name: x509.Name, public: ec.EllipticCurvePublicKey, ends: timedelta = timedelta(hours=1)
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).public_key(public)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + ends)


def _key_usage() -> x509.KeyUsage:
    names = ["digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"]
    names += ["key_cert_sign", "crl_sign", "encipher_only", "decipher_only"]
    return x509.KeyUsage(**{name: name in ("key_cert_sign", "crl_sign") for name in names})
