"""TLS contexts, for the connections that this server opens and for those that it takes."""

from __future__ import annotations

import ssl
from pathlib import Path


class UnusableAuthorities(ValueError):
    """A file of CA certificates can't be used; the message says which and why."""


def client_context(cafile: Path | None, *, verify: bool) -> ssl.SSLContext:
    """A context that trusts the authorities in `cafile` (PEM), or the system's where it is None.

    `verify` false trusts everybody. Reading the certificates takes longer than a request, so nobody makes a context per
    connection; changed certificates are read at the next start. Raises UnusableAuthorities for a bad file.
    """
    try:
        context = ssl.create_default_context(cafile=cafile)
    except OSError as error:
        reason = error.strerror or "there are none"
        raise UnusableAuthorities(f"the CA certificates in `{cafile}` can't be used: {reason}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class ServerTls:
    """The certificate that this server shows, from TLS 1.2 on; with `cafile` it asks every client for one, too.

    `context` stays the same object for as long as the server listens. Raises what a bad certificate or key raises.
    """

    def __init__(self, certfile: Path, keyfile: Path, cafile: Path | None) -> None:
        self._certfile = certfile
        self._keyfile = keyfile
        self._cafile = cafile
        self.context = self._made()

    def reload(self) -> None:
        """Show the certificate that the files hold now; raises what a bad one raises, and then shows the old one.

        Connections that are open keep theirs. The authorities for clients stay those of the start.
        """
        self._made()
        self.context.load_cert_chain(self._certfile, self._keyfile)

    def _made(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self._certfile, self._keyfile)
        if self._cafile is not None:
            context.load_verify_locations(self._cafile)
            context.verify_mode = ssl.CERT_REQUIRED
        return context
