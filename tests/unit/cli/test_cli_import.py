"""`ostiary import`: the nine distributions, the file that is written, bad input; and `ostiary run` with such a file."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.imports import DISTRIBUTIONS, FOLDER, command

NINE = "starter ci-tests starter-postgres kubernetes postgres-demo nvidia open-benchmark watsonx oci"
SECRET = "sk-very-secret-4711"
LINE = re.compile(r"\S+\.yaml:\d+: (kept|moved|ignored \(harmless\)|replaced|not served yet|not served): .+")
MOST_SECONDS = 1.0
MOST_MEMORY_KB = 400_000
MEASURED = """\
import atexit, re
from pathlib import Path
from server.cli.main import main
atexit.register(lambda: print(re.search("VmHWM:\\s+([0-9]+)", Path("/proc/self/status").read_text())[1]))
main()
"""


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_the_nine_distributions_are_here() -> None:
    assert sorted(NINE.split()) == DISTRIBUTIONS


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_distribution_is_imported_and_can_be_served(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    output = tmp_path / "config.yaml"
    began = time.process_time()
    done = command(monkeypatch, "import", FOLDER / f"{name}.yaml", "-o", output)
    took = time.process_time() - began
    assert done.exit_code == 0, done.output
    assert "error" not in done.stderr
    *changes, _, _ = done.stdout.splitlines()
    assert all(LINE.fullmatch(line) for line in changes)
    assert took < MOST_SECONDS
    checked = command(monkeypatch, "run", "--check", output)
    assert checked.exit_code == 0, checked.output
    assert "llama" not in checked.stderr.replace(str(tmp_path), "").lower()


def test_what_the_environment_lacks_is_said_and_the_file_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    output = tmp_path / "config.yaml"
    done = command(monkeypatch, "import", FOLDER / "postgres-demo.yaml", "-o", output, ANSWERS_MODEL="", ANSWERS_URL="")
    assert done.exit_code == 0
    assert "warning: the environment lacks `ANSWERS_MODEL`" in done.stderr
    assert "warning: `base_url` needs a value, and `${env.ANSWERS_URL:=}` gives none" in done.stderr
    assert output.exists()


def test_what_remains_to_be_mended_has_its_line_in_the_original(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    original = tmp_path / "stack.yaml"
    original.write_text("distro_name: a\nserver:\n  port: many\n")
    done = command(monkeypatch, "import", original)
    assert done.exit_code == 1
    assert "stack.yaml:3:9: error: `port` takes a whole number" in done.stderr
    assert (tmp_path / "stack-ostiary.yaml").exists()


def test_authentication_that_is_off_is_said_loudly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done = command(monkeypatch, "import", FOLDER / "oci.yaml", "-o", tmp_path / "config.yaml")
    assert "warning: AUTHENTICATION IS OFF: " in done.stderr


def test_the_file_is_for_its_owner_and_replaces_none_unasked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    output = tmp_path / "config.yaml"
    arguments = ("import", FOLDER / "oci.yaml", "--output", output)
    assert command(monkeypatch, *arguments).exit_code == 0
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    output.write_text("mine\n")
    output.chmod(0o644)
    refused = command(monkeypatch, *arguments)
    assert refused.exit_code == 2
    assert (
        refused.stderr == f"error: `{output}` is there already; write another file with `--output`, or add `--force`\n"
    )
    assert output.read_text() == "mine\n"
    assert command(monkeypatch, *arguments, "--force").exit_code == 0
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    assert output.read_text().startswith("# Written by `ostiary import` ")
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_the_original_is_never_replaced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    original = tmp_path / "stack.yaml"
    original.write_text("distro_name: a\n")
    done = command(monkeypatch, "import", original, "-o", original, "--force")
    assert (done.exit_code, original.read_text()) == (2, "distro_name: a\n")
    assert "is the file that is imported" in done.stderr


@pytest.mark.parametrize("place", ["nowhere/config.yaml", "taken"])
def test_a_place_that_cannot_be_written_is_one_error(
    place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "taken").mkdir()
    done = command(monkeypatch, "import", FOLDER / "oci.yaml", "-o", tmp_path / place, "--force")
    assert done.exit_code == 2
    assert done.stderr.count("error: ") == 1
    assert done.stdout == ""


def test_secrets_are_written_and_never_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    original = tmp_path / "stack.yaml"
    original.write_text(
        f"""distro_name: a
providers:
  inference:
  - provider_id: open
    provider_type: remote::openai
    config: {{api_key: {SECRET}, token: {SECRET}, network: {{headers: {{X-Key: {SECRET}}}}}}}
  - provider_id: dark
    provider_type: remote::watsonx
    config: {{api_key: {SECRET}}}
  tool_runtime:
  - {{provider_id: web, provider_type: "remote::brave-search", config: {{api_key: {SECRET}}}}}
storage:
  backends:
    keys: {{type: kv_postgres, user: me, password: {SECRET}}}
    more: {{type: kv_mongodb, user: me, password: {SECRET}}}
server:
  port: {{password: {SECRET}}}
"""
    )
    for arguments in (("import", original), ("import", original, "--force", "--json"), ("run", "--check", original)):
        done = command(monkeypatch, *arguments)
        assert done.exit_code in (1, 2)
        assert SECRET not in done.output
    text = (tmp_path / "stack-ostiary.yaml").read_text()
    assert text.count(SECRET) == 3  # the key of `open`, the password of `keys`, and what is wrong with the port


def test_changes_can_be_read_by_programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done = command(monkeypatch, "import", FOLDER / "starter.yaml", "-o", tmp_path / "config.yaml", "--json")
    changes = [json.loads(line) for line in done.stdout.splitlines()]
    assert {"kind", "file", "line", "column", "message", "hint"} == changes[0].keys()
    assert {"kept", "moved", "ignored (harmless)", "replaced", "not served yet", "not served"} == {
        change["kind"] for change in changes
    }


HOSTILE = {
    "bomb": "a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\n"
    "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n",
    "long-bomb": f"a: &a {'x' * 800_000}\nb: [{', '.join(['*a'] * 50_000)}]\n",
    "deep": "a: " + "[" * 100_000 + "]" * 100_000,
    "deep-blocks": "".join(f"{' ' * level}a:\n" for level in range(2_000)),
    "no-yaml": "a: [}\n",
    "not-text": "\x00\x01\x02",
    "empty": "",
    "list": "- a\n",
    "recursive": "a: &a [*a]\n",
    "several": "a: 1\n---\nb: 2\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_one_error(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    original = tmp_path / "stack.yaml"
    original.write_text(HOSTILE[name])
    done = command(monkeypatch, "import", original)
    assert done.exit_code == 2
    assert len(re.findall(r"^\S+stack\.yaml:\d+:\d+: error: ", done.stderr, re.MULTILINE)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["stack.yaml"]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("nothing", "can't be read (No such file or directory)"),
        ("directory", "is not a regular file"),
        ("pipe", "is not a regular file"),
        ("large", "has more than 1048576 bytes"),
    ],
)
def test_what_is_no_small_file_is_one_error(
    kind: str, reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    original = tmp_path / "stack.yaml"
    if kind == "directory":
        original.mkdir()
    elif kind == "pipe":
        os.mkfifo(original)
    elif kind == "large":
        with original.open("wb") as file:
            file.truncate(50 * 1024 * 1024)
    done = command(monkeypatch, "import", original)
    assert (done.exit_code, done.stderr) == (2, f"{original}:1:1: error: the file {reason}\n")


@pytest.mark.parametrize("name", ["bomb", "long-bomb"])
def test_a_hostile_file_takes_little_memory(name: str, tmp_path: Path) -> None:
    original = tmp_path / "stack.yaml"
    original.write_text(HOSTILE[name])
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, "import", str(original)], capture_output=True, text=True, check=False
    )
    assert "error: " in done.stderr
    assert int(done.stdout) < MOST_MEMORY_KB


def test_a_start_says_that_the_file_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    path = FOLDER / "starter.yaml"
    done = command(monkeypatch, "run", "--check", path)
    assert done.exit_code == 2
    assert f"= `ostiary import {path}` writes one for this server, and explains each change" in done.stderr
    errors = re.findall(r"starter\.yaml:\d+:\d+: error: (.*)", done.stderr)
    assert len(errors) == len(set(errors))
    assert all(
        " is not available in this version" in error or " not served" in error or "provider" in error
        for error in errors
    )


def test_a_start_serves_what_is_all_harmless_or_moved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    original = tmp_path / "stack.yaml"
    original.write_text(
        """version: 2
image_name: small
container_image: null
apis: [files, inference]
providers:
  inference:
  - {provider_id: "${env.NOT_THERE:+far}", provider_type: "remote::ollama", config: {url: "${env.NOT_THERE_EITHER}"}}
  - {provider_id: "${env.NOT_THERE:=__disabled__}", provider_type: "remote::vllm", config: {url: "${env.NOR_THIS}"}}
  - {provider_id: echo, provider_type: "inline::echo"}
  files:
  - {provider_id: shelf, provider_type: "inline::localfs", config: {storage_dir: ./files}}
registered_resources:
  models:
  - {model_id: m, provider_id: echo, model_type: llm}
logging: {category_levels: {all: debug}}
server: {port: 8321}
"""
    )
    for arguments in (("run", "--check", original), ("run", "--check", "--config", original)):
        done = command(monkeypatch, *arguments)
        assert done.exit_code == 0, done.output
    told = re.findall(r"stack\.yaml:(\d+):\d+: warning: (.*)", done.stderr)
    assert [int(line) for line, _ in told] == [1, 2, 3, 11, 12, 15]


def test_one_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    path = FOLDER / "starter.yaml"
    for arguments in ((), (path, "--config", path)):
        done = command(monkeypatch, "run", "--check", *arguments)
        assert done.exit_code == 2
        assert "name one configuration file" in done.stderr
