"""`ostiary files ingest`: a directory in a vector store of a running server, as the caller of the token."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from server.cli.main import app
from server.cli.server_client import TOKEN_VARIABLE
from tests.support.callers import ALICE, BOB
from tests.support.vector_server import Holding, holding

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def kept(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Holding]:
    with holding(opa_binary, tmp_path_factory.mktemp("ingest")) as running:
        yield running


@pytest.fixture
def run(kept: Holding, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command with a token."""
    monkeypatch.setattr("server.cli.files._LOOK_SECONDS", 0.1)

    def ran(folder: Path, store: str, *more: str, caller: str = ALICE, url: str | None = None) -> Result:
        monkeypatch.setenv(TOKEN_VARIABLE, caller.removeprefix("Authorization: Bearer "))
        arguments = ["files", "ingest", str(folder), "--store", store, "--url", url or kept.house.address.url, *more]
        return CliRunner().invoke(app, arguments)

    return ran


def folder_of(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_a_directory_is_taken_in_and_again_only_what_is_new(kept: Holding, run: Run, tmp_path: Path) -> None:
    store = kept.made()
    folder = folder_of(tmp_path, a="a blue bicycle", deep__b="numbers", deep__same="numbers", empty=" ")
    folder_of(tmp_path, **{".hidden": "x", ".git__c": "x"})
    (tmp_path / "link").symlink_to("/etc/hostname")
    first = run(folder, store)
    assert first.exit_code == 1, first.output
    assert first.stdout.splitlines()[0] == "3 files: 0 were there already, 1 are not taken in"
    assert first.stdout.splitlines()[1].startswith("  `empty`: ")
    entries = {entry["attributes"]["path"]: entry for entry in kept.got("GET", f"/{store}/files")["data"]}
    assert {name: entry["status"] for name, entry in entries.items()} == {
        "a": "completed",
        "deep/b": "completed",
        "empty": "failed",
    }
    (folder / "empty").write_text("now with a text")
    second = run(folder, store)
    assert second.exit_code == 0, second.output
    assert second.stdout == "3 files: 2 were there already, 0 are not taken in\n"
    found = kept.got("POST", f"/{store}/search", {"query": "now with a text"})["data"]
    assert found[0]["attributes"]["path"] == "empty"
    assert run(folder, store).stdout == "3 files: 3 were there already, 0 are not taken in\n"


def test_what_can_not_go_on_says_why_and_leaves_nothing(kept: Holding, run: Run, tmp_path: Path) -> None:
    store, folder = kept.made(), folder_of(tmp_path, a="a")
    foreign = run(folder, store, caller=BOB)
    assert (foreign.exit_code, foreign.stdout) == (2, "")
    assert f"404: there is no `{store}`, or you have no access to it" in foreign.stderr
    assert run(tmp_path / "missing", store).exit_code == 2
    nowhere = run(folder, store, url="http://127.0.0.1:9")
    assert nowhere.exit_code == 2
    assert "can't be reached" in nowhere.stderr
    assert run(folder, store, url="ftp://x").exit_code == 2
    assert kept.listed(f"/{store}/files") == []


def test_texts_of_another_charset_are_taken_in_once_it_is_told(kept: Holding, run: Run, tmp_path: Path) -> None:
    store = kept.made()
    folder = folder_of(tmp_path, **{"new.txt": "caf\u00e9 of today"})
    (folder / "old.txt").write_bytes(b"caf\xe9 of old")
    (folder / "old.csv").write_bytes(b"caf\xe9,table")
    first = run(folder, store)
    assert first.exit_code == 1
    assert first.stdout.count("the text is not UTF-8") == 2
    second = run(folder, store, "--charset", "windows-1252")
    assert second.exit_code == 0, second.output
    listed = kept.got("GET", f"/{store}/files")["data"]
    texts = [kept.got("GET", f"/{store}/files/{entry['id']}/content")["data"][0]["text"] for entry in listed]
    assert sorted(texts) == ["caf\u00e9 of old", "caf\u00e9 of today", "caf\u00e9,table"]
