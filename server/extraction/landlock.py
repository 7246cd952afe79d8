"""Landlock: Linux's way for a process to give up files and ports without any right of its own.

This module runs in the child, so it imports the standard library alone.
"""

from __future__ import annotations

import ctypes
import os
from typing import Final

_CREATE_RULESET: Final = 444  # the same on every architecture
_RESTRICT_SELF: Final = 446
_ASK_VERSION: Final = 1

_FILE_RIGHTS: Final = {1: 13, 2: 14, 3: 15, 5: 16}
"""Rights about files by the first version that knows them: so many bits from the lowest."""

_NETWORK_SINCE: Final = 4
_BIND_AND_CONNECT: Final = 0b11
_SCOPES_SINCE: Final = 6
_SOCKETS_AND_SIGNALS: Final = 0b11


def lock_files_and_ports(libc: ctypes.CDLL) -> bool:
    """Give up every right about files, ports, abstract sockets and signals that this Linux knows; return whether it
    knows Landlock. It needs `no_new_privs`.
    """
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _ASK_VERSION)
    if version < 1:
        return False
    files = (1 << max(bits for since, bits in _FILE_RIGHTS.items() if since <= version)) - 1
    ports = _BIND_AND_CONNECT if version >= _NETWORK_SINCE else 0
    scopes = _SOCKETS_AND_SIGNALS if version >= _SCOPES_SINCE else 0
    handled = (ctypes.c_uint64 * 3)(files, ports, scopes)
    size = 8 * (1 + (version >= _NETWORK_SINCE) + (version >= _SCOPES_SINCE))
    rules = libc.syscall(_CREATE_RULESET, handled, ctypes.c_size_t(size), 0)
    if rules < 0:
        return False
    try:
        return bool(libc.syscall(_RESTRICT_SELF, rules, 0) == 0)
    finally:
        os.close(rules)
