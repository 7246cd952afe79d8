"""Records of tables that the configuration names itself: rules reach them by the standard name and by that one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.application import ByToken
from tests.support.callers import bearer
from tests.support.files_server import BOUNDARY, form_of
from tests.support.real_policy import Decided, decided

CONFIG = """
    version: 2
    apis: [inference]
    providers:
      inference:
      - {provider_id: echo, provider_type: inline::echo}
    models:
    - {model_id: small, provider_id: echo, provider_model_id: small-1}
    storage:
      backends:
        sql: {type: sql_sqlite, db_path: FOLDER/records.db}
      stores:
        inference: {backend: sql, table_name: inference_store}
        conversations: {backend: sql, table_name: my_convs}
        files: {backend: sql, table_name: my_files}
      blobs: {type: local, path: FOLDER/blobs}
    server:
      auth:
        provider_config: {type: oauth2_token, jwks: {uri: "https://issuer.example/keys"}}
        access_policy:
RULES
        - permit: {actions: [create, read, update, delete]}
"""

PATTERNS = {
    "/v1/files": ("openai_files", "my_files"),
    "/v1/conversations": ("openai_conversations", "my_convs"),
    "/v1/chat/completions": ("chat_completions", "inference_store"),
}
FORMS = {
    "all": "sql_record::{}::*",
    "bare": "sql_record::{}",
    "regex": "regex:sql_record::{}::.+",
    "open": "regex:.*{}",
}


def name_of(path: str, number: int, form: str) -> str:
    return f"{path.rsplit('/', 1)[1]}-{form}-{number}"


CALLERS = [(path, number, form) for path in PATTERNS for number in (0, 1) for form in FORMS]


@pytest.fixture(scope="module")
def house(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Decided]:
    folder = tmp_path_factory.mktemp("tables")
    rules = "\n".join(
        f"        - forbid: {{actions: [read, delete], resource: '{FORMS[form].format(PATTERNS[path][number])}'}}\n"
        f"          when: user with {name_of(path, number, form)} in roles"
        for path, number, form in CALLERS
    )
    rules += """
        - forbid: {actions: create, resource: "sql_record::openai_files"}
          when: user with maker in roles
        - forbid: {actions: create, resource: "sql_record::openai_conversations"}
          when: user with maker in roles
        - forbid: {actions: create, resource: "sql_record::chat_completions"}
          when: user with maker in roles"""
    text = CONFIG.replace("FOLDER", str(folder)).replace("RULES", rules)
    with decided(text, opa_binary, folder, authenticator=ByToken()) as house:
        yield house


def made(house: Decided, path: str, caller: str) -> tuple[int, str]:
    """Status and id of a new record."""
    if path == "/v1/files":
        answer = house.address.post(path, form_of(b"x"), caller, kind=f'multipart/form-data; boundary="{BOUNDARY}"')
    else:
        body = {"model": "small", "messages": [{"role": "user", "content": "hi"}], "store": True}
        answer = house.address.post(path, body if path.endswith("completions") else {}, caller)
    return answer.status, str(answer.json.get("id"))


@pytest.mark.parametrize(("path", "number", "form"), CALLERS)
def test_a_forbid_holds_by_either_name(house: Decided, path: str, number: int, form: str) -> None:
    status, identity = made(house, path, bearer("ann"))
    assert status == 200
    name = name_of(path, number, form)
    assert house.address.get(f"{path}/{identity}", bearer("ann")).status == 200
    assert house.address.get(f"{path}/{identity}", bearer(name)).status == 404
    assert house.address.get(f"{path}/{identity}", bearer(name), method="DELETE").status == 404
    if path != "/v1/conversations":  # of which there is no list
        assert house.address.get(path, bearer("ann")).json["data"] != []
        assert house.address.get(path, bearer(name)).json["data"] == []


@pytest.mark.parametrize("path", PATTERNS)
def test_a_forbidden_create_holds_by_the_standard_name(house: Decided, path: str) -> None:
    assert made(house, path, bearer("maker"))[0] == 403


def test_the_decision_log_has_the_standard_name(house: Decided) -> None:
    _, identity = made(house, "/v1/files", bearer("ann"))
    answer = house.address.get(f"/v1/files/{identity}", bearer("ann"))
    named = [line["resource"] for line in house.log(answer.headers["x-request-id"]) if line.get("resource")]
    assert named == [f"sql_record::openai_files::{identity}"]
