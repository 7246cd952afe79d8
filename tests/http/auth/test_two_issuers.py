"""Two issuers know an `ann`: rules and ownership are about one of them, by id and in lists."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.types import Scope

from policy.vocabulary import Principal
from tests.support.files_server import BOUNDARY, form_of
from tests.support.real_policy import Decided, decided

OWN, PARTNER = "https://own.example", "https://partner.example"
CONFIG = """
    version: 2
    apis: [inference]
    providers:
      inference:
      - {provider_id: echo, provider_type: inline::echo}
    models:
    - {model_id: small, provider_id: echo, provider_model_id: small-1}
    storage:
      blobs: {type: local, path: FOLDER/blobs}
      backends:
        sql: {type: sql_sqlite, db_path: FOLDER/records.db}
      stores:
        files: {backend: sql, table_name: my_files}
    server:
      auth:
        provider_config:
          type: oauth2_token
          issuers:
          - {issuer: "https://own.example", audience: a, jwks: {uri: "https://own.example/keys"}}
          - {issuer: "https://partner.example", audience: a, jwks: {uri: "https://partner.example/keys"}}
        access_policy:
        - permit: {principal: ann, issuer: "https://own.example", actions: read, resource: "model::*"}
        - permit: {actions: create, resource: "sql_record::openai_files"}
        - permit: {principal: auditor, issuer: "https://own.example", actions: read, resource: "sql_record::my_files"}
        - forbid: {issuer: "https://partner.example", actions: delete}
        - permit: {actions: [read, delete], resource: "sql_record::openai_files"}
          when: user is owner
"""


class ByIssuer:
    """Knows callers by tokens such as `ann.own`."""

    async def authenticate(self, token: str, _request: Scope, /) -> Principal:
        """The principal of that name with that issuer."""
        name, _, issuer = token.partition(".")
        return Principal(name, {"own": OWN, "partner": PARTNER}[issuer], {"roles": ("dev",)})

    async def close(self) -> None:
        """There is nothing to close."""


@pytest.fixture(scope="module")
def house(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Decided]:
    folder = tmp_path_factory.mktemp("issuers")
    with decided(CONFIG.replace("FOLDER", str(folder)), opa_binary, folder, authenticator=ByIssuer()) as house:
        yield house


def caller(name: str) -> str:
    return f"Authorization: Bearer {name}"


def test_a_rule_about_a_principal_is_about_that_of_its_issuer(house: Decided) -> None:
    models = {who: house.address.get("/v1/models", caller(who)).json["data"] for who in ("ann.own", "ann.partner")}
    assert [len(models[who]) for who in ("ann.own", "ann.partner")] == [1, 0]
    body = {"model": "small", "messages": [{"role": "user", "content": "hi"}]}
    assert house.address.post("/v1/chat/completions", body, caller("ann.own")).status == 200
    answer = house.address.post("/v1/chat/completions", body, caller("ann.partner"))
    assert answer.status == 404
    asked = [line for line in house.log(answer.headers["x-request-id"]) if line.get("resource")]
    assert [(line["principal"], line["issuer"], line["effect"]) for line in asked] == [("ann", PARTNER, "deny")]


def test_a_record_is_that_of_its_owners_issuer(house: Decided) -> None:
    kind = f'multipart/form-data; boundary="{BOUNDARY}"'
    made = {
        who: house.address.post("/v1/files", form_of(b"x"), caller(who), kind=kind).json["id"]
        for who in ("ann.own", "ann.partner")
    }
    for who, other in (("ann.own", "ann.partner"), ("ann.partner", "ann.own")):
        listed = house.address.get("/v1/files", caller(who)).json["data"]
        assert [file["id"] for file in listed] == [made[who]]
        assert house.address.get(f"/v1/files/{made[who]}", caller(who)).status == 200
        assert house.address.get(f"/v1/files/{made[other]}", caller(who)).status == 404
        assert house.address.get(f"/v1/files/{made[other]}", caller(who), method="DELETE").status == 404
    lists = {
        who: house.address.get("/v1/files", caller(who)).json["data"] for who in ("auditor.own", "auditor.partner")
    }
    assert [len(lists[who]) for who in ("auditor.own", "auditor.partner")] == [2, 0]
    assert house.address.get(f"/v1/files/{made['ann.partner']}", caller("ann.partner"), method="DELETE").status == 403
    assert house.address.get(f"/v1/files/{made['ann.own']}", caller("ann.own"), method="DELETE").status == 200
