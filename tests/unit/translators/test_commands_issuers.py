"""`explain`, `decide`, `test`, `matrix` and `token` where several issuers vouch for callers."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import ROOT, ostiary

OWN, PARTNER = "https://own.example", "https://partner.example"
CONFIG = f"""\
version: 2
models: [{{model_id: a, provider_id: p}}]
storage: {{stores: {{files: {{backend: sql, table_name: my_files}}}}}}
server:
  auth:
    provider_config:
      type: oauth2_token
      issuers:
        - {{issuer: "{OWN}", audience: a, jwks: {{uri: "{OWN}/keys"}}}}
        - {{issuer: "{PARTNER}", audience: a, jwks: {{uri: "{PARTNER}/keys"}}}}
    access_policy:
      - permit: {{principal: ann, issuer: "{OWN}", actions: read, resource: "model::*"}}
      - forbid: {{issuer: "{PARTNER}", actions: read, resource: "prompt::*"}}
      - permit: {{actions: read, resource: "prompt::*"}}
        when: user with dev in roles
      - permit: {{actions: [read], resource: "sql_record::my_files"}}
        when: user is owner
"""
ONE = CONFIG.replace(f'        - {{issuer: "{PARTNER}", audience: a, jwks: {{uri: "{PARTNER}/keys"}}}}\n', "").replace(
    f'      - forbid: {{issuer: "{PARTNER}", actions: read, resource: "prompt::*"}}\n', ""
)
MODEL = ("--resource", "model::a")
FILE = ("--resource", "sql_record::openai_files::x")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return path


def explained(config: Path, *arguments: str) -> dict[str, Any]:
    done = ostiary("explain", config, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def refused(config: Path, *arguments: str) -> str:
    done = ostiary("explain", config, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr.strip()


def test_explain_asks_for_the_caller_of_an_issuer(config: Path) -> None:
    assert explained(config, "--as", "ann", "--issuer", OWN, *MODEL)["effect"] == "permit"
    partner = explained(config, "--as", "ann", "--issuer", PARTNER, *MODEL)
    assert partner["effect"] == "deny"
    assert partner["did_not_apply"][0]["failed"] == [[f'issuer is "{OWN}"']]
    assert explained(config, "--anonymous", *MODEL)["effect"] == "deny"


def test_explain_wants_to_know_the_issuer(config: Path) -> None:
    assert refused(config, "--as", "ann", *MODEL) == (
        "error: `principal` is another principal with each of the configured issuers; "
        f"name its issuer, use one of `{OWN}`, `{PARTNER}`"
    )
    assert refused(config, "--as", "ann", "--issuer", f"{OWN}/", *MODEL) == (
        f"error: no issuer is called `{OWN}/`; did you mean `{OWN}`?"
    )
    assert "vouches for an anonymous caller" in refused(config, "--anonymous", "--issuer", OWN, *MODEL)
    assert "--owner-issuer needs an owner" in refused(
        config, "--as", "a", "--issuer", OWN, "--owner-issuer", OWN, *FILE
    )


def test_an_owner_is_of_the_callers_issuer_unless_another_is_named(config: Path) -> None:
    asking = ("--as", "ann", "--issuer", OWN, *FILE, "--owner", "ann")
    assert explained(config, *asking)["effect"] == "permit"
    assert explained(config, *asking, "--owner-issuer", PARTNER)["effect"] == "deny"
    assert explained(config, *asking, "--owner-issuer", "https://gone.example")["effect"] == "deny"


def test_with_one_issuer_it_is_the_one_that_is_meant(config: Path) -> None:
    config.write_text(ONE)
    assert explained(config, "--as", "ann", *MODEL)["effect"] == "permit"
    assert explained(config, "--as", "ann", *FILE, "--owner", "ann")["effect"] == "permit"


def test_decide_takes_the_issuer_of_a_question_or_that_of_the_command(config: Path) -> None:
    resource = {"type": "model", "id": "a", "owner": None}
    callers = [{"id": "ann"}, {"id": "ann", "issuer": PARTNER}, {"id": "ann", "issuer": OWN}, None]
    asked = [{"id": i, "principal": who, "action": "read", "resource": resource} for i, who in enumerate(callers)]
    text = "".join(json.dumps(one) + "\n" for one in asked)

    def decisions(*options: str) -> list[str]:
        done = ostiary("decide", config, *options, text=text)
        assert done.returncode == 0, done.stderr
        replies = map(json.loads, done.stdout.splitlines())
        return [reply.get("decision") or reply["error"].partition(";")[0] for reply in replies]

    unclear = "`principal` is another principal with each of the configured issuers"
    assert decisions() == [unclear, "deny", "permit", "deny"]
    assert decisions("--issuer", OWN) == ["permit", "deny", "permit", "deny"]
    assert decisions("--issuer", PARTNER) == ["deny", "deny", "permit", "deny"]
    assert ostiary("decide", config, "--issuer", "https://else.example", text=text).returncode == 2


def test_cases_name_the_issuers_of_principals(config: Path, tmp_path: Path) -> None:
    cases = tmp_path / "cases.yaml"
    head = "principals: {ann: {id: ann, issuer: ISSUER}, nobody-knows: {id: ann}}\ncases:\n"
    case = '  - {id: one, principal: WHO, action: read, resource: "model::a", decision: permit}\n'
    cases.write_text((head + case).replace("ISSUER", OWN).replace("WHO", "ann"))
    assert ostiary("test", config, cases).returncode == 0
    cases.write_text((head + case).replace("ISSUER", PARTNER).replace("WHO", "ann"))
    assert ostiary("test", config, cases).returncode == 1
    cases.write_text((head + case).replace("ISSUER", OWN).replace("WHO", "nobody-knows"))
    done = ostiary("test", config, cases)
    assert (done.returncode, "is another principal" in done.stderr) == (2, True)


def test_the_matrix_tells_issuers_apart(config: Path) -> None:
    def rows(*options: str) -> dict[tuple[str, str], str]:
        done = ostiary("matrix", config, "--json", *options)
        assert done.returncode == 0, done.stderr
        entries = json.loads(done.stdout)["decisions"]
        return {
            (entry["caller"], entry["pattern"]): entry["decision"]
            for entry in entries
            if entry["verb"] == "read" and entry["owner"] == "config"
        }

    shown = rows()
    assert shown[f"principal ann of {OWN}", "model::*"] == "permit"
    assert shown[f"any authenticated user of {PARTNER}", "model::*"] == "deny"
    assert shown[f"user with dev in roles of {OWN}", "prompt::*"] == "permit"
    assert shown[f"user with dev in roles of {PARTNER}", "prompt::*"] == "deny"
    assert (f"principal ann of {PARTNER}", "model::*") not in shown
    assert {caller for caller, _ in rows("--issuer", PARTNER)} == {
        "anonymous",
        f"any authenticated user of {PARTNER}",
        f"user with dev in roles of {PARTNER}",
    }
    assert ostiary("matrix", config, "--issuer", "https://else.example").returncode == 2


def test_a_development_token_says_who_vouches_for_it(tmp_path: Path) -> None:
    def claims(*options: str) -> dict[str, Any]:
        command = [sys.executable, "-m", "server.cli.main", "token", "--subject", "ann", *options]
        environ = {**os.environ, "OSTIARY_HOME": str(tmp_path / "home")}
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=environ)
        body = done.stdout.split(".")[1]
        found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        return found

    assert claims()["iss"] == "ostiary-development"
    assert claims("--issuer", PARTNER)["iss"] == PARTNER


def test_a_table_is_asked_about_by_either_of_its_names(config: Path) -> None:
    for table in ("openai_files", "my_files"):
        asking = ("--as", "ann", "--issuer", OWN, "--resource", f"sql_record::{table}::x")
        assert explained(config, *asking, "--owner", "ann")["rule"] == "access_policy[3]"
