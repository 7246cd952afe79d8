"""Commands that ask a server say what is wrong with the token and the address that they were given."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from server.cli.main import app
from server.cli.server_client import TOKEN_VARIABLE, URL_VARIABLE

COMMANDS = {
    "batch run": ["batch", "run", "FILE"],
    "batch cancel": ["batch", "cancel", "batch_1"],
    "files ingest": ["files", "ingest", "FOLDER", "--store", "vs_1"],
}
EMPTY = f"error: the variable `{TOKEN_VARIABLE}` is empty; put a token into it, or unset it to ask without one\n"
NO_TOKEN = (
    f"error: the variable `{TOKEN_VARIABLE}` holds a blank, the end of a line or another character that no token has; "
    "put the token alone into it\n"
)
PLACE = f"(`--url`, or the variable `{URL_VARIABLE}`)"
NO_ADDRESS = f"error: the address of the server {PLACE} is not one of HTTP, such as http://127.0.0.1:8321\n"
MORE = f"error: the address of the server {PLACE} has a name, a query or a fragment; leave that out\n"
VERSION = f"error: the address of the server {PLACE} ends in `/v1`, which the command adds itself; leave that out\n"


def said(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch, **environ: str) -> str:
    """What a command that can't begin writes."""
    file = folder / "requests.jsonl"
    file.write_text("{}\n")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    places = {"FILE": str(file), "FOLDER": str(folder)}
    done = CliRunner().invoke(app, [places.get(word, word) for word in COMMANDS[command]])
    assert (done.exit_code, done.stdout) == (2, "")
    return done.stderr


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("token", "told"),
    [
        ("", EMPTY),
        ("  ", EMPTY),
        ("\n", EMPTY),
        ("canary\n", NO_TOKEN),
        ("can ary", NO_TOKEN),
        ("Bearer canary", NO_TOKEN),
        ("canary\r\nX-Other: 1", NO_TOKEN),
        ("canäry", NO_TOKEN),
        ("canary\x7f", NO_TOKEN),
    ],
)
def test_what_is_no_token_is_told_and_not_repeated(
    command: str, token: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert said(command, tmp_path, monkeypatch, **{TOKEN_VARIABLE: token}) == told


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("localhost:8321", NO_ADDRESS),
        ("127.0.0.1:8321", NO_ADDRESS),
        ("localhost", NO_ADDRESS),
        ("http://", NO_ADDRESS),
        ("ftp://localhost", NO_ADDRESS),
        ("http://localhost:port", NO_ADDRESS),
        ("http://localhost:99999", NO_ADDRESS),
        ("http://local host:8321", NO_ADDRESS),
        ("http://[::1", NO_ADDRESS),
        ("http://canary:canary@localhost:8321", MORE),
        ("http://localhost:8321?canary", MORE),
        ("http://localhost:8321/#canary", MORE),
        ("http://localhost:8321/v1", VERSION),
        ("http://localhost:8321/v1/", VERSION),
    ],
)
def test_what_is_no_address_is_told_and_not_repeated(
    command: str, url: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "t")
    assert said(command, tmp_path, monkeypatch, **{URL_VARIABLE: url}) == told
