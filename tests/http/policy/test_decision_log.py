"""The lines that requests leave in the decision log: each is of a kind that the schema describes, and says enough."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.support.application import ByToken
from tests.support.callers import ADMIN, ALICE, BOB, READER
from tests.support.conversations_server import said
from tests.support.decision_log_server import CONFIG
from tests.support.files_server import BOUNDARY, form_of
from tests.support.log_lines import SCHEMA, VALIDATOR
from tests.support.real_policy import Decided, decided
from tests.support.serving import Answer

FORM = f"multipart/form-data; boundary={BOUNDARY}"


@pytest.fixture(scope="module")
def house(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Decided]:
    folder = tmp_path_factory.mktemp("logged")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSTIARY_HOME", str(folder / "home"))
        text = CONFIG.replace("FOLDER", str(folder))
        with decided(text, opa_binary, folder, authenticator=ByToken()) as running:
            yield running
            for line in running.whole_log():
                VALIDATOR.validate(line)


def lines(house: Decided, answer: Answer) -> list[dict[str, Any]]:
    found = house.log(answer.headers["x-request-id"])
    for line in found:
        VALIDATOR.validate(line)
    return found


def test_the_schema_is_one_and_refuses_what_it_does_not_know(house: Decided) -> None:
    Draft202012Validator.check_schema(json.loads(SCHEMA.read_text()))
    line = lines(house, house.address.get("/v1/models/open", ALICE))[0]
    assert not VALIDATOR.is_valid({**line, "body": "secret"})
    assert not VALIDATOR.is_valid({**line, "kind": "other"})
    assert not VALIDATOR.is_valid({name: value for name, value in line.items() if name != "rule"})


def test_a_list_of_models_is_one_line_with_counts(house: Decided) -> None:
    route, listed = lines(house, house.address.get("/v1/models", ALICE))
    assert (route["kind"], route["route"]) == ("route", "GET /v1/models")
    assert (listed["kind"], listed["action"], listed["resource"]) == ("list", "read", "model::*")
    assert (listed["effect"], listed["permitted"], listed["denied"]) == ("filter", 2, 1)
    assert [(each["rule"], each["effect"], each["count"]) for each in listed["by_rule"]] == [
        ("access_policy[3]", "permit", 2),
        ("access_policy[0]", "deny", 1),
    ]
    assert listed["by_rule"][0]["source"].startswith("config.yaml:")
    assert listed["decision_id"] == route["decision_id"]


def test_a_refused_list_says_which_route_was_refused(house: Decided) -> None:
    answer = house.address.get("/v1/providers", ALICE)
    assert answer.status == 403
    (route,) = lines(house, answer)
    assert (route["kind"], route["effect"], route["rule"]) == ("route", "deny", "route_policy[0]")


def test_a_use_is_a_line_of_another_kind_that_names_the_model(house: Decided) -> None:
    body = {"model": "open", "messages": [{"role": "user", "content": "hi"}]}
    _, used = lines(house, house.address.post("/v1/chat/completions", body, ALICE))
    assert (used["kind"], used["action"], used["resource"]) == ("resource", "read", "model::echo/open")
    assert "permitted" not in used


def test_a_list_of_records_is_one_line_however_many_are_asked_about(house: Decided) -> None:
    for number in range(24):
        assert house.address.post("/v1/files", form_of(b"%d" % number), ALICE, kind=FORM).status == 200
    answer = house.address.get("/v1/files", ALICE)
    shown = len(answer.json["data"])
    _, listed = lines(house, answer)
    assert (listed["kind"], listed["resource"]) == ("list", "sql_record::openai_files::*")
    assert listed["permitted"] == shown
    assert listed["permitted"] + listed["denied"] >= 24
    assert sum(each["count"] for each in listed["by_rule"]) + listed["by_other_rules"] == (
        listed["permitted"] + listed["denied"]
    )
    assert 0 < shown < 24


CREATES = {
    "a file": ("/v1/files", form_of(b"text"), "id"),
    "a conversation": ("/v1/conversations", {}, "id"),
    "a prompt": ("/v1/prompts", {"prompt": "hello"}, "prompt_id"),
    "a stored chat": (
        "/v1/chat/completions",
        {"model": "open", "store": True, "messages": [{"role": "user", "content": "hi"}]},
        "id",
    ),
    "a named dataset": (
        "/v1/datasets",
        {"dataset_id": "mine", "purpose": "eval/question-answer", "source": {"type": "rows", "rows": []}},
        "identifier",
    ),
    "a dataset without a name": (
        "/v1/datasets",
        {"purpose": "eval/question-answer", "source": {"type": "rows", "rows": []}},
        "identifier",
    ),
    "a shield": ("/v1/shields", {"shield_id": "guard"}, "identifier"),
    "a model": ("/v1/models", {"model_id": "new", "provider_id": "echo"}, "identifier"),
}


@pytest.mark.parametrize("what", CREATES)
def test_the_line_of_a_create_names_what_was_made(house: Decided, what: str) -> None:
    path, body, member = CREATES[what]
    kind = FORM if isinstance(body, bytes) else "application/json"
    answer = house.address.post(path, body, ALICE, kind=kind)
    assert answer.status == 200, answer
    (created,) = [line for line in lines(house, answer) if line.get("action") == "create"]
    assert created["resource"].partition("::")[2].rpartition("::")[2] == answer.json[member]
    assert "made" not in created


def test_the_line_of_a_create_of_several_items_names_all_of_them(house: Decided) -> None:
    conversation = house.address.post("/v1/conversations", {"items": [said("one")]}, ALICE).json["id"]
    path = f"/v1/conversations/{conversation}/items"
    copied = house.address.get(path, ALICE).json["data"][0]["id"]
    items = [said("two"), {"type": "item_reference", "id": copied}]
    answer = house.address.post(path, {"items": items}, ALICE)
    made = [item["id"] for item in answer.json["data"]]
    (created,) = [line for line in lines(house, answer) if line.get("action") == "create"]
    assert (created["resource"], created["made"]) == ("sql_record::conversation_items::", made)
    assert [identity.partition("_")[0] for identity in made] == ["msg", "msg"]


def test_a_conversation_and_the_item_that_it_begins_with_are_both_named(house: Decided) -> None:
    answer = house.address.post("/v1/conversations", {"items": [said("one")]}, ALICE)
    item = house.address.get(f"/v1/conversations/{answer.json['id']}/items", ALICE).json["data"][0]["id"]
    made = [line["resource"] for line in lines(house, answer) if line.get("action") == "create"]
    assert made == [
        f"sql_record::openai_conversations::{answer.json['id']}",
        f"sql_record::conversation_items::{item}",
    ]


def test_the_line_of_a_refused_create_names_what_would_have_been_made(house: Decided) -> None:
    answer = house.address.post("/v1/prompts", {"prompt": "hello"}, READER)
    assert answer.status == 403
    _, refused = lines(house, answer)
    assert refused["effect"] == "deny"
    assert refused["resource"].startswith("prompt::pmpt_")


def test_a_used_up_share_of_requests_leaves_a_line_that_names_the_limit(house: Decided) -> None:
    assert house.address.get("/v1/models/open", BOB).status == 200
    answer = house.address.get("/v1/models/open", BOB)
    assert answer.status == 429
    *permits, stopped = lines(house, answer)
    assert {line["effect"] for line in permits} == {"permit"}
    assert (stopped["kind"], stopped["effect"], stopped["route"]) == ("quota", "limited", "GET /v1/models/open")
    assert (stopped["limit"], stopped["most"], stopped["used"]) == ("server.quota.limits[0].max_requests", 1, 1)
    assert (stopped["decision_id"], stopped["revision"]) == (permits[0]["decision_id"], permits[0]["revision"])
    assert stopped["principal"] == "bob"


def test_a_budget_that_is_used_up_leaves_a_line_that_names_the_limit(house: Decided) -> None:
    body = {"model": "open", "messages": [{"role": "user", "content": "hello there"}]}
    answer = house.address.post("/v1/chat/completions", body, ADMIN)
    assert answer.status == 429
    stopped = lines(house, answer)[-1]
    assert (stopped["kind"], stopped["limit"], stopped["most"]) == (
        "quota",
        "server.quota.limits[1].max_tokens_per_period",
        2,
    )
    assert stopped["used"] == 0


SHUT = """
    version: 2
    apis: [inference]
    providers:
      inference:
      - {provider_id: echo, provider_type: inline::echo}
    models:
    - {model_id: open, provider_id: echo}
    server:
      auth:
        provider_config: {type: custom, endpoint: "https://auth.example.com/validate"}
        access_policy: [{permit: {actions: [create, read, update, delete]}}]
        route_policy:
        - permit: {paths: "*"}
          when: user with admin in roles
"""


def test_a_refused_route_is_asked_about_once_and_looks_like_no_use(opa_binary: Path, tmp_path: Path) -> None:
    """Handlers ask about route and resource together; their permit for the resource is none for the request."""
    body = {"model": "open", "messages": [{"role": "user", "content": "hi"}]}
    with decided(SHUT, opa_binary, tmp_path, authenticator=ByToken()) as house:
        for path in (
            "/v1/models",
            "/v1/models/echo/open",
            "/v1/providers/echo",
            "/v1/health/ready",
            "/v1/files",
            "/v1/files/file-x",
            "/v1/conversations/conv_x/items",
            "/v1/health",
            "/v1/nothing",
        ):
            refused = house.address.get(path, BOB)
            assert refused.status == 403, path
            (line,) = lines(house, refused)
            assert (line["kind"], line["effect"], line["route"]) == ("route", "deny", f"GET {path}")
            assert line["decision_id"] in refused.error["message"]
        for path, sent in (("/v1/chat/completions", body), ("/v1/conversations", {}), ("/v1/prompts", {"prompt": "x"})):
            refused = house.address.post(path, sent, BOB)
            (line,) = lines(house, refused)
            assert (refused.status, line["kind"], line["effect"]) == (403, "route", "deny")
            assert line["decision_id"] in refused.error["message"]


def test_items_that_name_many_files_leave_one_line_that_names_them(house: Decided) -> None:
    files = [
        house.address.post("/v1/files", form_of(b"%d" % number), ALICE, kind=FORM).json["id"] for number in range(8)
    ]
    readable = [one for one in files if one[-1] not in "01234567"]
    names = [*(readable or files[:1]), *(f"file-{number:024x}" for number in range(40))]
    item = {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_file", "file_id": name} for name in names],
    }
    answer = house.address.post("/v1/conversations", {"items": [item]}, ALICE)
    assert answer.status in (400, 404), answer
    asked = [line for line in lines(house, answer) if line.get("action") == "read"]
    assert len(asked) <= 4
    named = {name.rpartition("::")[2] for line in asked for name in line.get("resources") or [line["resource"]]}
    assert named == {*names}
