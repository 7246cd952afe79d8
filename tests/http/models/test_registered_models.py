"""Models that callers register: served at once to those who may read them, and under names that nobody else has."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from urllib.parse import quote

import openai
import pytest
from openai import OpenAI

from tests.support.callers import ADMIN, ALICE, BOB, READER, bearer
from tests.support.registry_server import CONFIG, MODELS, Registry, at_once, registry, without_names
from tests.support.serving import Answer, request_of

ONE_PROVIDER = CONFIG.replace("      - {provider_id: inner, provider_type: inline::echo}\n", "")
OF_ECHO = "[{model_id: open, provider_id: echo, provider_model_id: open-1}]"


@pytest.fixture(scope="module")
def kept(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory, postgres: str | None) -> Iterator[Registry]:
    with registry(opa_binary, tmp_path_factory.mktemp("models"), postgres) as running:
        yield running


def test_a_registered_model_is_served_under_all_its_names_to_those_who_may_read_it(kept: Registry) -> None:
    answer = kept.register("model", "mine", provider_model_id="meta/mine:8b", metadata={"context": 5, "type": "x"})
    made = answer.json
    about = {"provider_id": "echo", "provider_resource_id": "meta/mine:8b", "model_type": "llm"}
    assert made == {
        "id": "echo/meta/mine:8b",
        "object": "model",
        "created": made["created"],
        "owned_by": "echo",
        "identifier": "echo/meta/mine:8b",
        "type": "model",
        **about,
        "metadata": {"context": 5, "type": "x"},
        "custom_metadata": {"context": 5, "type": "x", **about},
    }
    for name in ("echo/meta/mine:8b", "echo/mine", "mine"):
        assert kept.get("model", name).json == made
        assert kept.chat(name).json["model"] == "echo/meta/mine:8b"
        hidden, missing = kept.chat(name, BOB), kept.chat(f"{name}-", BOB)
        assert without_names(hidden, name) == without_names(missing, f"{name}-")
        assert hidden.status == 404
    assert kept.chat("mine", READER).status == 200
    assert (made["id"] in kept.listed("model"), made["id"] in kept.listed("model", BOB)) == (True, False)


def test_a_model_is_not_served_any_more_once_it_is_removed(kept: Registry) -> None:
    made = kept.register("model", "short-lived", provider_model_id="short").json
    assert kept.chat("short-lived").status == 200
    removed = kept.get("model", "echo/short-lived", method="DELETE")
    assert (removed.status, removed.json) == (200, {"id": "echo/short", "object": "model", "deleted": True})
    assert [kept.chat(name).status for name in ("short-lived", "echo/short", "echo/short-lived")] == [404] * 3
    # Its names are free again, each of them.
    assert kept.register("model", "short", BOB, provider_model_id="short-lived").json["id"] != made["id"]


def test_the_name_alone_is_enough_where_there_is_one_provider(opa_binary: Path, tmp_path: Path) -> None:
    with registry(opa_binary, tmp_path, models=OF_ECHO, text=ONE_PROVIDER) as running:
        assert running.post("/v1/models", {"model_id": "b"}, ALICE).json["id"] == "echo/b"


def test_the_provider_must_be_named_where_there_are_several(kept: Registry) -> None:
    refused = kept.post("/v1/models", {"model_id": "unplaced"}, ALICE)
    assert (refused.status, refused.error["param"]) == (400, "provider_id")


def test_a_provider_that_one_may_not_read_is_one_that_there_is_not(kept: Registry) -> None:
    answers = [kept.register("model", "elsewhere", provider_id=name) for name in ("inner", "absent")]
    hidden, missing = (without_names(*pair) for pair in zip(answers, ("inner", "absent"), strict=True))
    assert hidden == missing
    assert (answers[0].status, answers[0].error["param"]) == (400, "provider_id")
    assert kept.register("model", "of-admin", ADMIN, provider_id="inner").status == 200


CONFIGURED = [("echo", "open", "x"), ("echo", "x", "open-1"), ("echo", "echo/open-1", "x"), ("echo", "secret", "x")]


@pytest.mark.parametrize(("provider", "model_id", "own"), CONFIGURED)
def test_no_name_of_the_configuration_can_be_taken(kept: Registry, provider: str, model_id: str, own: str) -> None:
    refused = kept.register("model", model_id, provider_id=provider, provider_model_id=own)
    assert (refused.status, refused.error["code"]) == (409, "already_exists")
    assert kept.get("model", "open").json["id"] == "echo/open-1"
    assert kept.get("model", "x").status == 404


@pytest.mark.parametrize(
    ("model_id", "own"), [("a", "other"), ("other", "b"), ("b", "other"), ("other", "a"), ("echo/b", "other")]
)
def test_no_name_of_another_model_can_be_taken(kept: Registry, model_id: str, own: str) -> None:
    kept.register("model", "a", provider_model_id="b")
    before = kept.get("model", "a").json
    for caller in (ALICE, BOB):
        refused = kept.register("model", model_id, caller, provider_model_id=own)
        assert (refused.status, refused.error["code"]) == (409, "already_exists")
    assert kept.get("model", "a").json == before
    assert kept.get("model", "other", ADMIN).status == kept.get("model", "echo/other", ADMIN).status == 404


def test_of_many_who_want_one_of_its_names_one_gets_it(kept: Registry) -> None:
    bodies = [
        {"model_id": f"own-{number}", "provider_id": "echo", "provider_model_id": "contested"}
        if number % 2
        else {"model_id": "contested", "provider_id": "echo", "provider_model_id": f"own-{number}"}
        for number in range(8)
    ]
    answers = at_once(
        kept, [request_of("POST", "/v1/models", bearer(f"u{n}"), body=body) for n, body in enumerate(bodies)]
    )
    assert sorted(answer.status for answer in answers) == [200] + [409] * 7
    assert sum("own-" in name or "contested" in name for name in kept.listed("model", ADMIN)) == 1


def test_no_caller_removes_what_the_configuration_defines(kept: Registry) -> None:
    assert kept.get("model", "open", method="DELETE").status == 403
    hidden, missing = kept.get("model", "secret", method="DELETE"), kept.get("model", "secrex", method="DELETE")
    assert without_names(hidden, "secret") == without_names(missing, "secrex")
    assert hidden.status == 404
    refused = kept.get("model", "open", ADMIN, "DELETE")
    assert (refused.status, refused.error["code"]) == (409, "defined_by_configuration")
    assert kept.chat("open").status == kept.chat("secret", ADMIN).status == 200


def test_an_embedding_model_does_not_chat(kept: Registry) -> None:
    made = kept.register("model", "embedder", model_type="embedding").json
    assert made["model_type"] == "embedding"
    assert kept.chat("embedder").status == 400


def test_lists_go_on_from_the_configuration_to_what_is_registered(kept: Registry) -> None:
    caller = bearer("pager")
    mine = [kept.registered("model", caller) for _ in range(3)]
    everything = kept.listed("model", ADMIN)
    assert everything[:2] == ["echo/open-1", "inner/secret"]
    assert kept.listed("model", caller) == ["echo/open-1", *mine]
    assert kept.listed("model", caller, "?limit=2") == ["echo/open-1", mine[0]]
    assert kept.listed("model", caller, "?after=open") == mine
    assert kept.listed("model", caller, f"?after={mine[1]}") == mine[2:]
    for after, more in ((everything[0], True), (everything[-2], False)):
        page = kept.house.address.get(f"/v1/models?limit=1&after={quote(after)}", ADMIN).json
        assert (page["data"][0]["id"], page["has_more"]) == (everything[everything.index(after) + 1], more)
    missing = kept.house.address.get("/v1/models?after=inner%2Fsecrex", caller)
    assert without_names(kept.house.address.get("/v1/models?after=inner%2Fsecret", caller), "inner/secret") == (
        without_names(missing, "inner/secrex")
    )
    assert missing.status == 404


@pytest.mark.parametrize("name", ["timed", "echo/timed", "echo/t"])
def test_as_much_is_asked_about_what_no_caller_has_as_about_what_another_has(kept: Registry, name: str) -> None:
    kept.register("model", "timed", provider_model_id="t")
    assert kept.get("model", name).status == 200
    for ask in (kept.chat, lambda *who: kept.get("model", *who), lambda *who: kept.get("model", *who, "DELETE")):
        hidden, missing = ask(name, BOB), ask(f"{name}-", BOB)
        assert hidden.status == missing.status == 404
        assert asked(kept, hidden) == asked(kept, missing)


def asked(kept: Registry, answer: Answer) -> list[tuple[str, str]]:
    """What the policy was asked about resources, and what it said."""
    log = kept.house.log(answer.headers["x-request-id"])
    return [(record["action"], record["effect"]) for record in log if "action" in record]


def test_the_openai_client_sees_what_it_knows(kept: Registry) -> None:
    made = kept.registered("model", bearer("sdk"))
    with OpenAI(base_url=f"{kept.house.address.url}/v1", api_key="sdk", max_retries=0) as client:
        assert [model.id for model in client.models.list()] == ["echo/open-1", made]
        model = client.models.retrieve(made)
        assert (model.id, model.object, model.owned_by) == (made, "model", "echo")
        answer = client.chat.completions.create(model=made, messages=[{"role": "user", "content": "hello"}])
        assert answer.choices[0].message.content == "echo: hello"
        deleted = client.models.delete(made)
        assert (deleted.id, deleted.object, deleted.deleted) == (made, "model", True)
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve(made)


def test_other_servers_serve_it_and_the_next_one_does(opa_binary: Path, tmp_path: Path, postgres: str | None) -> None:
    with registry(opa_binary, tmp_path, postgres) as first, registry(opa_binary, tmp_path, like=first) as second:
        first.register("model", "shared")
        assert second.chat("shared").status == 200
        assert second.chat("shared", BOB).status == 404
        assert second.register("model", "shared", BOB).status == 409
        assert second.get("model", "shared", method="DELETE").status == 200
        assert first.chat("shared").status == 404
        first.register("model", "kept", provider_model_id="k")
    with registry(opa_binary, tmp_path, like=first) as third:
        assert third.chat("echo/k").status == 200
        assert third.chat("kept", BOB).status == 404


def test_the_configuration_wins_a_name_back(opa_binary: Path, tmp_path: Path, postgres: str | None) -> None:
    with registry(opa_binary, tmp_path, postgres) as first:
        first.register("model", "early", provider_model_id="e")
    named = MODELS.replace("model_id: open,", "model_id: early,")
    with registry(opa_binary, tmp_path, models=named, like=first) as second:
        assert second.get("model", "early").json["id"] == "echo/open-1"
        assert second.chat("echo/e").status == 404
        assert second.listed("model") == ["echo/open-1"]
        assert second.get("model", "echo/e", ADMIN, "DELETE").status == 404
    with registry(opa_binary, tmp_path, like=first) as third:
        assert third.listed("model") == ["echo/open-1", "echo/e"]


def test_a_model_whose_provider_has_gone_is_shown_and_removed_but_not_served(opa_binary: Path, tmp_path: Path) -> None:
    with registry(opa_binary, tmp_path) as first:
        first.register("model", "left", ADMIN, provider_id="inner")
    with registry(opa_binary, tmp_path, models=OF_ECHO, text=ONE_PROVIDER, like=first) as second:
        assert second.listed("model", ADMIN) == ["echo/open-1", "inner/left"]
        refused = second.chat("left", ADMIN)
        assert (refused.status, refused.error["code"]) == (404, "model_not_found")
        assert "provider" in refused.error["message"]
        assert "provider" not in second.chat("left").error["message"]
        assert second.get("model", "left", ADMIN, "DELETE").status == 200


LAW = """
        - forbid: {actions: [read], resource: "model::alias-1"}
          when: user with one in roles
        - forbid: {actions: [read], resource: "regex:model::inner/.*2$"}
          unless: user with two in roles
        - permit: {actions: [read], resource: "model::echo/own-3"}
        - permit: {actions: [read], resource: "model::alias-4"}
        - forbid: {actions: [read], resource: "model::echo/alias-5"}
        - permit: {actions: [read], resource: "regex:model::(?:echo|inner)/own-[012]"}
          when: user with three in roles
        - permit: {actions: [read], resource: "regex:model::alias-6(?!x)"}
        - permit: {actions: [read, update, delete]}
          when: user is owner
        - permit: {actions: [read], resource: "model::*"}
          when: user in owners projects
        - permit: {actions: [create]}
        - permit: {actions: [read], resource: "provider::*"}
"""


def test_a_list_of_models_is_what_reading_each_by_any_name_permits(
    opa_binary: Path, tmp_path: Path, postgres: str | None
) -> None:
    callers = [bearer(name) for name in ("one", "two", "three", "four")]
    with registry(opa_binary, tmp_path, postgres, policy=LAW) as running:
        made = {}
        for number, provider in product(range(8), ("echo", "inner")):
            body = {"model_id": f"alias-{number}{'x' * (provider == 'inner')}", "provider_id": provider}
            own = f"own-{number}"
            answer = running.post("/v1/models", body | {"provider_model_id": own}, callers[number % 4])
            assert answer.status == 200, answer.body
            made[answer.json["id"]] = [f"{provider}/{own}", body["model_id"], f"{provider}/{body['model_id']}"]
        seen = set()
        for caller in callers:
            listed = running.listed("model", caller)
            readable = [
                name
                for name, names in made.items()
                if {running.get("model", each, caller).status for each in names} == {200}
            ]
            assert listed == ["echo/open-1"] * (listed[:1] == ["echo/open-1"]) + readable
            pages, after = [], ""
            while True:
                page = running.house.address.get(f"/v1/models?limit=3{after}", caller).json
                pages += [entry["id"] for entry in page["data"]]
                if not page["has_more"]:
                    break
                after = f"&after={page['last_id']}"
            assert pages == listed
            seen.add(tuple(listed))
        assert len(seen) == len(callers)
