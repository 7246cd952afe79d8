"""`ostiary batch run`: a file of requests, answered by a running server as the caller of the token."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from json import loads
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from server.cli.main import app
from server.cli.server_client import TOKEN_VARIABLE, URL_VARIABLE
from tests.support.batches_server import CHAT, Batching, batching, chat, line, written
from tests.support.callers import ALICE, BOB, STRANGER
from tests.support.line_provider import LineProvider, line_provider
from tests.support.patience import PATIENCE

Run = Callable[..., Result]
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def far() -> Iterator[LineProvider]:
    with line_provider() as running:
        yield running


@pytest.fixture(scope="module")
def place(far: LineProvider, opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Batching]:
    with batching(opa_binary, tmp_path_factory.mktemp("commands"), url=far.url) as running:
        yield running


@pytest.fixture
def run(place: Batching, far: LineProvider, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `ostiary batch` with a token."""
    far.forget()
    monkeypatch.setattr("server.cli.batch._FIRST_PAUSE", 0.02)

    def ran(*arguments: str | Path, caller: str = ALICE, url: str | None = None) -> Result:
        monkeypatch.setenv(TOKEN_VARIABLE, token_of(caller))
        monkeypatch.setenv(URL_VARIABLE, url or place.house.address.url)
        return CliRunner().invoke(app, ["batch", *map(str, arguments)])

    return ran


def token_of(caller: str) -> str:
    return caller.removeprefix("Authorization: Bearer ")


def file_of(folder: Path, *lines: Any) -> Path:
    path = folder / "some requests.jsonl"
    path.write_bytes(written(lines))
    return path


def by_name(path: Path) -> dict[str, Any]:
    return {found["custom_id"]: found for found in map(loads, path.read_text().splitlines())}


def test_a_file_is_answered_next_to_it(run: Run, tmp_path: Path) -> None:
    done = run("run", file_of(tmp_path, *[chat(f"n{number}", f"t{number}") for number in range(20)]))
    assert (done.exit_code, done.stderr) == (0, ""), done.output
    answers = by_name(tmp_path / "some requests.output.jsonl")
    assert {name: found["response"]["body"]["choices"][0]["message"]["content"] for name, found in answers.items()} == {
        f"n{number}": f"said t{number}" for number in range(20)
    }
    told = done.stdout.splitlines()
    assert told[0].startswith("batch_") and told[0].endswith(" is begun")
    assert told[-3:] == [
        "completed: 20 of 20",
        f"`{tmp_path}/some requests.output.jsonl` is written".replace("`", ""),
        "completed: 20 of 20 lines are answered, 0 are not",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["some requests.jsonl", "some requests.output.jsonl"]


def test_lines_without_an_answer_are_in_a_file_of_their_own(run: Run, tmp_path: Path) -> None:
    lines = [chat("fine"), chat("bad", "fail-500"), chat("foreign", model="secret")]
    done = run("run", file_of(tmp_path, *lines), "--output", tmp_path / "a", "--errors", tmp_path / "b")
    assert done.exit_code == 1, done.output
    assert [*by_name(tmp_path / "a")] == ["fine"]
    assert {*by_name(tmp_path / "b")} == {"bad", "foreign"}
    assert done.stdout.splitlines()[-1] == "completed: 1 of 3 lines are answered, 2 are not"


def test_the_first_line_says_what_is_asked_for(run: Run, tmp_path: Path) -> None:
    url = "/v1/embeddings"
    path = file_of(tmp_path, line("a", url, model="vectors", input="x"))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    done = run("run", path, "-o", tmp_path / "a")
    assert done.exit_code == 0, done.output
    assert by_name(tmp_path / "a")["a"]["response"]["body"]["data"][0]["embedding"] == [0.5, 0.5]
    other = run("run", path, "--endpoint", CHAT, "-o", tmp_path / "b")
    assert other.exit_code == 1
    assert other.stderr == f"error: line 1: `url` must be `{CHAT}`, the endpoint of the batch (url_mismatch)\n"


def test_faults_of_the_file_are_told_by_line(run: Run, tmp_path: Path) -> None:
    path = file_of(tmp_path, chat("a"), chat("a"))
    path.write_bytes(b"{\n" + path.read_bytes())
    done = run("run", path)
    assert done.exit_code == 1
    assert [told.partition(": ")[2].rpartition(" ")[::2] for told in done.stderr.splitlines()] == [
        (
            "line 1: the line is not JSON: expecting property name enclosed in double quotes at column 2",
            "(invalid_json_line)",
        ),
        ("line 3: `custom_id` is that of line 2; give each line its own", "(duplicate_custom_id)"),
    ]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["some requests.jsonl"]


def test_what_is_there_is_replaced_if_told_so(run: Run, tmp_path: Path) -> None:
    path = file_of(tmp_path, chat("a"))
    there = tmp_path / "some requests.output.jsonl"
    there.write_text("kept")
    refused = run("run", path)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr == f"error: `{there}` is there already; --force replaces it, --output names another\n"
    assert there.read_text() == "kept"
    faults = tmp_path / "some requests.errors.jsonl"
    faults.write_text("kept")
    refused = run("run", path, "--output", str(tmp_path / "others"))
    assert refused.stderr == f"error: `{faults}` is there already; --force replaces it, --errors names another\n"
    assert run("run", path, "--force").exit_code == 0
    assert [*by_name(there)] == ["a"]


def test_a_batch_is_waited_for_again_and_cancelled(
    run: Run, place: Batching, far: LineProvider, tmp_path: Path
) -> None:
    batch = place.begun([chat("held", "hold"), chat("b")])
    place.until(batch, lambda shown: shown["status"] == "in_progress")
    far.go_on.set()
    again = run("run", tmp_path / "gone.jsonl", "--resume", batch)
    assert again.exit_code == 0, again.output
    assert {*by_name(tmp_path / "gone.output.jsonl")} == {"held", "b"}
    over = run("cancel", batch)
    assert (over.exit_code, over.stdout) == (2, "")
    assert "the batch is over, its status is `completed`" in over.stderr
    far.go_on.clear()
    batch = place.begun([chat("held", "hold")])
    cancelled = run("cancel", batch)
    assert (cancelled.exit_code, cancelled.stdout.split()[0]) == (0, batch)
    far.go_on.set()
    assert place.over(batch)["status"] == "cancelled"


def test_what_can_not_go_on_says_why(run: Run, place: Batching, tmp_path: Path) -> None:
    path = file_of(tmp_path, chat("a")).rename(tmp_path / "never.jsonl")
    foreign = place.begun([chat("a")])
    refused = run("run", path, "--resume", foreign, caller=BOB)
    assert refused.exit_code == 2
    assert f"404: there is no `{foreign}`, or you have no access to it" in refused.stderr
    assert "../" not in run("run", path, "--resume", "../files", caller=BOB).stdout
    missing = run("run", tmp_path / "missing")
    assert (missing.exit_code, missing.stderr) == (
        2,
        f"error: `{tmp_path}/missing` can't be read: No such file or directory\n",
    )
    nowhere = run("run", path, url="http://127.0.0.1:9")
    assert nowhere.exit_code == 2 and "can't be reached" in nowhere.stderr
    unknown = run("run", path, "--endpoint", "/v1/models")
    assert unknown.exit_code == 2 and "`endpoint` must be one of" in unknown.stderr
    unknown = run("run", path, caller="Authorization: Bearer bad")
    assert (unknown.exit_code, unknown.stdout) == (2, "")
    assert "401: the token is not valid" in unknown.stderr
    stranger = run("run", path, caller=STRANGER)
    assert stranger.exit_code == 2 and "403: " in stranger.stderr
    # An upload of which no batch was made is gone.
    for caller in (ALICE, STRANGER):
        listed = place.ask("GET", "/v1/files?purpose=batch", caller=caller).json["data"]
        assert path.name not in {each["filename"] for each in listed}


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C reach what is started, also where a shell runs the tests in the background and has them ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_the_waiting_alone(place: Batching, far: LineProvider, tmp_path: Path) -> None:
    far.forget()
    path = file_of(tmp_path, chat("held", "hold"))
    command = [sys.executable, "-m", "server.cli.main", "batch", "run", str(path)]
    settings = {**os.environ, TOKEN_VARIABLE: token_of(ALICE), URL_VARIABLE: place.house.address.url}
    with (
        interruptible(),
        subprocess.Popen(
            command, cwd=ROOT, env=settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process,
    ):
        try:
            assert process.stdout is not None
            batch = process.stdout.readline().split()[0]
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert process.returncode == 130
    assert told.strip() == (
        f"the batch goes on: `ostiary batch run '{path}' --resume {batch}` waits for it again, "
        f"and `ostiary batch cancel {batch}` ends it"
    )
    assert place.get(batch)["status"] in ("validating", "in_progress")
    far.go_on.set()
    assert place.over(batch)["status"] == "completed"
