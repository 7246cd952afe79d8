"""Entries of the registry, models and prompts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bench.neighbours.messages import chat, post, request
from bench.neighbours.scenario import Scenario, Script, Stage
from bench.neighbours.scenarios.attacks import PATHS, get, numbered, prepared, repeated

_DATASETS: Final = "/v1/datasets"
_SOURCE: Final = {"type": "rows", "rows": [{"question": "1" * 7000, "answer": "2" * 7000}]}
_KB: Final = 1024


def _entry(token: str, name: str) -> bytes:
    body = {"dataset_id": name, "purpose": "eval/question-answer", "source": _SOURCE}
    return post(_DATASETS, token, body)


def _entries(stage: Stage) -> Mapping[str, Any]:
    for index in range(200):
        stage.ask(_entry(stage.token, f"dataset-{index}"))
    return {PATHS: [_DATASETS]}


def _models(stage: Stage) -> Mapping[str, Any]:
    for index in range(200):
        stage.ask(_model(stage.token, f"greedy-{index}"))
    return {}


def _dense_models(stage: Stage) -> Mapping[str, Any]:
    for index in range(200):
        body = {"model_id": f"dense-{index}", "provider_id": "bench", "metadata": {"a": [[]] * 4000}}
        stage.ask(post("/v1/models", stage.token, body))
    return {}


def _model(token: str, name: str) -> bytes:
    return post("/v1/models", token, {"model_id": name, "provider_id": "bench", "metadata": {"a": "x" * 1000}})


def _prompts(stage: Stage) -> Mapping[str, Any]:
    """Make a prompt of many long versions."""
    made = stage.ask(post("/v1/prompts", stage.token, _wording(1)))
    path = f"/v1/prompts/{made['prompt_id']}"
    for version in range(1, 60):
        body = post(path, stage.token, {**_wording(version), "version": version})
        stage.ask(body.replace(b"POST", b"PUT", 1))
    return {PATHS: [f"{path}/versions"]}


def _many_prompts(stage: Stage) -> Mapping[str, Any]:
    for number in range(60):
        stage.ask(post("/v1/prompts", stage.token, _wording(number)))
    return {}


def _wording(number: int) -> dict[str, Any]:
    return {"prompt": f"{number} " + "x" * 60 * _KB, "variables": []}


def _new_prompt(script: Script) -> bytes:
    return post("/v1/prompts", script.token, _wording(0))


def _unknown_model(script: Script) -> bytes:
    return chat(script.token, "x" * 2000)


def _dense_entry(script: Script) -> bytes:
    body = b'{"shield_id": "a", "params": {"a": [' + b"[]," * 5000 + b"0]}}"
    return request("POST", "/v1/shields", script.token, body)


SCENARIOS: Final = [
    Scenario("new entries", numbered(lambda script, text: _entry(script.token, f"new-{text}")), kept=True),
    Scenario("new models", numbered(lambda script, text: _model(script.token, f"new-{text}")), kept=True),
    Scenario("the same dense entry", repeated(_dense_entry)),
    Scenario("pages of entries", repeated(prepared), _entries, kept=True),
    Scenario("pages of models", repeated(get("/v1/models")), _models, kept=True),
    Scenario("pages of dense models", repeated(get("/v1/models")), _dense_models, kept=True),
    Scenario("new prompts", repeated(_new_prompt), kept=True),
    Scenario("pages of versions", repeated(prepared), _prompts, kept=True),
    Scenario("pages of prompts", repeated(get("/v1/prompts")), _many_prompts, kept=True),
    Scenario("unknown models", repeated(_unknown_model)),
]
