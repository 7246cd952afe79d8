"""The server's certificate and its key: loaded, or refused with one sentence."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Never

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from server.local_files.reading import UnreadableFile, read_small
from server.local_files.trust import is_readable_by_all, why_changeable_by_all

MAX_BYTES: Final = 1024 * 1024


class UnusableCertificate(ValueError):
    """Raised for a certificate or key that can't be used; the message says which file, and why."""


class _Encrypted(Exception):
    """Raised for a key with a pass phrase."""


def load_pair(context: ssl.SSLContext, certfile: Path, keyfile: Path) -> None:
    """Load the certificate and key into `context`; raise UnusableCertificate, and never ask for a pass phrase."""
    _check_pair(certfile, keyfile)
    try:
        context.load_cert_chain(certfile, keyfile, password=_refuse_pass_phrase)
    except _Encrypted:
        raise _encrypted(keyfile) from None
    except OSError as error:
        reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
        sentence = f"the certificate in `{certfile}` and the key in `{keyfile}` can't be used: {reason}"
        raise UnusableCertificate(sentence) from None


def doubts(certfile: Path, keyfile: Path) -> Iterator[str]:
    """Yield one sentence for each weakness of a usable pair."""
    certificate, now = _certificate(certfile), datetime.now(UTC)
    if certificate.not_valid_after_utc <= now:
        yield f"the certificate in `{certfile}` has expired on {_day(certificate.not_valid_after_utc)}; get a new one"
    elif certificate.not_valid_before_utc > now:
        yield f"the certificate in `{certfile}` is not valid before {_day(certificate.not_valid_before_utc)}"
    if is_readable_by_all(keyfile):
        yield f"every user can read the key in `{keyfile}`; take the permission away: `chmod o-r`"


def _check_pair(certfile: Path, keyfile: Path) -> None:
    """Raise UnusableCertificate for mistakes that OpenSSL reports unclearly."""
    for path in (certfile, keyfile):
        reason = why_changeable_by_all(path)
        if reason is not None:
            raise UnusableCertificate(f"`{path}` is not safe to use: {reason}; take the permission away: `chmod o-w`")
    certificate = _certificate(certfile)
    content = _content(keyfile)
    try:
        key = load_pem_private_key(content, None)
    except TypeError:
        raise _encrypted(keyfile) from None
    except (ValueError, UnsupportedAlgorithm):
        raise UnusableCertificate(f"`{keyfile}` holds no private key as PEM") from None
    own = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if own != _certified(certificate):
        raise UnusableCertificate(f"the key in `{keyfile}` is not that of the certificate in `{certfile}`")


def _certificate(path: Path) -> x509.Certificate:
    """Return the first certificate in the file, which is the server's own; those after it are intermediates."""
    content = _content(path)
    try:
        certificate = x509.load_pem_x509_certificates(content)[0]
        certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise UnusableCertificate(f"`{path}` holds no certificate as PEM that can be used") from None
    return certificate


def _certified(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _content(path: Path) -> bytes:
    try:
        return read_small(path, MAX_BYTES)
    except UnreadableFile as unreadable:
        raise UnusableCertificate(f"`{path}` {unreadable}") from None


def _encrypted(keyfile: Path) -> UnusableCertificate:
    reason = "is encrypted, and there is no place for its pass phrase"
    return UnusableCertificate(f"the key in `{keyfile}` {reason}; decrypt it with `openssl pkey`")


def _refuse_pass_phrase() -> Never:
    raise _Encrypted


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d")
