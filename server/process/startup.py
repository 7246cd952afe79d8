"""The start of a server: its address, its private directory, and the sentences for failures."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import resource
import socket
import sys
import tempfile
from pathlib import Path
from typing import Final

from server.authn.key_source import UnusableEndpoint
from server.authn.key_store import KeyStoreUnusable
from server.authn.pseudonyms import PseudonymKeyUnusable
from server.authz.decision_log.log import DecisionLogUnusable
from server.authz.opa.command import OpaStartFailed
from server.authz.opa.runtime_directory import RuntimeDirectory, UnsafeDirectory
from server.net.certificates import UnusableCertificate
from server.net.tls import UnusableAuthorities
from server.quota.counters import CountersUnavailable
from server.storage.blobs.store import BlobsUnusable
from server.storage.database.database import DatabaseUnavailable
from server.storage.database.migrate import SchemaMismatch

SWITCH_SECONDS: Final = 0.0005
"""Seconds for which a thread that computes keeps Python's lock while another wants it. With Python's own 5 ms each turn
of the event loop waits as long for a thread that reads a large answer, and a request takes a dozen turns."""

COLLECT_AFTER: Final = 2000
"""Objects that may come, beyond those that go, before the garbage collector looks at the young ones. With Python's own
700 it looks at those of the requests under way every few requests, and finds next to nothing.
"""

_NO_ADDRESS: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL)
"""The errors of an address that the machine has not, has no protocol for, or has on several networks."""


class PortInUse(Exception):
    """The address can't be listened on; the message says what to do."""


class WorkerFailed(Exception):
    """A worker can't begin to serve; it has said why, and the message says no more than that."""


def listen(host: str, port: int, place: str = "server.port") -> socket.socket:
    """Return a socket that listens on the address, whose port the configuration has at `place`; raises PortInUse."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as fault:
        # A host that can't be looked up has a negative number, which is the resolver's.
        if (fault.errno or 0) < 0 or fault.errno in _NO_ADDRESS:
            sentence = f"`{host}` is no address of this machine; correct `{place.replace('.port', '.host')}`"
        else:
            reason = os.strerror(fault.errno or 0)
            sentence = f"port {port} of {host} can't be used: {reason}; choose another `{place}`"
        raise PortInUse(sentence) from None


def raise_file_limit() -> None:
    """Allow as many open files as the system grants: each stream takes two, and the usual limit is for 500 of them."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    # Some systems refuse a limit that they call allowed; then the usual limit has to do.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def runtime_directory(port: int) -> RuntimeDirectory:
    """Return the private directory of the server on this port, also that of a killed one; raises UnsafeDirectory."""
    base = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    return RuntimeDirectory.claim(base / f"ostiary-{os.geteuid()}-{port}")


def settled() -> None:
    """Turn on the garbage collector, which is off at the start, and exempt the objects made until now from it.

    From now on the event loop gets Python's lock from a thread that computes within `SWITCH_SECONDS`.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)
    gc.enable()


def start_failure(fault: Exception) -> str | None:
    """Return the sentence about a failed start; None for an exception that is a fault of ours."""
    match fault:
        case OpaStartFailed() | PortInUse() | UnsafeDirectory() | WorkerFailed() | SchemaMismatch():
            return str(fault)
        case CountersUnavailable() | DatabaseUnavailable() | DecisionLogUnusable() | PseudonymKeyUnusable():
            return str(fault)
        case UnusableAuthorities() | UnusableCertificate() | UnusableEndpoint() | KeyStoreUnusable():
            return str(fault)
        case BlobsUnusable():
            return str(fault)
        case OSError(filename=name) if name is not None:
            return f"`{name}` can't be opened: {fault.strerror}; choose another path"
    return None
