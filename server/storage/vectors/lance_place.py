"""The places of LanceDB's tables: a directory, or a bucket of S3."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from server.background.ends import in_thread_to_its_end
from server.storage.vectors.index import IndexUnavailable
from server.storage.vectors.keys import checked
from server.storage.vectors.opening import Unusable, make_folder

if TYPE_CHECKING:
    from obstore.store import S3Config
    from pydantic import SecretStr

LOCK_SECONDS: Final = 60.0
"""Seconds that a change waits for the purge of its store."""

ALONE_SECONDS: Final = 5.0
"""Seconds that a purge waits for the changes of its store; another one is made later."""

SETTLED_SECONDS: Final = 3600.0
"""Seconds after which an object that no table names is one that a killed process has left."""

_PAUSE: Final = 0.02
_PIECE: Final = 1024 * 1024
_LOCKS: Final = ".locks"
_START_SECONDS: Final = 15.0
_HALF_WRITTEN: Final = re.compile(r"\.tmp.+|.+#\d+")
"""Names of files that LanceDB is writing; each is renamed when it is whole. LanceDB itself removes none of them."""


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a table, counted: its rows, its marks of deleted rows, and its versions. `newest` is the age of the
    youngest file in seconds.
    """

    data: int = 0
    deletions: int = 0
    versions: int = 0
    newest: float = 0.0


class Place(Protocol):
    """A directory or a bucket. `guards` if `held` keeps out other processes, and not only this one."""

    @property
    def uri(self) -> str:
        """The address for LanceDB."""
        ...

    @property
    def guards(self) -> bool:
        """Whether `held` keeps out other processes."""
        ...

    @property
    def scratch(self) -> Path | None:
        """The directory for a part that is too large for memory; None for that of the system."""
        ...

    def options(self) -> dict[str, str]:
        """Return LanceDB's options for the storage."""
        ...

    async def prepare(self) -> None:
        """Make what is needed before LanceDB opens the place; raise Unusable."""
        ...

    def held(self, key: str, *, alone: bool) -> AbstractAsyncContextManager[bool]:
        """Hold a store for as long as the context lasts, together with others or `alone`.

        Yields False where others hold it for too long; not being alone, it raises IndexUnavailable then.
        """
        ...

    async def tidy(self, key: str) -> None:
        """Remove files of a store that killed processes have half written; it is held `alone`."""
        ...

    async def files(self, key: str) -> Files:
        """Count the files of a store."""
        ...

    async def holds(self, key: str, marks: Sequence[bytes]) -> bool:
        """Return whether one of `marks` stands in a file of the store; False where nothing looks for them."""
        ...


class Directory:
    """Tables in a directory, whose locks several processes of one machine share."""

    guards = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def uri(self) -> str:
        """The path."""
        return str(self._folder)

    @property
    def scratch(self) -> Path:
        """The directory itself."""
        return self._folder

    def options(self) -> dict[str, str]:
        """Return none."""
        return {}

    async def prepare(self) -> None:
        """Make the directories; raise Unusable."""
        for folder in (self._folder, self._folder / _LOCKS):
            await asyncio.to_thread(make_folder, folder)

    @asynccontextmanager
    async def held(self, key: str, *, alone: bool) -> AsyncIterator[bool]:
        """Hold the lock of a store; locks of one process exclude each other too."""
        until = time.monotonic() + (ALONE_SECONDS if alone else LOCK_SECONDS)
        wanted = (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB
        try:
            path = self._folder / _LOCKS / checked(key)
            lock = await in_thread_to_its_end(partial(_opened, path), undo=os.close)
        except OSError:
            raise IndexUnavailable("the locks of the vector index can't be used") from None
        try:
            has = _locks(lock, wanted)
            while not has and time.monotonic() < until:
                await asyncio.sleep(_PAUSE)
                has = _locks(lock, wanted)
            if not (has or alone):
                raise IndexUnavailable("the vector store is being cleaned; try again later")
            yield has
        finally:
            os.close(lock)

    async def tidy(self, key: str) -> None:
        """Remove files that have the name of a file which is being written; no other process writes to the store."""
        await asyncio.to_thread(_remove_half_written, self._folder / f"{checked(key)}.lance")

    async def files(self, key: str) -> Files:
        """Count the files of a store."""
        return await asyncio.to_thread(_counted, self._folder / f"{checked(key)}.lance")

    async def holds(self, key: str, marks: Sequence[bytes]) -> bool:
        """Return whether one of `marks` stands in a file of rows."""
        return await asyncio.to_thread(_hold, self._folder / f"{checked(key)}.lance" / "data", marks)


class BucketPlace:
    """Tables in a bucket, under a prefix; nothing there keeps other processes out."""

    guards = False
    scratch = None

    def __init__(
        self,
        uri: str,
        region: str,
        endpoint: str | None,
        keys: tuple[SecretStr, SecretStr] | None,
        token: SecretStr | None = None,
    ) -> None:
        """`keys` are the id and the secret; None for the credentials of the machine."""
        self._uri = uri
        self._region = region
        self._endpoint = endpoint
        self._keys = keys
        self._token = token

    @property
    def uri(self) -> str:
        """The address, `s3://bucket/prefix`."""
        return self._uri

    def options(self) -> dict[str, str]:
        """Return LanceDB's options for the bucket."""
        found = {f"aws_{name}": value for name, value in self._credentials().items()}
        found["aws_region"] = self._region
        if self._endpoint is not None:
            found["aws_endpoint"] = self._endpoint
            found["allow_http"] = str(self._endpoint.startswith("http:")).lower()
        return found

    async def prepare(self) -> None:
        """Look at the bucket; raise Unusable where it doesn't answer."""
        from obstore.exceptions import BaseError

        try:
            async with asyncio.timeout(_START_SECONDS):
                await self._listed("0" * 32)
        except (BaseError, OSError, TimeoutError):
            sentence = "the bucket of the vector index can't be used; correct `uri` or `storage_options`, or start it"
            raise Unusable(sentence, self._uri) from None

    @asynccontextmanager
    async def held(self, key: str, *, alone: bool) -> AsyncIterator[bool]:
        """Hold nothing: commits to a bucket exclude each other by themselves."""
        yield True

    async def tidy(self, key: str) -> None:
        """Do nothing: an object has no name before it is whole."""

    async def files(self, key: str) -> Files:
        """Count the objects of a store."""
        from obstore.exceptions import BaseError

        try:
            found = await self._listed(key)
        except (BaseError, OSError):
            raise IndexUnavailable("the bucket of the vector index can't be used") from None
        now = time.time()
        return Files(
            sum("/data/" in name for name, _ in found),
            sum("/_deletions/" in name for name, _ in found),
            sum(name.endswith(".manifest") for name, _ in found),
            min((now - changed for _, changed in found), default=0.0),
        )

    async def holds(self, key: str, marks: Sequence[bytes]) -> bool:
        """Return False: the count of the objects tells as much, and they would all have to be fetched."""
        return False

    async def _listed(self, key: str) -> list[tuple[str, float]]:
        from obstore import list as listed
        from obstore.store import S3Store

        bucket, _, prefix = self._uri.removeprefix("s3://").partition("/")
        given: S3Config = {"region": self._region, **self._credentials()}  # type: ignore[typeddict-item]  # its keys
        if self._endpoint is not None:
            given["endpoint"] = self._endpoint
        http = self._endpoint is not None and self._endpoint.startswith("http:")
        store = S3Store(bucket, prefix=prefix or None, config=given, client_options={"allow_http": http})
        found: list[tuple[str, float]] = []
        async for metas in listed(store, prefix=f"{checked(key)}.lance"):
            found += ((f"/{meta['path']}", meta["last_modified"].timestamp()) for meta in metas)
        return found

    def _credentials(self) -> dict[str, str]:
        found: dict[str, str] = {}
        if self._keys is not None:
            found["access_key_id"], found["secret_access_key"] = (key.get_secret_value() for key in self._keys)
        if self._token is not None:
            found["session_token"] = self._token.get_secret_value()
        return found


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _locks(lock: int, wanted: int) -> bool:
    try:
        fcntl.flock(lock, wanted)
    except BlockingIOError:
        return False
    return True


def _remove_half_written(table: Path) -> None:
    for folder, _, names in os.walk(table):
        for name in names:
            if _HALF_WRITTEN.fullmatch(name):
                (Path(folder) / name).unlink()


def _counted(table: Path) -> Files:
    data, deletions, versions = ([*_in(table / folder)] for folder in ("data", "_deletions", "_versions"))
    now = time.time()
    return Files(
        len(data),
        len(deletions),
        sum(entry.name.endswith(".manifest") for entry in versions),
        min((now - entry.stat().st_mtime for entry in data), default=0.0),
    )


def _in(folder: Path) -> Iterator[os.DirEntry[str]]:
    if folder.is_dir():
        with os.scandir(folder) as entries:
            yield from entries


def _hold(folder: Path, marks: Sequence[bytes]) -> bool:
    longest = max(map(len, marks), default=0)
    for entry in _in(folder) if longest else ():
        with Path(entry.path).open("rb") as file:
            before = b""
            # In pieces: each search in one keeps Python's lock.
            while piece := file.read(_PIECE):
                seen = before + piece
                if any(mark in seen for mark in marks):
                    return True
                before = seen[1 - longest :] if longest > 1 else b""
    return False
