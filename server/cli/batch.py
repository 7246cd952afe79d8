"""The commands `ostiary batch …`: a file of requests, answered by a running server as a batch.

They send what any client would send, so that the policy, quotas and limits are those of the token's caller.
"""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from policy.source.diagnostics import visible
from server.cli.server_client import (
    STANDARD_URL,
    Refused,
    ServerClient,
    Stopped,
    Unreachable,
    Url,
    progress,
    segment,
    server_at,
)

app = typer.Typer(no_args_is_help=True, help="Files of requests that a running server answers later.")

_INCOMPLETE: Final = 1
_FAILED: Final = 2
_INTERRUPTED: Final = 130
_OVER: Final = ("completed", "failed", "expired", "cancelled")
_USUAL: Final = "/v1/chat/completions"
_BOM: Final = b"\xef\xbb\xbf"
_LONGEST_LINE: Final = 10 * 1024 * 1024
_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 10.0
_PATIENCE: Final = 900.0
_MOST_ERRORS: Final = 10


@app.callback()
def batch() -> None:
    """Files of requests that a running server answers later."""


@app.command()
def run(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file: one request on each line, as JSON.")],
    endpoint: Annotated[
        str | None, typer.Option(metavar="PATH", help="What the requests ask for; by default the `url` of the first.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="PATH", help="The answers; else FILE.output.jsonl.")
    ] = None,
    errors: Annotated[
        Path | None, typer.Option(metavar="PATH", help="What went wrong, by line; else FILE.errors.jsonl.")
    ] = None,
    resume: Annotated[
        str | None, typer.Option(metavar="ID", help="Wait for this batch of an earlier call; nothing is sent.")
    ] = None,
    url: Url = STANDARD_URL,
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
) -> None:
    """Send FILE to a server as a batch, wait until it is answered, and fetch the answers.

    The token is that of the variable OSTIARY_TOKEN. Ctrl-C ends the waiting alone: the batch goes on, and the command
    says how to wait again. It ends with 0 if every line has an answer, with 1 if some have none, and with 2 if it could
    not go on.
    """
    answers = file.with_name(f"{file.stem}.output.jsonl") if output is None else output
    faults = file.with_name(f"{file.stem}.errors.jsonl") if errors is None else errors
    begun: list[str] = [] if resume is None else [resume]
    try:
        if not force:
            _refuse_to_replace(answers, "--output")
            _refuse_to_replace(faults, "--errors")
        with server_at(url) as server:
            if resume is None:
                _begin(server, file, endpoint, begun)
            shown = _awaited(server, begun[0])
            _fetch(server, shown, answers, faults)
    except Stopped as stopped:
        sys.stderr.write(f"error: {stopped}\n")
        if begun and resume is None:
            sys.stderr.write(_how_to_go_on(file, begun))
        raise typer.Exit(_FAILED) from None
    except KeyboardInterrupt:
        sys.stderr.write(f"\n{_how_to_go_on(file, begun)}")
        raise typer.Exit(_INTERRUPTED) from None
    if not _tell(shown):
        raise typer.Exit(_INCOMPLETE)


@app.command()
def cancel(
    identity: Annotated[str, typer.Argument(metavar="ID", help="The id of the batch.")],
    url: Url = STANDARD_URL,
) -> None:
    """Cancel a batch: no more lines are begun, and those that were answered keep their answers."""
    try:
        with server_at(url) as server, _as_stopped():
            shown = server.asked("POST", f"/v1/batches/{segment(identity)}/cancel")
    except Stopped as stopped:
        sys.stderr.write(f"error: {stopped}\n")
        raise typer.Exit(_FAILED) from None
    sys.stdout.write(f"{visible(str(shown['id']))} is {visible(str(shown['status']))}\n")


def _refuse_to_replace(target: Path, option: str) -> None:
    if target.exists():
        raise Stopped(f"`{visible(str(target))}` is there already; --force replaces it, {option} names another")


def _begin(server: ServerClient, file: Path, endpoint: str | None, begun: list[str]) -> None:
    """Upload the file and have it answered; the id of the batch is in `begun` before it is told."""
    try:
        with file.open("rb") as content, _as_stopped():
            asked = _endpoint_of(content.readline(_LONGEST_LINE)) if endpoint is None else endpoint
            form = {"file": (file.name, content, "application/jsonl")}
            sent = server.asked("POST", "/v1/files", data={"purpose": "batch"}, files=form)
    except OSError as error:
        raise Stopped(f"`{visible(str(file))}` can't be read: {error.strerror}") from None
    body = {"input_file_id": sent["id"], "endpoint": asked, "completion_window": "24h"}
    try:
        with _as_stopped():
            made = server.asked("POST", "/v1/batches", json=body)
    except Stopped:
        # Nothing would tell that it was uploaded.
        server.try_to_delete(f"/v1/files/{segment(sent['id'])}")
        raise
    begun.append(str(made["id"]))
    sys.stdout.write(f"{visible(begun[0])} is begun\n")
    sys.stdout.flush()


def _endpoint_of(line: bytes) -> str:
    """Return what a first line asks for; where it doesn't say, the server finds the fault in it."""
    try:
        found = json.loads(line.removeprefix(_BOM))["url"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return _USUAL
    return found if isinstance(found, str) else _USUAL


def _awaited(server: ServerClient, identity: str) -> dict[str, Any]:
    """Return the batch once it is over; raise Stopped if the server is away for long."""
    path = f"/v1/batches/{segment(identity)}"
    shown = _looked_at(server, path)
    while shown["status"] == "validating":
        time.sleep(_FIRST_PAUSE)
        shown = _looked_at(server, path)
    pause, done, tell = _FIRST_PAUSE, 0, _Lines()
    with progress(shown["request_counts"]["total"], "answered") as step:
        while True:
            counts = shown["request_counts"]
            step(counts["completed"] + counts["failed"] - done)
            pause = _FIRST_PAUSE if done != (done := counts["completed"] + counts["failed"]) else pause * 1.5
            tell(shown)
            if shown["status"] in _OVER:
                return shown
            time.sleep(min(pause, _LONGEST_PAUSE))
            shown = _looked_at(server, path)


def _looked_at(server: ServerClient, path: str) -> dict[str, Any]:
    """Return the batch; a server that is away for a while is waited for."""
    ends, pause = time.monotonic() + _PATIENCE, 1.0
    while True:
        try:
            shown: dict[str, Any] = server.asked("GET", path)
        except Unreachable:
            if time.monotonic() + pause > ends:
                raise
            time.sleep(pause)
            pause = min(_LONGEST_PAUSE, pause * 2)
        else:
            return shown


class _Lines:
    """Tells how far a batch is where there is no terminal for a bar: each new status, and every tenth of the lines."""

    def __init__(self) -> None:
        self._told: tuple[str, int] | None = None

    def __call__(self, shown: dict[str, Any]) -> None:
        """Print a line if there is something new to tell."""
        status, counts = str(shown["status"]), shown["request_counts"]
        done, total = counts["completed"] + counts["failed"], counts["total"]
        step = (status, done * 10 // total if total else 0)
        if step == self._told or sys.stderr.isatty():
            return
        self._told = step
        sys.stdout.write(f"{visible(status)}: {done} of {total}\n")
        sys.stdout.flush()


def _fetch(server: ServerClient, shown: dict[str, Any], answers: Path, faults: Path) -> None:
    """Write the files that the batch has made."""
    for name, target in (("output_file_id", answers), ("error_file_id", faults)):
        if shown.get(name) is not None:
            server.download(f"/v1/files/{segment(shown[name])}/content", target)
            sys.stdout.write(f"{visible(str(target))} is written\n")


def _tell(shown: dict[str, Any]) -> bool:
    """Say how the batch has ended, and return whether every line has an answer."""
    counts, status = shown["request_counts"], str(shown["status"])
    found = ((shown.get("errors") or {}).get("data") or [])[:_MOST_ERRORS]
    for error in found:
        place = "the file" if error.get("line") is None else f"line {error['line']}"
        sys.stderr.write(f"error: {place}: {visible(str(error.get('message')))} ({visible(str(error.get('code')))})\n")
    failed = counts["total"] - counts["completed"]
    sys.stdout.write(
        f"{visible(status)}: {counts['completed']} of {counts['total']} lines are answered, "
        f"{failed} {'is' if failed == 1 else 'are'} not\n"
    )
    return status == "completed" and not failed


def _how_to_go_on(file: Path, begun: Sequence[str]) -> str:
    """Return the sentence about a batch that goes on, or that nothing was begun."""
    if not begun:
        return "nothing was begun\n"
    identity = shlex.quote(visible(begun[0]))
    again = f"ostiary batch run {shlex.quote(visible(str(file)))} --resume {identity}"
    return f"the batch goes on: `{again}` waits for it again, and `ostiary batch cancel {identity}` ends it\n"


@contextmanager
def _as_stopped() -> Iterator[None]:
    """Let the command end with what the server refuses."""
    try:
        yield
    except Refused as refusal:
        raise Stopped(f"the server refuses it with {refusal}") from None
