"""TLS contexts, for the connections that this server opens and for those that it takes."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

from server.local_files.trust import why_changeable_by_all
from server.net.certificates import doubts, load_pair


class UnusableAuthorities(ValueError):
    """Raised for a file of CA certificates that can't be used; the message says which and why."""


def client_context(cafile: Path | None, *, verify: bool) -> ssl.SSLContext:
    """Return a context that trusts the authorities in `cafile` (PEM), or the system's where it is None.

    With `verify` False, any certificate is accepted. Reading the certificates takes longer than a request, so that a
    context is shared by all connections; changed certificates are read at the next start. Raises UnusableAuthorities
    for a bad file.
    """
    if cafile is not None:
        _check(cafile)
    try:
        context = ssl.create_default_context(cafile=cafile)
    except OSError as error:
        raise _unusable(cafile, error) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class ServerTls:
    """The server's certificate, for TLS 1.2 and later; with `cafile` every client has to present one, too.

    `context` stays the same object for as long as the server listens. Raises UnusableCertificate and
    UnusableAuthorities.
    """

    def __init__(self, certfile: Path, keyfile: Path, cafile: Path | None) -> None:
        self._certfile = certfile
        self._keyfile = keyfile
        self._cafile = cafile
        self.context = self._made()

    def reload(self) -> None:
        """Load the current certificate from the files; raise UnusableCertificate for a bad one, and keep the old one.

        Open connections keep theirs. The authorities for clients stay those of the start.
        """
        # Loaded into a separate context first: the one in use would keep half of a bad pair.
        load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), self._certfile, self._keyfile)
        load_pair(self.context, self._certfile, self._keyfile)

    def doubts(self) -> Iterator[str]:
        """Return one sentence for each danger of the certificate and its key."""
        return doubts(self._certfile, self._keyfile)

    def _made(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        load_pair(context, self._certfile, self._keyfile)
        if self._cafile is not None:
            _check(self._cafile)
            try:
                context.load_verify_locations(self._cafile)
            except OSError as error:
                raise _unusable(self._cafile, error) from None
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def _check(cafile: Path) -> None:
    reason = why_changeable_by_all(cafile)
    if reason is not None:
        sentence = f"the CA certificates in `{cafile}` can't be used: {reason}; take the permission away: `chmod o-w`"
        raise UnusableAuthorities(sentence)


def _unusable(cafile: Path | None, error: OSError) -> UnusableAuthorities:
    reason = "there are none" if isinstance(error, ssl.SSLError) else error.strerror or "there are none"
    return UnusableAuthorities(f"the CA certificates in `{cafile}` can't be used: {reason}")
