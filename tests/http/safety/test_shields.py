"""`/v1/shields`: those of the configuration, and those that callers register and use."""

from __future__ import annotations

import logging
from pathlib import Path
from secrets import token_hex

import pytest

from tests.support.callers import ADMIN, ALICE, BOB
from tests.support.safety_server import CONFIG, Guarded, guarded, said

WORDS = {"provider_id": "words", "params": {"words": ["heron"]}}


def registered(server: Guarded, caller: str = ALICE, **more: object) -> str:
    name = f"s-{token_hex(4)}"
    answer = server.post("/v1/shields", {"shield_id": name, **more}, caller)
    assert answer.status == 200, answer.body
    return name


def test_shields_of_the_configuration_are_listed_for_those_who_may_read_them(server: Guarded) -> None:
    listed = server.house.address.get("/v1/shields", ALICE).json["data"]
    names = [shield["identifier"] for shield in listed]
    assert {"guard", "guards/meta-llama/Meta-Llama-Guard-2-8B", "aws", "words"} <= {*names}
    assert "hidden" not in names
    shown = server.house.address.get("/v1/shields/aws", BOB).json
    assert (shown["provider_id"], shown["provider_resource_id"], shown["params"]) == (
        "aws",
        "abc123",
        {"guardrailVersion": 3},
    )
    assert (shown["type"], shown["identifier"]) == ("shield", "aws")


def test_a_shield_of_the_configuration_is_neither_removed_nor_replaced(server: Guarded) -> None:
    answer = server.house.address.ask("DELETE", "/v1/shields/guard", ADMIN)
    assert (answer.status, answer.error["code"]) == (409, "defined_by_configuration")
    assert server.house.address.ask("DELETE", "/v1/shields/guard", ALICE).status == 403
    assert server.post("/v1/shields", {"shield_id": "guard", **WORDS}, ALICE).status == 409


def test_a_registered_shield_is_its_owners(server: Guarded) -> None:
    name = registered(server, **WORDS)
    assert server.violation(name, said("a heron"))
    assert server.violation(name, said("a crane")) is None
    assert server.run(name, said("a heron"), caller=BOB).status == 404
    assert server.house.address.ask("DELETE", f"/v1/shields/{name}", ALICE).status == 200
    assert server.run(name, said("a heron")).status == 404


def test_a_registered_shield_opens_no_model(server: Guarded) -> None:
    model = {"provider_id": "llama-guard", "provider_shield_id": "meta-llama/Llama-Guard-3-8B"}
    mine, admins = registered(server, **model), registered(server, ADMIN, **model)
    answer = server.run(mine, said("hello"))
    assert (answer.status, answer.error["code"]) == (404, "model_not_found"), "its owner may not read the model"
    assert server.judge.asked == []
    assert server.run(admins, said("kill it"), caller=ADMIN).json["violation"]


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"provider_id": "words"}, "params.words"),
        ({"provider_id": "words", "params": {"word": ["a"]}}, "params.word"),
        ({"provider_id": "llama-guard", "params": {"taxonomy": "llama-guard-9"}}, "params.taxonomy"),
        ({"provider_id": "llama-guard", "params": {"excluded_categories": ["S99"]}}, "params.excluded_categories"),
        ({"provider_id": "aws", "params": {"guardrailVersion": "1"}}, "params.provider_shield_id"),
        ({"provider_id": "aws", "provider_shield_id": "abc"}, "params.guardrailVersion"),
        ({"provider_id": "words", "params": {"words": ["a"], "timeout": 0}}, "params.timeout"),
    ],
)
def test_params_that_no_shield_can_have_are_refused(server: Guarded, more: dict[str, object], param: str) -> None:
    answer = server.post("/v1/shields", {"shield_id": "Odd Shield", **more})
    assert (answer.status, answer.error["param"]) == (400, param), answer.body


def test_a_shield_of_an_unknown_provider_is_kept_and_can_not_be_used(server: Guarded) -> None:
    name = registered(server, provider_id="elsewhere")
    answer = server.run(name, said("hello"))
    assert (answer.status, answer.error["param"]) == (400, "provider_id")


def test_a_request_that_names_no_shield_is_told_those_that_may_be_read(opa_binary: Path, tmp_path: Path) -> None:
    text = CONFIG.replace("    safety: {default_shield_id: guard}\n", "")
    with guarded(opa_binary, tmp_path, text=text) as server:
        answer = server.post("/v1/moderations", {"input": "hi"})
        assert (answer.status, answer.error["param"]) == (400, "model")
        assert "`guard`" in answer.error["message"]
        assert "hidden" not in answer.error["message"]


def test_the_configuration_wins_over_what_was_registered_before(
    opa_binary: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with guarded(opa_binary, tmp_path) as server:
        assert server.post("/v1/shields", {"shield_id": "later", **WORDS}).status == 200
    text = CONFIG.replace("shield_id: hidden", "shield_id: later")
    with caplog.at_level(logging.WARNING, logger="ostiary.safety"), guarded(opa_binary, tmp_path, text=text) as server:
        assert "the shield `later` that a caller has registered gives way" in caplog.text
        assert server.violation("later", said("a heron")) is None
        assert server.run("later", said("a secret"), caller=BOB).json["violation"]
        assert server.run("hidden", said("a secret"), caller=ADMIN).status == 404, "it has left the configuration"
        assert "hidden" not in str(server.house.address.get("/v1/shields", ADMIN).json)
