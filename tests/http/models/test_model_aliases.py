"""Further names of models: requests and rules know them, and a name that is taken is nobody else's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.callers import ADMIN, ALICE, BOB, READER, bearer
from tests.support.registry_server import CONFIG, POLICY, Registry, at_once, registry, without_names
from tests.support.serving import request_of

MODELS = (
    "[{model_id: open, provider_id: echo, provider_model_id: open-1, aliases: [gpt-4o, plain]}, "
    "{model_id: secret, provider_id: inner}, {model_id: kept, provider_id: inner, aliases: [vault]}]"
)
RULES = (
    """
        - forbid: {actions: [read], resource: "model::vault"}
          unless: user with admin in roles
        - forbid: {actions: [read], resource: "regex:model::.*-hidden$"}"""
    + POLICY
)


@pytest.fixture(scope="module")
def kept(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory, postgres: str | None) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("aliases")
    with registry(opa_binary, folder, postgres, models=MODELS, policy=RULES) as running:
        yield running


def test_an_alias_of_the_configuration_leads_to_its_model(kept: Registry) -> None:
    for name in ("gpt-4o", "plain", "open", "echo/open-1"):
        assert kept.chat(name).json["model"] == "echo/open-1"
        assert kept.get("model", name).json["id"] == "echo/open-1"
    assert kept.chat("gpt-4").status == kept.chat("echo/gpt-4o").status == 404


def test_a_rule_about_an_alias_is_about_the_model(kept: Registry) -> None:
    for name in ("vault", "kept", "inner/kept"):
        hidden = kept.chat(name)
        assert without_names(hidden, name) == without_names(kept.chat("nothing"), "nothing")
        assert kept.chat(name, ADMIN).status == 200
    assert "inner/kept" not in kept.listed("model")
    assert "inner/kept" in kept.listed("model", ADMIN)


def test_a_registered_model_answers_to_its_aliases_too(kept: Registry) -> None:
    made = kept.register("model", "mine", aliases=["my-own", "team/mine"], provider_model_id="mine-1")
    assert made.status == 200
    for name in ("mine", "my-own", "team/mine", "echo/mine-1"):
        assert kept.chat(name).json["model"] == "echo/mine-1"
        assert without_names(kept.chat(name, BOB), name) == without_names(kept.chat("nothing", BOB), "nothing")
    assert kept.get("model", "my-own", method="DELETE").json["id"] == "echo/mine-1"
    assert [kept.chat(name).status for name in ("mine", "my-own", "team/mine", "echo/mine-1")] == [404] * 4
    assert kept.register("model", "my-own", BOB).status == 200


TAKEN = ["open", "echo/open-1", "gpt-4o", "plain", "secret", "vault", "inner/kept"]


@pytest.mark.parametrize("name", TAKEN)
@pytest.mark.parametrize("place", ["model_id", "alias"])
def test_a_name_of_the_configuration_can_t_be_taken(kept: Registry, name: str, place: str) -> None:
    own, more = ("thief", {"aliases": [name]}) if place == "alias" else (name, {"provider_model_id": "thief"})
    refused = kept.register("model", own, **more)
    assert (refused.status, refused.error["code"]) == (409, "already_exists")
    assert kept.get("model", "thief").status == 404


def test_a_name_of_a_registered_model_can_t_be_taken(kept: Registry) -> None:
    kept.register("model", "first", aliases=["one", "eins"])
    for more in ({"aliases": ["eins"]}, {"aliases": ["x", "first"]}, {"provider_model_id": "first"}):
        assert kept.register("model", "other", BOB, **more).status == 409
    assert kept.register("model", "one", BOB).status == 409
    # What was refused has taken no name.
    assert kept.register("model", "x", BOB).status == 200


@pytest.mark.parametrize("more", [{"aliases": ["fine", "inner/free"]}, {}])
def test_no_name_begins_as_models_of_another_provider_do(kept: Registry, more: dict[str, object]) -> None:
    name = "borrower" if more else "inner/free"
    for caller in (ALICE, ADMIN):
        refused = kept.register("model", name, caller, provider_model_id="borrower", **more)
        assert (refused.status, refused.error["code"]) == (409, "already_exists")
        assert "begins with the id of another provider" in refused.error["message"]
    assert kept.get("model", "echo/borrower", ADMIN).status == 404
    fine = kept.register("model", "lender", aliases=["echo/lent", "inner", "innerer/free", "Inner/free"])
    assert fine.status == 200
    assert kept.get("model", "lender", method="DELETE").status == 200


def test_a_model_is_gone_when_a_provider_comes_whose_names_it_has(opa_binary: Path, tmp_path: Path) -> None:
    with registry(opa_binary, tmp_path) as before:
        assert before.register("model", "mine", aliases=["later/free"]).status == 200
        assert before.chat("later/free").json["model"] == "echo/mine"
    inner = "- {provider_id: inner, provider_type: inline::echo}"
    assert inner in CONFIG
    text = CONFIG.replace(inner, f"{inner}\n      {inner.replace('inner', 'later', 1)}")
    with registry(opa_binary, tmp_path, text=text, like=before) as after:
        for name in ("later/free", "mine", "echo/mine"):
            assert after.chat(name).status == after.chat(name, READER).status == 404
        assert "echo/mine" not in after.listed("model", ADMIN)


def test_of_many_who_want_one_alias_one_gets_it(kept: Registry) -> None:
    bodies = [{"model_id": f"wants-{n}", "provider_id": "echo", "aliases": ["contested"]} for n in range(6)]
    asked = [request_of("POST", "/v1/models", bearer(f"u{n}"), body=body) for n, body in enumerate(bodies)]
    assert sorted(answer.status for answer in at_once(kept, asked)) == [200] + [409] * 5


def test_rules_hide_a_registered_model_by_its_alias(kept: Registry) -> None:
    assert kept.register("model", "seen", aliases=["well-hidden"]).status == 200
    assert kept.chat("seen").status == kept.chat("well-hidden", READER).status == 404
    for caller in (ALICE, READER, ADMIN):
        readable = kept.get("model", "seen", caller).status == 200
        assert ("echo/seen" in kept.listed("model", caller)) == readable
    assert kept.register("model", "fine", aliases=["reserved-name"]).status == 403


@pytest.mark.parametrize("aliases", ["x", [1], [""], ["a%2Fb"], ["../a"], ["x" * 257], ["a\u0000"], ["n"] * 9, {}])
def test_what_is_no_list_of_names_is_refused(kept: Registry, aliases: object) -> None:
    refused = kept.register("model", "odd", aliases=aliases)
    assert (refused.status, refused.error["param"].partition("[")[0]) == (400, "aliases")
