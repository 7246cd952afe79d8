"""Keys of providers: texts of the configuration, or of files that are read again when they change."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Final, Protocol

from server.local_files.secrets import MAX_KEY_FILE, UnusableSecret, read_secret

LOOK_SECONDS: Final = 1.0
"""Limit of the time in which a file with a key is not looked at again."""

WAIT_SECONDS: Final = 0.2
"""Limit of the time in which one request waits for a look at the file; others take the key that is known."""

_log: Final = logging.getLogger(__name__)

_Signature = tuple[int, int, int, int]


class Key(Protocol):
    """One credential of one provider."""

    async def text(self) -> str:
        """Return the credential as it is now."""
        ...


class FixedKey:
    """A credential of the configuration."""

    def __init__(self, text: str) -> None:
        self._text = text

    async def text(self) -> str:
        """Return the credential."""
        return self._text


class FileKey:
    """The credential in the file at `path`, which was `text` at the start.

    A file that is gone, or holds nothing that a header can carry, leaves the credential as it was, with one line in
    the log. The file is looked at when the key is used, in a thread, one look at a time.
    """

    def __init__(self, provider_id: str, path: Path, text: str) -> None:
        self._provider_id = provider_id
        self._path = path
        self._text = text
        self._seen: _Signature | None = None
        self._told: str | None = None
        self._until = 0.0
        self._looking: asyncio.Task[None] | None = None

    async def text(self) -> str:
        """Return the credential, as it was in the file within `LOOK_SECONDS`."""
        now = asyncio.get_running_loop().time()
        if now >= self._until and (self._looking is None or self._looking.done()):
            self._until = now + LOOK_SECONDS
            self._looking = asyncio.create_task(asyncio.to_thread(self._look))
            await asyncio.wait({self._looking}, timeout=WAIT_SECONDS)
        return self._text

    def _look(self) -> None:
        """Read the file if it has changed; blocks."""
        try:
            found = self._path.stat()
            signature = (found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size)
            if signature == self._seen:
                return
            self._text = read_secret(self._path, for_header=True, most=MAX_KEY_FILE)
            self._seen, self._told = signature, None
        except OSError as error:
            self._tell(f"can't be read ({error.strerror})")
        except UnusableSecret as unusable:
            self._tell(str(unusable))

    def _tell(self, fault: str) -> None:
        self._seen = None
        if fault != self._told:
            self._told = fault
            _log.warning("a file with a key of the provider `%s` %s; the key stays as it was", self._provider_id, fault)
