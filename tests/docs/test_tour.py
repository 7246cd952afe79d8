"""The README's tour, run as it is written: a real server, a real OPA, a shell and the OpenAI SDK."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.patience import PATIENCE, START
from tests.support.ports import free_port

ROOT = Path(__file__).parent.parent.parent
PORT = "8321"
BLOCK = re.compile(r"<!-- tour(?P<kind>[^>]*) -->\n```(?:sh|python)\n(?P<code>.*?)```", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Tour:
    folder: Path
    environ: dict[str, str]
    port: int

    def shell(self, *blocks: str) -> str:
        code = "set -e\n" + "\n".join(blocks).replace(PORT, str(self.port))
        return self._run(["bash", "-c", code])

    def python(self, preparation: str, *blocks: str) -> str:
        (self.folder / "tour.py").write_text("\n".join(blocks).replace(PORT, str(self.port)))
        return self.shell(preparation, f"{sys.executable} tour.py")

    def _run(self, command: list[str]) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=START, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory, opa_binary: Path) -> Iterator[Tour]:
    """A checkout as the tour finds it, with the server that `make serve` starts in it."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "examples").symlink_to(ROOT / "examples")
    (folder / ".venv").symlink_to(Path(sys.executable).parent.parent)
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder / "home"), "OSTIARY_OPA": str(opa_binary)}
    port = free_port()
    server = subprocess.Popen(
        [".venv/bin/ostiary", "run", "examples/multi-tenant/config.yaml", "--port", str(port)],
        cwd=folder,
        env=environ,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stderr is not None
        said = ""
        deadline = time.monotonic() + START
        while "Try in another terminal" not in said:
            line = server.stderr.readline()
            assert line and time.monotonic() < deadline, f"the server ended or hung: {said}"
            said += line
        yield Tour(folder, environ, port)
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=PATIENCE) == 0
    finally:
        server.kill()
        server.communicate()


@pytest.fixture(scope="module")
def blocks() -> list[str]:
    text = (ROOT / "README.md").read_text()
    return [found["code"] for found in BLOCK.finditer(text) if not found["kind"]]


@pytest.fixture(scope="module")
def sdk_blocks() -> list[str]:
    return [found["code"] for found in BLOCK.finditer((ROOT / "README.md").read_text()) if found["kind"]]


def test_the_developers_answer_streams(tour: Tour, blocks: list[str]) -> None:
    lines = [line for line in tour.shell(blocks[0], blocks[1]).splitlines() if line]
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    assert lines[-1] == "data: [DONE]"
    assert len(chunks) > 2
    text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
    assert text == "echo: hello there"


def test_the_visitor_is_refused_by_the_route_policy(tour: Tour, blocks: list[str]) -> None:
    error = json.loads(tour.shell(blocks[0], blocks[2]))["error"]
    assert error["code"] == "insufficient_permissions"


def test_a_model_outside_the_rules_is_not_found(tour: Tour, blocks: list[str]) -> None:
    error = json.loads(tour.shell(blocks[0], blocks[3]))["error"]
    assert error["code"] == "model_not_found"


def test_each_sees_their_own_list(tour: Tour, blocks: list[str]) -> None:
    lists = tour.shell(blocks[0], blocks[4].replace("curl -s", "curl -sw '\\n'")).splitlines()
    developer, visitor = ({model["id"] for model in json.loads(line)["data"]} for line in lists)
    assert developer == {"echo/llama-3-2-3b", "echo/mistral-7b", "echo/assistant", "wordllama/wordllama-256"}
    assert visitor == {"echo/assistant", "wordllama/wordllama-256"}


def test_texts_have_embeddings(tour: Tour, blocks: list[str]) -> None:
    made = json.loads(tour.shell(blocks[0], blocks[5]))
    assert [len(each["embedding"]) for each in made["data"]] == [256, 256]


def test_the_log_names_rule_place_description_and_revision(tour: Tour, blocks: list[str]) -> None:
    tour.shell(blocks[0], blocks[3])
    deadline = time.monotonic() + PATIENCE
    denied: list[dict[str, str]] = []
    while not denied and time.monotonic() < deadline:
        records = [json.loads(line) for line in tour.shell(blocks[6]).splitlines()]
        denied = [record for record in records if record.get("resource") == "model::echo/research-preview"]
    lines = (ROOT / "examples/multi-tenant/config.yaml").read_text().splitlines()
    place = next(number for number, line in enumerate(lines, 1) if line.strip() == "- forbid:")
    (record,) = denied[-1:]
    assert record["effect"] == "deny"
    assert record["rule"] == "access_policy[0]"
    assert record["source"] == f"config.yaml:{place}"
    assert record["description"] == "research models are for the research team"
    assert re.fullmatch(r"[0-9a-f]{16}", record["revision"])


def test_explain_says_why(tour: Tour, blocks: list[str]) -> None:
    said = tour.shell(blocks[0], blocks[7])
    assert said.startswith("deny by access_policy[0] at config.yaml:")
    assert "unless: user with research in teams" in said


def test_the_openai_sdk_works(tour: Tour, blocks: list[str], sdk_blocks: list[str]) -> None:
    said = tour.python(blocks[0], sdk_blocks[0])
    assert "echo/mistral-7b" in said
    assert "echo: hello from the SDK" in said
    assert "['notes.txt']" in said
    assert "echo: remember this" in said


def test_documents_are_found_by_their_owner_alone(tour: Tour, blocks: list[str], sdk_blocks: list[str]) -> None:
    said = tour.python(blocks[0], sdk_blocks[0], "print('the search:')", sdk_blocks[1]).partition("the search:\n")[2]
    assert said.splitlines() == [
        "garden.txt completed",
        "tea.txt completed",
        "garden.txt The red door leads to the garden.",
        "['handbook']",
    ]


def test_the_handbook_is_filled_by_an_admin_and_found_by_everyone(tour: Tour, blocks: list[str]) -> None:
    filled = blocks[8].replace("curl -s", "curl -sw '\\n'")
    refused, before = tour.shell(blocks[0], filled.replace("Bearer $ADMIN", "Bearer $DEVELOPER")).splitlines()
    assert json.loads(refused)["error"]["code"] == "insufficient_permissions"
    assert json.loads(before)["data"] == []
    inserted, found = tour.shell(blocks[0], filled).splitlines()
    assert inserted == "null"
    assert [each["content"][0]["text"] for each in json.loads(found)["data"]] == ["Holidays are asked for on form 7."]


def test_a_response_goes_on_from_another_and_fills_a_conversation(
    tour: Tour, blocks: list[str], sdk_blocks: list[str]
) -> None:
    said = tour.python(blocks[0], sdk_blocks[0], "print('agents:')", sdk_blocks[2]).partition("agents:\n")[2]
    assert said.splitlines() == ["echo: what is my name?", "3 items were asked about", "['user', 'assistant']"]


def test_a_file_of_requests_is_answered_line_by_line(tour: Tour, blocks: list[str]) -> None:
    told = tour.shell(blocks[0], blocks[9]).splitlines()
    assert told[-3] == "completed: 1 of 2 lines are answered, 1 is not"
    answered, refused = map(json.loads, told[-2:])
    assert (answered["custom_id"], answered["response"]["body"]["choices"][0]["message"]["content"]) == (
        "one",
        "echo: later",
    )
    error = refused["response"]["body"]["error"]
    assert (refused["custom_id"], error["code"]) == ("two", "model_not_found")


def test_no_block_of_the_tour_goes_untested(blocks: list[str], sdk_blocks: list[str]) -> None:
    assert (len(blocks), len(sdk_blocks)) == (10, 3)
