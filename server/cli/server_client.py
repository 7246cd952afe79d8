"""The client of commands that ask a running server, as the caller of the token in the environment."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import quote, urlsplit

import typer

from policy.source.diagnostics import visible

if TYPE_CHECKING:
    import httpx

TOKEN_VARIABLE: Final = "OSTIARY_TOKEN"  # noqa: S105 - the name of a variable
URL_VARIABLE: Final = "OSTIARY_URL"

Url = Annotated[str, typer.Option(envvar=URL_VARIABLE, metavar="URL", help="The address of the server.")]
STANDARD_URL: Final = "http://127.0.0.1:8321"

_PLACE: Final = f"`--url`, or the variable `{URL_VARIABLE}`"

_TOKEN: Final = re.compile("[!-~]+")
_TRIES: Final = 8
_LONGEST_PAUSE: Final = 30.0
_SECONDS: Final = 120.0
_COMES_AGAIN: Final = (429, 503)


class Stopped(Exception):
    """The command can't go on; the message is one sentence."""


class Unreachable(Stopped):
    """The server doesn't answer, or answers that it can't serve now."""


class Refused(Exception):
    """The server refuses what was sent, and might take something else."""


class ServerClient:
    """Asks the server. Every method raises Stopped where it can't go on."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def asked(self, method: str, path: str, **given: Any) -> Any:
        """Return the answer to a request; raise Refused where what was sent is wrong, and Stopped for other errors."""
        import httpx

        pause = 1.0
        for attempt in range(_TRIES):
            try:
                for _, content, _ in (given.get("files") or {}).values():
                    content.seek(0)
                answer = self._client.request(method, path, **given)
            except httpx.HTTPError as error:
                raise self._unreachable(error) from None
            if answer.status_code == 200:
                return answer.json()
            if answer.status_code not in _COMES_AGAIN or attempt == _TRIES - 1 or _is_final(answer):
                break
            time.sleep(min(_LONGEST_PAUSE, float(answer.headers.get("retry-after", pause))))
            pause *= 2
        sentence = f"{answer.status_code}: {_said(answer)}"
        if answer.status_code == 401 and "authorization" not in self._client.headers:
            sentence += f"; set the variable `{TOKEN_VARIABLE}`"
        if answer.status_code in (400, 403, 413) and method == "POST":
            raise Refused(sentence)
        kind = Unreachable if answer.status_code >= 500 or answer.status_code in _COMES_AGAIN else Stopped
        raise kind(f"the server refuses `{method} {path}` with {sentence}")

    def try_to_delete(self, path: str) -> None:
        """Ask the server to delete something, whatever it answers."""
        import httpx

        with suppress(httpx.HTTPError):
            self._client.request("DELETE", path)

    def download(self, path: str, target: Path) -> None:
        """Write what is at `path` of the server to a file, which is replaced once all of it is there."""
        import httpx

        try:
            with (
                self._client.stream("GET", path) as answer,
                TemporaryDirectory(dir=target.parent, prefix=".") as folder,
            ):
                if answer.status_code != 200:
                    answer.read()
                    raise Stopped(f"the server refuses `GET {path}` with {answer.status_code}: {_said(answer)}")
                part = Path(folder, target.name)
                with part.open("wb") as written:
                    for piece in answer.iter_bytes():
                        written.write(piece)
                part.replace(target)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from None
        except OSError as error:
            raise Stopped(f"`{visible(str(target))}` can't be written: {error.strerror}") from None

    def _unreachable(self, error: Exception) -> Unreachable:
        return Unreachable(f"the server can't be reached at {self._client.base_url}: {error}")


@contextmanager
def server_at(url: str) -> Iterator[ServerClient]:
    """Make a client of the server at `url`, with the token in the environment."""
    import httpx

    from server.net.log_filter import quieten_clients

    quieten_clients()
    headers = _authorization(os.environ.get(TOKEN_VARIABLE))
    _check_address(url)
    try:
        client = httpx.Client(base_url=url, headers=headers, timeout=_SECONDS, trust_env=False)
    except (httpx.InvalidURL, ValueError):
        raise _no_address() from None
    with client:
        yield ServerClient(client)


def _authorization(token: str | None) -> dict[str, str]:
    """Return the header for a token, and none without one; raise Stopped for what can't be a token."""
    if token is None:
        return {}
    if not token.strip():
        raise Stopped(f"the variable `{TOKEN_VARIABLE}` is empty; put a token into it, or unset it to ask without one")
    if not _TOKEN.fullmatch(token):
        raise Stopped(
            f"the variable `{TOKEN_VARIABLE}` holds a blank, the end of a line or another character that no token has; "
            "put the token alone into it"
        )
    return {"Authorization": f"Bearer {token}"}


def _check_address(url: str) -> None:
    """Raise Stopped for an address that is none of a server; what it holds is not repeated, since it may be secret."""
    try:
        parts = urlsplit(url)
        is_whole = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        raise _no_address() from None
    if not is_whole or not _TOKEN.fullmatch(url):
        raise _no_address()
    if parts.username is not None or "?" in url or "#" in url:
        raise Stopped(f"the address of the server ({_PLACE}) has a name, a query or a fragment; leave that out")
    if parts.path.rstrip("/").endswith("/v1"):
        raise Stopped(
            f"the address of the server ({_PLACE}) ends in `/v1`, which the command adds itself; leave that out"
        )


def _no_address() -> Stopped:
    return Stopped(f"the address of the server ({_PLACE}) is not one of HTTP, such as {STANDARD_URL}")


@contextmanager
def progress(length: int, what: str) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on a terminal, and nothing elsewhere; yields the function for a number of steps."""
    if not length or not sys.stderr.isatty():
        yield lambda _: None
        return
    with typer.progressbar(length=length, label=what, file=sys.stderr) as bar:
        yield bar.update


def segment(text: str) -> str:
    """Return a text as one segment of a path."""
    return quote(text, safe="")


def _is_final(answer: httpx.Response) -> bool:
    return str(answer.headers.get("x-should-retry")) == "false"


def _said(answer: httpx.Response) -> str:
    """Return the sentence of an error."""
    try:
        return visible(str(answer.json()["error"]["message"]))
    except (ValueError, LookupError, TypeError):
        return "without a sentence"
