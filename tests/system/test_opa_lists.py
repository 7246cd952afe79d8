"""A list from end to end: a policy in YAML, a real OPA, the enforcement point, and rows in SQLite."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from policy.vocabulary import Action, Anonymous, Principal
from server.authz.contract.errors import Failure, PolicyUnavailable
from server.authz.request_context import RequestContext
from server.storage.database.dialect import SQLITE
from server.storage.records.sql_filter import compile_filter
from tests.support.opa_engine import compile_config
from tests.support.opa_server import world

CONFIG = """
server:
  auth:
    provider_config: {type: oauth2_token, jwks: {uri: "https://issuer.example/jwks"}}
    access_policy:
      - forbid: {actions: [read], resource: "sql_record::openai_files::file-frozen"}
        unless: user with admin in roles
      - permit: {actions: [read, delete], resource: "sql_record::openai_files"}
        when: user is owner
      - permit: {actions: [read], resource: "sql_record::*"}
        when: user in owners teams
      - permit: {actions: [read], resource: "regex:sql_record::openai_files::public-[a-z]+$"}
"""
ISSUER = "https://issuer.example"
ANN = Principal("ann", ISSUER, {"teams": ("ml",)})
ADMIN = Principal("root", ISSUER, {"roles": ("admin",), "teams": ("ml",)})
FILES = "sql_record::openai_files"
ROWS = [
    ("file-anns", "ann", {}),
    ("file-frozen", "ann", {"teams": ["ml"]}),
    ("file-team", "ben", {"teams": ["infra", "ml"]}),
    ("file-other", "cas", {"teams": ["sales"]}),
    ("public-a", "cas", {}),
    ("file-unowned", None, None),
]


def selected(rows: sqlite3.Connection, condition: str, parameters: tuple[str, ...]) -> list[str]:
    statement = f"SELECT id FROM files WHERE {condition} ORDER BY rowid"  # noqa: S608 - of the filter
    return [name for (name,) in rows.execute(statement, parameters)]


@pytest.fixture
def rows() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE files (id, owner_principal, owner_issuer, access_attributes, origin)")
        for name, owner, attributes in ROWS:
            stored = None if attributes is None else json.dumps(attributes)
            columns = (name, owner, owner and ISSUER, stored, "created")
            connection.execute("INSERT INTO files VALUES (?, ?, ?, ?, ?)", columns)
        yield connection


def test_each_caller_gets_a_list_of_their_own(opa_binary: Path, tmp_path: Path, rows: sqlite3.Connection) -> None:
    bundle = compile_config(CONFIG)
    (tmp_path / "bundle.tar.gz").write_bytes(bundle.archive)

    async def main() -> None:
        async with world(opa_binary, tmp_path, tmp_path / "bundle.tar.gz", revision=bundle.revision) as here:

            async def listed(caller: Principal | Anonymous, action: Action) -> list[str]:
                async with here.pep.listing(RequestContext("req_1", caller), action, FILES) as listing:
                    found = compile_filter(listing.permit.filter, SQLITE)
                return selected(rows, found.condition, found.parameters)

            # `public-a` is a candidate: a pattern on its name is a question about the record itself.
            assert await listed(ANN, Action.READ) == ["file-anns", "file-team", "public-a"]
            assert await listed(ADMIN, Action.READ) == ["file-frozen", "file-team", "public-a"]
            assert await listed(ANN, Action.DELETE) == ["file-anns", "file-frozen"]
            assert await listed(ANN, Action.UPDATE) == []
            assert await listed(Anonymous(), Action.READ) == ["public-a"]
            assert [record["effect"] for record in await here.records()] == ["filter"] * 5
            with pytest.raises(PolicyUnavailable) as caught:
                async with here.pep.listing(RequestContext("req_2", ANN), Action.READ, "provider"):
                    raise AssertionError("providers have no filter")
            assert caught.value.failure is Failure.MALFORMED

    asyncio.run(main())
