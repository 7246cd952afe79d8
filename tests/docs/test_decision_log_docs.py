"""The questions of docs/operate/decision-log.md, asked of the log of a real server."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import httpx
import pytest
from jsonschema import Draft202012Validator

from tests.support.ostiary_run import OPEN, environment, eventually, running, written
from tests.support.patience import PATIENCE

PAGE = Path(__file__).parents[2] / "docs" / "operate" / "decision-log.md"
ASKED = re.compile(r"<!-- asked(?P<kind>[^>]*) -->\n```sh\n(?P<code>.*?)```", re.DOTALL)

CONFIG = (
    OPEN
    + """\
  opa: {decision_log: true}
  auth:
    provider_config:
      type: oauth2_token
      audience: ostiary
      issuer: ostiary-development
      jwks: {uri: "file://${env.OSTIARY_HOME}/development-jwks.json"}
    route_policy:
      - forbid: {paths: /v1/providers}
      - permit: {paths: "/v1/*"}
"""
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, opa_binary: Path) -> Path:
    """A folder with the log of a server that permitted and refused, and what it said."""
    if shutil.which("jq") is None:
        pytest.skip("the page needs jq, and this machine has none")
    folder = tmp_path_factory.mktemp("asked")
    environ = environment(folder, opa_binary) | {"OSTIARY_HOME": str(folder / "home")}
    with running(written(folder, CONFIG), environ) as server:
        made = subprocess.run(
            [*server.process.args[:3], "token", "--subject", "ann"],  # type: ignore[index]
            env=environ,
            capture_output=True,
            text=True,
            check=True,
        )
        headers = {"Authorization": f"Bearer {made.stdout.strip()}"}
        statuses = [
            httpx.get(f"{server.address}{path}", headers=headers, timeout=PATIENCE).status_code
            for path in ("/v1/models", "/v1/providers", "/v1/models/m")
        ]
        assert statuses == [200, 403, 200]
        server.signal(signal.SIGTERM)
        assert eventually(lambda: server.process.poll() is not None)
    (folder / "server.err").write_text(server.banner)
    return folder


@pytest.mark.parametrize("block", ASKED.findall(PAGE.read_text()), ids=lambda block: block[1].split("'")[1][:30])
def test_a_question_is_answered(block: tuple[str, str], folder: Path) -> None:
    kind, code = block
    refused = next(record for record in records(folder) if record["effect"] == "deny")
    done = subprocess.run(
        ["/bin/bash", "-c", f"set -e -o pipefail\n{code}"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "ID": refused["decision_id"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout or "may be empty" in kind


def test_the_table_names_every_member_of_a_line_and_their_order(folder: Path) -> None:
    table = PAGE.read_text().split("## A line")[1].split("## Questions")[0]
    named = [name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)]
    for record in records(folder):
        assert list(record) == [name for name in named if name in record]


def test_the_refusal_is_explained_by_its_decision_id(folder: Path) -> None:
    refused = [record for record in records(folder) if record["effect"] == "deny"]
    assert [(record["principal"], record["route"], record["rule"]) for record in refused] == [
        ("ann", "GET /v1/providers", "route_policy[0]")
    ]


def test_every_line_is_as_the_schema_says(folder: Path) -> None:
    validator = Draft202012Validator(json.loads(PAGE.with_name("decision-log.schema.json").read_text()))
    for record in records(folder):
        validator.validate(record)


def records(folder: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (folder / "decisions.jsonl").read_text().splitlines()]
