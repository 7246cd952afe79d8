"""Pseudonyms for callers without a name: keyed hashes of their tokens, which reveal no token."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path
from typing import Final

from server.local_files.atomic import create_once
from server.local_files.trust import why_changeable

KEY_FILE: Final = "pseudonym-key"
_KEY_BYTES: Final = 32


class PseudonymKeyUnusable(Exception):
    """Raised if the key can't be made or read; the message says what to do."""


def pseudonym(key: bytes, token: str) -> str:
    """Return `token-` and 32 hexadecimal digits, determined by token and key."""
    return f"token-{hmac.new(key, token.encode('utf-8', 'surrogatepass'), hashlib.sha256).hexdigest()[:32]}"


def kept_key(directory: Path, name: str = KEY_FILE) -> bytes:
    """Return the directory's key of that name, created if there is none, so that what it makes survives a restart;
    raise PseudonymKeyUnusable.
    """
    path = directory / name
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            create_once(path, secrets.token_bytes(_KEY_BYTES))
        key, mode = path.read_bytes(), path.stat().st_mode
    except OSError as error:
        raise PseudonymKeyUnusable(f"the key `{path}` can't be used: {error.strerror}") from None
    reason = why_changeable(path)
    if reason is not None:
        hint = "give it to the user of the server and take the permission away: `chmod go-w`"
        raise PseudonymKeyUnusable(f"the key `{path}` can't be believed: {reason}; {hint}")
    if len(key) != _KEY_BYTES or mode & 0o077:
        raise PseudonymKeyUnusable(
            f"the key `{path}` is not {_KEY_BYTES} bytes for its owner alone; delete it and a new one is made"
        )
    return key
