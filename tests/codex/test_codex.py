"""The Codex CLI against `ostiary run`, without a network: a task with tools, and the same thread gone on with."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from json import dumps, loads
from pathlib import Path
from typing import Any

import pytest

from server.authn.key_store import KeyStore
from tests.support.ostiary_run import environment, running, written

CODEX = Path(__file__).parent / "node_modules" / ".bin" / "codex"
CONFIG = """\
version: 2
apis: [inference, agents]
providers:
  inference:
    - {provider_id: echo, provider_type: inline::echo}
models:
  - {model_id: agent, provider_id: echo, aliases: [scripted]}
server:
  decision_log: LOG
  auth:
    provider_config: {type: api_key, db_path: KEYS}
"""
OWN = """\
model = "scripted"
model_provider = "local"
approval_policy = "never"
sandbox_mode = "danger-full-access"
[model_providers.local]
name = "local"
base_url = "SERVER/v1"
env_key = "OSTIARY_KEY"
wire_api = "responses"
"""


@dataclass(frozen=True, slots=True)
class Codex:
    """The agent at work in a folder."""

    folder: Path
    environ: dict[str, str]

    def does(self, *command: str, script: Any) -> list[Any]:
        """What the agent tells of a task, for which the model's answers are scripted."""
        done = subprocess.run(
            [CODEX, "exec", *command, "--skip-git-repo-check", "--json", dumps({"echo": script})],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return [loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.fixture
def codex(opa_binary: Path, tmp_path: Path) -> Iterator[Codex]:
    keys = KeyStore(tmp_path / "keys.db")
    config = written(tmp_path, CONFIG.replace("KEYS", str(tmp_path / "keys.db")))
    folder, home = tmp_path / "work", tmp_path / "codex"
    folder.mkdir()
    home.mkdir()
    with running(config, environment(tmp_path, opa_binary)) as server:
        (home / "config.toml").write_text(OWN.replace("SERVER", server.address))
        alone = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "CODEX_HOME": str(home)}
        yield Codex(folder, {**alone, "OSTIARY_KEY": keys.create("alice", {}, None)})


def ran(command: str, then: Any) -> Any:
    """An answer that calls the agent's shell, and the one after that."""
    call = {"name": "exec_command", "arguments": {"cmd": command}}
    return {"reasoning": "let me see", "tool_calls": [call], "then": then}


@pytest.mark.skipif(not CODEX.exists(), reason="the Codex CLI is not here; `make codex` installs it and runs this")
def test_codex_does_a_task_and_goes_on_with_it(codex: Codex) -> None:
    told = codex.does(script=ran("printf hello > made.txt", ran("cat made.txt", {"content": "all done"})))
    items = [event["item"] for event in told if event["type"] == "item.completed"]
    outputs = [item["aggregated_output"] for item in items if item["type"] == "command_execution"]
    assert ((codex.folder / "made.txt").read_text(), outputs) == ("hello", ["", "hello"])
    assert items[-1]["text"] == "all done" and told[-1]["type"] == "turn.completed"
    # It sends the whole thread again, with the sealed reasoning of the model in it.
    more = codex.does("resume", "--last", script=ran("cat made.txt", {"content": "still there"}))
    assert [event["item"].get("text") for event in more if event["type"] == "item.completed"][-1] == "still there"
    assert more[0]["thread_id"] == told[0]["thread_id"]
