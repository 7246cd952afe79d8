"""Storage of API keys: principal and expiry of each, and a hash of its secret."""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
import string
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from server.authn.attributes import MAX_VALUE_LENGTH
from server.authn.strict_json import is_plain
from server.authn.token_rules import is_name
from server.local_files.trust import why_changeable

KEYS_FILE: Final = "api-keys.db"

_ID_LETTERS: Final = string.ascii_lowercase + string.digits
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS api_keys (
    id TEXT PRIMARY KEY,
    secret_hash BLOB NOT NULL,
    principal TEXT NOT NULL,
    attributes TEXT NOT NULL CHECK (json_valid(attributes)),
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
) STRICT
"""
_COLUMNS: Final = "id, secret_hash, principal, attributes, created_at, expires_at, revoked_at"


class KeyStoreUnusable(Exception):
    """Raised if the keys can't be read or written; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One stored key. Times are in seconds since 1970; None: it never expires, it isn't revoked."""

    id: str
    secret_hash: bytes
    principal: str
    attributes: Mapping[str, tuple[str, ...]]
    created_at: int
    expires_at: int | None
    revoked_at: int | None

    def is_good(self, now: float) -> bool:
        """Return whether the key is neither revoked nor expired at `now`."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def hash_of(secret: str) -> bytes:
    """Return the stored hash of a secret. A fast hash is enough, since 256 random bits can't be guessed."""
    return hashlib.sha256(secret.encode("ascii")).digest()


class KeyStore:
    """The keys in one SQLite file, which only its owner can access; every method raises KeyStoreUnusable.

    Any number of processes may use the file at once. `now` is in seconds since 1970.
    """

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._now = now

    def check(self) -> None:
        """Raise KeyStoreUnusable if other users could add keys to the file."""
        reason = why_changeable(self._path)
        if reason is not None:
            hint = "give it to the user of the server and take the permission away: `chmod go-w`"
            raise KeyStoreUnusable(f"the keys in `{self._path}` can't be believed: {reason}; {hint}")

    def create(self, principal: str, attributes: Mapping[str, tuple[str, ...]], expires_at: int | None) -> str:
        """Return a new key, `ost_<id>_<secret>`, which isn't stored; raise ValueError for a name that no caller can
        have.
        """
        if not is_name(principal):
            raise ValueError("the principal is not the name of a principal: 1 to 256 plain characters")
        for name, values in attributes.items():
            if not is_plain(name, MAX_VALUE_LENGTH) or not all(is_plain(value, MAX_VALUE_LENGTH) for value in values):
                raise ValueError(f"one of the attributes is not 1 to {MAX_VALUE_LENGTH} plain characters")
        if expires_at is not None and expires_at <= self._now():
            raise ValueError("the key would be over before it is used")
        identity = "".join(secrets.choice(_ID_LETTERS) for _ in range(12))
        secret = secrets.token_urlsafe(32)
        kept = json.dumps({name: list(values) for name, values in attributes.items() if values})
        row = (identity, hash_of(secret), principal, kept, int(self._now()), expires_at)
        with self._open() as database:
            database.execute(f"INSERT INTO api_keys ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, NULL)", row)  # noqa: S608
        return f"ost_{identity}_{secret}"

    def find(self, identity: str) -> ApiKey | None:
        """Return the key with that id, valid or not."""
        with self._open() as database:
            row = database.execute(f"SELECT {_COLUMNS} FROM api_keys WHERE id = ?", (identity,)).fetchone()  # noqa: S608
        return None if row is None else _key(row)

    def all(self) -> list[ApiKey]:
        """Return every key, the oldest first."""
        with self._open() as database:
            rows = database.execute(f"SELECT {_COLUMNS} FROM api_keys ORDER BY created_at, id").fetchall()  # noqa: S608
        return [_key(row) for row in rows]

    def revoke(self, identity: str) -> bool:
        """Revoke the key now; return False for an unknown id. A revoked key stays as it is."""
        with self._open() as database:
            changed = database.execute(
                "UPDATE api_keys SET revoked_at = coalesce(revoked_at, ?) WHERE id = ?", (int(self._now()), identity)
            )
            return changed.rowcount > 0

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self.check()
        try:
            if not self._path.exists():
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._path.touch(mode=0o600)
            with closing(sqlite3.connect(self._path, timeout=5.0)) as database, database:
                database.execute(_SCHEMA)
                yield database
        except (sqlite3.Error, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise KeyStoreUnusable(f"the keys in `{self._path}` can't be used: {reason}") from None


def _key(row: tuple[str, bytes, str, str, int, int | None, int | None]) -> ApiKey:
    identity, secret_hash, principal, attributes, created_at, expires_at, revoked_at = row
    named = {name: tuple(values) for name, values in json.loads(attributes).items()}
    return ApiKey(identity, secret_hash, principal, named, created_at, expires_at, revoked_at)
