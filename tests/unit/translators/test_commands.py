"""`ostiary policy …` as a person and a pipe use it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from policy.lints.paths import about_unserved

CONFIG = """\
models:
  - {model_id: llama, provider_id: echo}
server:
  auth:
    provider_config: {type: oauth2_token}
    route_policy:
      - permit: {paths: /v1/models}
    access_policy:
      - forbid:
          actions: [read]
          resource: model::echo/llama
        unless: user with ml in teams
        description: the llama is for ml
      - permit: {actions: [read], resource: "model::*"}
      - permit: {actions: [create, read], resource: "prompt::*"}
        when: user is owner
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return path


def ostiary(*arguments: str | Path, text: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "server.cli.main", "policy", *map(str, arguments)]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


def decided(config: Path, *questions: object) -> list[dict[str, object]]:
    done = ostiary("decide", config, text="".join(f"{json.dumps(question)}\n" for question in questions))
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_check_says_what_is_in_force(config: Path) -> None:
    done = ostiary("check", config)
    assert done.returncode == 0
    assert "3 access rules, 1 route rule; authentication is configured" in done.stdout


def test_check_shows_every_error_with_its_place_and_exits_with_2(config: Path) -> None:
    config.write_text(CONFIG.replace("actions: [read]", "actions: [reed]").replace("user is owner", "user is king"))
    done = ostiary("check", config)
    assert done.returncode == 2
    assert f"{config}:10:" in done.stderr
    assert f"{config}:16:" in done.stderr
    assert "Traceback" not in done.stderr


def test_strict_lets_a_warning_fail(config: Path) -> None:
    config.write_text(CONFIG.replace("model::*", "model::*-b"))
    assert ostiary("check", config).returncode == 0
    assert ostiary("check", config, "--strict").returncode == 1


def test_compile_writes_what_opa_can_test_and_says_whether_it_is_current(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert ostiary("compile", config, "-o", out).returncode == 0
    assert (out / "bundle.tar.gz").exists()
    assert ostiary("compile", config, "-o", out, "--check").returncode == 0
    config.write_text(CONFIG.replace("for ml", "for others"))
    stale = ostiary("compile", config, "-o", out, "--check")
    assert (stale.returncode, "rules_0000.rego" in stale.stderr) == (1, True)


def test_compile_does_not_touch_a_directory_of_something_else(config: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    done = ostiary("compile", config, "-o", tmp_path / "home")
    assert (done.returncode, [path.name for path in (tmp_path / "home").iterdir()]) == (2, ["letter.txt"])


def test_explain_names_the_rule_its_lines_and_why_others_did_not_apply(config: Path) -> None:
    done = ostiary("explain", config, "--as", "u", "--team", "ml", "--resource", "model::llama")
    assert "permit by access_policy[1] at config.yaml:14" in done.stdout
    assert 'access_policy[0] (config.yaml:9): "user with ml in teams" holds' in done.stdout
    denied = ostiary("explain", config, "--as", "u", "--resource", "model::llama")
    assert "deny by access_policy[0] at config.yaml:9: the rule forbids it" in denied.stdout
    assert "  12 |         unless: user with ml in teams" in denied.stdout
    assert "access_policy[1] (config.yaml:14) permit" in denied.stdout


def test_explain_answers_for_routes_and_for_no_caller(config: Path) -> None:
    done = ostiary("explain", config, "--anonymous", "--route", "GET /v1/models", "--json")
    answer = json.loads(done.stdout)
    assert (answer["effect"], answer["reason"]) == ("deny", "a valid token is required")


def test_explain_notes_that_there_is_no_such_route(config: Path) -> None:
    done = ostiary("explain", config, "--as", "u", "--route", "GET /v1/model", "--json")
    assert json.loads(done.stdout)["effect"] == "deny"
    assert done.stderr == "note: no route of this server matches `/v1/model`; did you mean `/v1/models`?\n"
    assert ostiary("explain", config, "--as", "u", "--route", "GET /v1/models/").stderr == ""


@pytest.mark.parametrize(
    ("method", "path", "sentence"),
    [
        ("GET", "/v1/models/a/b", ""),
        ("HEAD", "/v1/models", ""),
        ("GET", "/metrics", ""),
        ("GET", "/v1/embeddings", "no route of this server at `/v1/embeddings` takes GET; the routes there take POST"),
    ],
)
def test_what_is_said_of_a_route(method: str, path: str, sentence: str) -> None:
    assert about_unserved(method, path) == sentence


def test_decide_answers_each_line_in_order_and_goes_on_after_a_malformed_one(config: Path) -> None:
    owner = {"id": "u", "attributes": {}}
    model = {"type": "model", "id": "llama", "owner": None}
    prompt = {"type": "prompt", "id": "p", "owner": {"id": "v", "attributes": {}}}
    answers = decided(
        config,
        {"id": "a", "principal": owner, "action": "read", "resource": model},
        {"id": "b", "principal": owner, "action": "fly", "resource": model},
        {"id": "c", "principal": owner, "action": "create", "resource": {**prompt, "owner": None}},
        {"id": "d", "principal": owner, "action": "read", "resource": prompt},
        {"id": "e", "principal": owner, "route": {"method": "GET", "path": "/v1/models/"}},
        {"id": "f", "principal": {"id": "u", "attributes": {"teams": "ml"}}, "action": "read", "resource": model},
    )
    assert [answer.get("decision") for answer in answers] == ["deny", None, "permit", "deny", "permit", None]
    assert answers[0]["rule"] == "access_policy[0]"
    assert answers[0]["source"] == "config.yaml:9"
    assert answers[1]["error"] == "`action` is not one of create, read, update, delete"
    assert answers[5]["error"] == "`principal.attributes.teams` is not a list of strings"
    assert [answer["id"] for answer in answers] == list("abcdef")


def test_decide_on_a_config_that_does_not_load_exits_with_2(config: Path) -> None:
    config.write_text("server: {auth: {access_policy: []}}\n")
    done = ostiary("decide", config, text="{}\n")
    assert (done.returncode, done.stdout) == (2, "")
    assert "config.yaml:1:" in done.stderr
