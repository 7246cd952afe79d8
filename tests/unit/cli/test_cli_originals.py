"""Commands that read a configuration of Llama Stack as `ostiary run` does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.imports import FOLDER, command

ORIGINAL = """\
version: 2
image_name: small
providers:
  inference:
  - {provider_id: echo, provider_type: "inline::echo"}
registered_resources:
  models:
  - {model_id: small, provider_id: echo, provider_model_id: tiny, model_type: llm}
server:
  auth:
    provider_type: custom
    config: {endpoint: "https://identity.example/check"}
    access_policy:
    - permit: {principal: ann, actions: [read], resource: "model::small"}
    - forbid: {principal: bob, actions: [read], resource: "model::small"}
"""
QUESTION = ("--action", "read", "--resource", "model::echo/tiny")


@pytest.fixture
def original(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opa_binary: Path) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("OSTIARY_OPA", str(opa_binary))
    path = tmp_path / "stack.yaml"
    path.write_text(ORIGINAL)
    return path


def test_the_check_says_what_is_in_force_and_each_change(monkeypatch: pytest.MonkeyPatch, original: Path) -> None:
    done = command(monkeypatch, "policy", "check", original)
    assert done.exit_code == 0, done.output
    assert "2 access rules, no route policy; authentication is configured" in done.stdout
    assert f"= `ostiary import {original}` writes one for this server, and explains each change" in done.stderr
    assert "moved: the lists under `registered_resources` stand at the top" in done.stderr
    strict = command(monkeypatch, "policy", "check", original, "--strict")
    assert strict.exit_code == 1


def test_questions_are_answered_for_the_models_of_the_original(monkeypatch: pytest.MonkeyPatch, original: Path) -> None:
    for name, decision in (("ann", "permit"), ("bob", "deny"), ("eve", "deny")):
        done = command(monkeypatch, "policy", "explain", original, "--as", name, *QUESTION)
        assert done.exit_code == 0, done.output
        assert done.stdout.startswith(decision)
    table = command(monkeypatch, "policy", "matrix", original, "--json")
    assert table.exit_code == 0, table.output


def test_what_is_compiled_is_what_a_start_compiles(
    monkeypatch: pytest.MonkeyPatch, original: Path, tmp_path: Path
) -> None:
    started = command(monkeypatch, "run", "--check", original)
    made = command(monkeypatch, "policy", "compile", original, "-o", tmp_path / "bundle")
    assert made.exit_code == started.exit_code == 0, made.output
    assert made.stdout.split("revision ")[1].split(",")[0] == started.stdout.split("revision ")[1].strip()


def test_cases_are_put_about_the_models_of_the_original(
    monkeypatch: pytest.MonkeyPatch, original: Path, tmp_path: Path
) -> None:
    cases = tmp_path / "cases.yaml"
    asked = "principal: {id: bob}, action: read, resource: 'model::echo/tiny'"
    cases.write_text(f"cases: [{{id: by another name, {asked}, decision: deny, rule: 'access_policy[1]'}}]\n")
    done = command(monkeypatch, "policy", "test", original, cases)
    assert done.exit_code == 0, done.output


def test_what_no_start_serves_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    path = FOLDER / "starter.yaml"
    for arguments in (("policy", "check", path), ("policy", "matrix", path), ("usage", path), ("quota", "show", path)):
        done = command(monkeypatch, *arguments, *(("--principal", "a") if arguments[0] == "quota" else ()))
        assert done.exit_code == 2
        assert f"`ostiary import {path}`" in done.stderr
        assert "`file_processors` is not served" in done.stderr


def test_usage_is_looked_for_where_a_start_would_keep_it(monkeypatch: pytest.MonkeyPatch, original: Path) -> None:
    done = command(monkeypatch, "usage", original, OSTIARY_HOME=str(original.parent / "nothing"))
    assert done.exit_code == 2
    assert done.stderr.startswith("error: no server has kept anything in `")
