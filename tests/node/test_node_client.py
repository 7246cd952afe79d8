"""The real OpenAI client for Node against `ostiary run`: what app developers see who write JavaScript."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from server.authn.key_store import KeyStore
from tests.support.ostiary_run import environment, running, written
from tests.support.patience import START

HERE = Path(__file__).parent
NODE = shutil.which("node")

CONFIG = """\
version: 2
apis: [inference]
providers:
  inference:
    - {provider_id: echo, provider_type: inline::echo}
models:
  - {model_id: m, provider_id: echo}
server:
  decision_log: LOG
  auth:
    provider_config: {type: api_key, db_path: KEYS}
"""
"""No `access_policy`: what somebody makes belongs to its maker alone."""


@pytest.mark.skipif(
    NODE is None or not (HERE / "node_modules" / "openai").is_dir(),
    reason="Node or the OpenAI client for it is not here; `make node` installs the client and runs this",
)
def test_the_client_for_node_keeps_files_conversations_and_chats_for_their_owner(
    opa_binary: Path, tmp_path: Path
) -> None:
    keys = KeyStore(tmp_path / "keys.db")
    config = written(tmp_path, CONFIG.replace("KEYS", str(tmp_path / "keys.db")))
    with running(config, environment(tmp_path, opa_binary)) as server:
        names = {name: keys.create(name.lower(), {}, None) for name in ("ALICE", "BOB")}
        environ = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path), "SERVER": server.address, **names}
        done = subprocess.run(
            [str(NODE), "client.mjs"], cwd=HERE, env=environ, capture_output=True, text=True, timeout=START, check=False
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["files", "conversations", "chats", "stream"]
