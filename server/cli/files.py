"""The commands `ostiary files …`: whole directories into vector stores, by the routes of a running server.

They send what any client would send, so that the policy, quotas and limits are those of the token's caller.
"""

from __future__ import annotations

import codecs
import hashlib
import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from mimetypes import guess_type
from pathlib import Path
from typing import Annotated, Final

import typer

from policy.source.diagnostics import visible
from server.cli.server_client import STANDARD_URL, Refused, ServerClient, Stopped, Url, progress, segment, server_at

app = typer.Typer(no_args_is_help=True, help="Files in the vector stores of a running server.")

_INCOMPLETE: Final = 1
_FAILED: Final = 2
_PAGE: Final = 100
_BLOCK: Final = 1024 * 1024
_LOOK_SECONDS: Final = 1.0
_LONGEST_VALUE: Final = 512


@dataclass(frozen=True, slots=True)
class Found:
    """A file of the directory: its path there, the SHA-256 of its bytes, and its charset if that is to be told."""

    path: Path
    name: str
    digest: str
    charset: str | None


@dataclass(frozen=True, slots=True)
class Kept:
    """A file of the store as the server shows it."""

    id: str
    status: str
    path: str
    digest: str
    error: str


@app.callback()
def files() -> None:
    """Files in the vector stores of a running server."""


@app.command()
def ingest(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The directory; hidden files are left out.")],
    store: Annotated[str, typer.Option(metavar="ID", help="The id of the vector store.")],
    url: Url = STANDARD_URL,
    charset: Annotated[
        str | None, typer.Option(metavar="NAME", help="The charset of texts that are not UTF-8, such as windows-1252.")
    ] = None,
) -> None:
    """Put every file of a directory into a vector store, and wait until all of them are taken in.

    The token is that of the variable OSTIARY_TOKEN. What the store has already, by its content, is left out: so the
    command may be repeated after a failure. It ends with 0 if all files are in the store, with 1 if some are not, and
    with 2 if it could not go on.
    """
    try:
        with server_at(url) as server:
            failed = _ingest(Stores(server), directory, store, charset)
    except Stopped as stopped:
        sys.stderr.write(f"error: {stopped}\n")
        raise typer.Exit(_FAILED) from None
    if failed:
        raise typer.Exit(_INCOMPLETE)


def _ingest(server: Stores, directory: Path, store: str, charset: str | None) -> list[str]:
    """Put the files into the store, and return a sentence about each one that is not there in the end."""
    if not directory.is_dir():
        raise Stopped(f"`{visible(str(directory))}` is no directory")
    there = {kept.digest: kept for kept in server.files(store) if kept.digest}
    wanted = dict[str, Found]()
    refused = list[str]()
    for path in _files(directory):
        try:
            charset_of = charset if charset is not None and not _is_utf_8(path) else None
            found = Found(path, path.relative_to(directory).as_posix(), _digest(path), charset_of)
        except OSError as error:
            refused.append(f"`{visible(str(path))}` can't be read: {error.strerror}")
            continue
        wanted.setdefault(found.digest, found)
    new = [found for found in wanted.values() if _is_needed(there.get(found.digest))]
    with progress(len(new), "sent") as step:
        for found in new:
            kept = there.get(found.digest)
            problem = server.send(store, found, None if kept is None else kept.id)
            if problem is not None:
                refused.append(f"`{visible(found.name)}`: {problem}")
            step(1)
    refused += _awaited(server, store, wanted)
    sys.stdout.write(
        f"{len(wanted)} files: {len(wanted) - len(new)} were there already, {len(refused)} are not taken in\n"
    )
    for sentence in refused:
        sys.stdout.write(f"  {sentence}\n")
    return refused


def _is_needed(kept: Kept | None) -> bool:
    return kept is None or kept.status in ("failed", "cancelled")


def _awaited(server: Stores, store: str, wanted: dict[str, Found]) -> list[str]:
    """Return once nothing of what is wanted is under way, with a sentence about each file that has failed."""
    waiting = sum(1 for kept in server.files(store, "in_progress") if kept.digest in wanted)
    with progress(waiting, "taken in") as step:
        while waiting:
            time.sleep(_LOOK_SECONDS)
            left = sum(1 for kept in server.files(store, "in_progress") if kept.digest in wanted)
            step(waiting - left)
            waiting = left
    return [
        f"`{visible(wanted[kept.digest].name)}`: {visible(kept.error)}"
        for kept in server.files(store, "failed")
        if kept.digest in wanted
    ]


class Stores:
    """The vector stores of a server. Every method raises Stopped where it can't go on."""

    def __init__(self, server: ServerClient) -> None:
        self._server = server

    def files(self, store: str, status: str | None = None) -> Iterator[Kept]:
        """Yield the files of a store that the caller may read."""
        after: str | None = None
        while True:
            query = {"limit": str(_PAGE), "order": "asc"}
            query |= {} if after is None else {"after": after}
            query |= {} if status is None else {"filter": status}
            page = self._server.asked("GET", f"/v1/vector_stores/{segment(store)}/files", params=query)
            for entry in page["data"]:
                about, error = entry.get("attributes") or {}, entry.get("last_error") or {}
                yield Kept(
                    entry["id"],
                    entry["status"],
                    str(about.get("path", "")),
                    str(about.get("sha256", "")),
                    str(error.get("message", "")),
                )
            if not page["has_more"]:
                return
            after = page["last_id"]

    def send(self, store: str, found: Found, known: str | None) -> str | None:
        """Upload a file, unless its id is `known`, and attach it; return why that can't be done, None if it is.

        One whose charset is to be told is uploaded anew, since an upload can't be told it later.
        """
        if known is not None and found.charset is not None:
            self._server.try_to_delete(f"/v1/files/{known}")
            known = None
        identity = known
        try:
            if identity is None:
                with found.path.open("rb") as content:
                    form = {"file": (found.path.name, content, _content_type(found))}
                    made = self._server.asked("POST", "/v1/files", data={"purpose": "assistants"}, files=form)
                identity = made["id"]
            attributes = {"path": found.name[-_LONGEST_VALUE:], "sha256": found.digest}
            body = {"file_id": identity, "attributes": attributes}
            self._server.asked("POST", f"/v1/vector_stores/{segment(store)}/files", json=body)
        except Refused as refusal:
            if known is None and identity is not None:
                # Nothing would tell that it was uploaded.
                self._server.try_to_delete(f"/v1/files/{identity}")
            return str(refusal)
        except OSError as error:
            return f"it can't be read: {error.strerror}"
        return None


def _files(directory: Path) -> Iterator[Path]:
    """Yield the files below a directory in the order of their names; neither hidden ones nor links."""
    for folder, folders, names in os.walk(directory):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            if not name.startswith(".") and path.is_file() and not path.is_symlink():
                yield path


def _content_type(found: Found) -> str:
    kind = guess_type(found.path.name)[0]
    if found.charset is None:
        return kind or "application/octet-stream"
    return f"{kind or 'text/plain'}; charset={found.charset}"


def _is_utf_8(path: Path) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as content, suppress(UnicodeDecodeError):
        while block := content.read(_BLOCK):
            decoder.decode(block)
        decoder.decode(b"", final=True)
        return True
    return False


def _digest(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
