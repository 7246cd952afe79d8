"""TLS contexts for connections that this server opens: made once for each endpoint, when its client is made."""

from __future__ import annotations

import ssl
from pathlib import Path


def client_context(cafile: Path | None, *, verify: bool) -> ssl.SSLContext:
    """A context that trusts the authorities in `cafile` (PEM), or the system's where it is None.

    `verify` false trusts everybody. Reading the certificates takes longer than a request, so nobody makes a context per
    connection; changed certificates are read at the next start. Raises ValueError, with a sentence, for a bad file.
    """
    try:
        context = ssl.create_default_context(cafile=cafile)
    except OSError as error:
        reason = error.strerror or "there are none"
        raise ValueError(f"the CA certificates in `{cafile}` can't be used: {reason}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
