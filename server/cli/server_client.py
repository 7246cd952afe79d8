"""The client of commands that ask a running server, as the caller of the token in the environment."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from policy.source.diagnostics import visible

if TYPE_CHECKING:
    import httpx

TOKEN_VARIABLE: Final = "OSTIARY_TOKEN"  # noqa: S105 - the name of a variable
URL_VARIABLE: Final = "OSTIARY_URL"

Url = Annotated[str, typer.Option(envvar=URL_VARIABLE, metavar="URL", help="The address of the server.")]
STANDARD_URL: Final = "http://127.0.0.1:8321"

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
    token = os.environ.get(TOKEN_VARIABLE)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        client = httpx.Client(base_url=url, headers=headers, timeout=_SECONDS, trust_env=False)
    except (httpx.InvalidURL, ValueError):
        raise Stopped("the address of the server is not one of HTTP, such as http://127.0.0.1:8321") from None
    with client:
        yield ServerClient(client)


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
    from urllib.parse import quote

    return quote(text, safe="")


def _is_final(answer: httpx.Response) -> bool:
    return str(answer.headers.get("x-should-retry")) == "false"


def _said(answer: httpx.Response) -> str:
    """Return the sentence of an error."""
    try:
        return visible(str(answer.json()["error"]["message"]))
    except (ValueError, LookupError, TypeError):
        return "without a sentence"
