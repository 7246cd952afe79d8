"""C1 of the specification, without the parts that this version lacks: `storage` and `stores` as printed, at work."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.application import ByToken
from tests.support.callers import ALICE, BOB
from tests.support.failing_provider import upstream
from tests.support.real_policy import Decided, decided

C1 = (Path(__file__).parents[2] / "unit" / "config" / "spec" / "c1.yaml").read_text(encoding="utf-8")
CHAT = {"model": "ollama/llama3.2", "messages": [{"role": "user", "content": "hi"}]}
MADE = {
    "/v1/conversations": {"items": [{"type": "message", "role": "user", "content": "hi"}]},
    "/v1/prompts": {"prompt": "say {{ what }}", "variables": ["what"]},
    "/v1/models": {"model_id": "mine", "provider_id": "ollama"},
    "/v1/shields": {"shield_id": "meta-llama/Llama-Guard-3-8B", "provider_id": "llama-guard"},
    "/v1/datasets": {"purpose": "eval/question-answer", "source": {"type": "rows", "rows": []}},
}


def test_c1_makes_its_directories_and_files_serves_and_goes_on_where_it_stopped(
    opa_binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with upstream() as ollama:
        environ = {"INFERENCE_MODEL": "llama3.2", "OLLAMA_URL": ollama.url}
        with decided(C1, opa_binary, tmp_path, authenticator=ByToken(), environ=environ) as house:
            answered = house.address.post("/v1/chat/completions", {**CHAT, "store": True}, ALICE)
            assert (answered.status, answered.json["model"]) == (200, "ollama/llama3.2")
            assert ollama.body["model"] == "llama3.2"
            made = {f"/v1/chat/completions/{answered.json['id']}": 200}
            for path, body in MADE.items():
                answer = house.address.post(path, body, ALICE)
                assert answer.status == 200, answer.body
                made[f"{path}/{answer.json.get('prompt_id') or answer.json['id']}"] = 200
        folder = tmp_path / "home" / ".llama" / "distributions" / "ollama"
        assert {*tables(folder / "sqlstore.db")} >= {"inference_store", "openai_conversations", "conversation_items"}
        assert {*tables(folder / "kvstore.db")} >= {"kv_prompts", "kv_registry_models", "kv_registry_shields"}
        with decided(C1, opa_binary, tmp_path, authenticator=ByToken(), environ=environ) as house:
            assert statuses(house, made, ALICE) == made
            assert statuses(house, made, BOB) == dict.fromkeys(made, 404)
            assert house.address.post("/v1/chat/completions", {**CHAT, "model": "mine"}, ALICE).status == 200
            assert house.address.post("/v1/chat/completions", {**CHAT, "model": "mine"}, BOB).status == 404
            assert house.address.post("/v1/chat/completions", CHAT, BOB).status == 200


def statuses(house: Decided, paths: dict[str, int], caller: str) -> dict[str, int]:
    return {path: house.address.get(path, caller).status for path in paths}


def tables(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
