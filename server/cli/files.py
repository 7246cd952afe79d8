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
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from mimetypes import guess_type
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from policy.source.diagnostics import visible

if TYPE_CHECKING:
    import httpx

app = typer.Typer(no_args_is_help=True, help="Files in the vector stores of a running server.")

TOKEN_VARIABLE: Final = "OSTIARY_TOKEN"  # noqa: S105 - the name of a variable
URL_VARIABLE: Final = "OSTIARY_URL"

_INCOMPLETE: Final = 1
_FAILED: Final = 2
_PAGE: Final = 100
_BLOCK: Final = 1024 * 1024
_LOOK_SECONDS: Final = 1.0
_TRIES: Final = 8
_LONGEST_PAUSE: Final = 30.0
_SECONDS: Final = 120.0
_LONGEST_VALUE: Final = 512
_COMES_AGAIN: Final = (429, 503)


class Stopped(Exception):
    """The command can't go on; the message is one sentence."""


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
    url: Annotated[
        str, typer.Option(envvar=URL_VARIABLE, metavar="URL", help="The address of the server.")
    ] = "http://127.0.0.1:8321",
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
        with _server(url, os.environ.get(TOKEN_VARIABLE)) as server:
            failed = _ingest(server, directory, store, charset)
    except Stopped as stopped:
        sys.stderr.write(f"error: {stopped}\n")
        raise typer.Exit(_FAILED) from None
    if failed:
        raise typer.Exit(_INCOMPLETE)


def _ingest(server: Server, directory: Path, store: str, charset: str | None) -> list[str]:
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
    with _progress(len(new), "sent") as step:
        for found in new:
            kept = there.get(found.digest)
            problem = server.send(store, found, None if kept is None else kept.id)
            if problem is not None:
                refused.append(f"`{visible(found.name)}`: {problem}")
            step()
    refused += _awaited(server, store, wanted)
    sys.stdout.write(
        f"{len(wanted)} files: {len(wanted) - len(new)} were there already, {len(refused)} are not taken in\n"
    )
    for sentence in refused:
        sys.stdout.write(f"  {sentence}\n")
    return refused


def _is_needed(kept: Kept | None) -> bool:
    return kept is None or kept.status in ("failed", "cancelled")


def _awaited(server: Server, store: str, wanted: dict[str, Found]) -> list[str]:
    """Return once nothing of what is wanted is under way, with a sentence about each file that has failed."""
    waiting = sum(1 for kept in server.files(store, "in_progress") if kept.digest in wanted)
    with _progress(waiting, "taken in") as step:
        while waiting:
            time.sleep(_LOOK_SECONDS)
            left = sum(1 for kept in server.files(store, "in_progress") if kept.digest in wanted)
            for _ in range(waiting - left):
                step()
            waiting = left
    return [
        f"`{visible(wanted[kept.digest].name)}`: {visible(kept.error)}"
        for kept in server.files(store, "failed")
        if kept.digest in wanted
    ]


class Server:
    """A server, asked as a client with a token asks it. Every method raises Stopped where it can't go on."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def files(self, store: str, status: str | None = None) -> Iterator[Kept]:
        """Yield the files of a store that the caller may read."""
        after: str | None = None
        while True:
            query = {"limit": str(_PAGE), "order": "asc"}
            query |= {} if after is None else {"after": after}
            query |= {} if status is None else {"filter": status}
            page = self._asked("GET", f"/v1/vector_stores/{_segment(store)}/files", params=query)
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
            self._client.request("DELETE", f"/v1/files/{known}")
            known = None
        identity = known
        try:
            if identity is None:
                with found.path.open("rb") as content:
                    form = {"file": (found.path.name, content, _content_type(found))}
                    made = self._asked("POST", "/v1/files", data={"purpose": "assistants"}, files=form)
                identity = made["id"]
            attributes = {"path": found.name[-_LONGEST_VALUE:], "sha256": found.digest}
            body = {"file_id": identity, "attributes": attributes}
            self._asked("POST", f"/v1/vector_stores/{_segment(store)}/files", json=body)
        except _Refused as refusal:
            if known is None and identity is not None:
                # Nothing would tell that it was uploaded.
                self._client.request("DELETE", f"/v1/files/{identity}")
            return str(refusal)
        except OSError as error:
            return f"it can't be read: {error.strerror}"
        return None

    def _asked(self, method: str, path: str, **given: Any) -> Any:
        """Return the answer to a request; raise _Refused for one about this file alone, and Stopped for others."""
        import httpx

        pause = 1.0
        for attempt in range(_TRIES):
            try:
                for _, content, _ in (given.get("files") or {}).values():
                    content.seek(0)
                answer = self._client.request(method, path, **given)
            except httpx.HTTPError as error:
                raise Stopped(f"the server can't be reached at {self._client.base_url}: {error}") from None
            if answer.status_code == 200:
                return answer.json()
            if answer.status_code not in _COMES_AGAIN or attempt == _TRIES - 1 or _is_final(answer):
                break
            time.sleep(min(_LONGEST_PAUSE, float(answer.headers.get("retry-after", pause))))
            pause *= 2
        sentence = f"{answer.status_code}: {_said(answer)}"
        if answer.status_code in (400, 403, 413) and method == "POST":
            raise _Refused(sentence)
        raise Stopped(f"the server refuses `{method} {path}` with {sentence}")


class _Refused(Exception):
    """The server refuses one file."""


def _is_final(answer: httpx.Response) -> bool:
    return str(answer.headers.get("x-should-retry")) == "false"


def _said(answer: httpx.Response) -> str:
    """Return the sentence of an error."""
    try:
        return visible(str(answer.json()["error"]["message"]))
    except (ValueError, LookupError, TypeError):
        return "without a sentence"


def _segment(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")


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


@contextmanager
def _server(url: str, token: str | None) -> Iterator[Server]:
    import httpx

    from server.net.log_filter import quieten_clients

    quieten_clients()
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        client = httpx.Client(base_url=url, headers=headers, timeout=_SECONDS, trust_env=False)
    except (httpx.InvalidURL, ValueError):
        raise Stopped("the address of the server is not one of HTTP, such as http://127.0.0.1:8321") from None
    with client:
        yield Server(client)


@contextmanager
def _progress(length: int, what: str) -> Iterator[Any]:
    """Show a progress bar on a terminal, and nothing elsewhere; yields the function for a step."""
    if not length or not sys.stderr.isatty():
        yield lambda: None
        return
    with typer.progressbar(length=length, label=what, file=sys.stderr) as bar:
        yield lambda: bar.update(1)
