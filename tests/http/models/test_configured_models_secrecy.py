"""What is configured and a caller may not read takes the same work as what isn't there, and so the same time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.fairness.caller import CURRENT, SERVER
from server.storage.database.sqlite import SqliteDatabase
from tests.support.callers import ALICE
from tests.support.registry_server import Registry, registry
from tests.support.serving import Answer


@pytest.fixture(scope="module")
def kept(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(opa_binary, tmp_path_factory.mktemp("registry-secrecy")) as running:
        yield running


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement that the database is asked for a caller, and not for the sweeps of the server."""
    asked: list[str] = []
    read = SqliteDatabase.read

    async def noted(self: SqliteDatabase, statement: str, *values: Any) -> Any:
        if CURRENT.get() != SERVER:
            asked.append(statement)
        return await read(self, statement, *values)

    monkeypatch.setattr(SqliteDatabase, "read", noted)
    return asked


def ask(kept: Registry, what: str, name: str) -> Answer:
    match what:
        case "chat":
            return kept.chat(name)
        case "after":
            return kept.house.address.get(f"/v1/models?after={name}", ALICE)
        case "provider":
            return kept.house.address.get(f"/v1/providers/{name}", ALICE)
        case _:
            return kept.get("model", name, method=what)


@pytest.mark.parametrize(
    ("what", "hidden", "missing"),
    [
        *((what, "secret", "sekret") for what in ("GET", "DELETE", "chat", "after")),
        *((what, "inner/secret", "inner/sekret") for what in ("GET", "DELETE", "chat", "after")),
        ("provider", "inner", "outer"),
    ],
)
def test_as_much_is_done_about_what_is_hidden_as_about_what_is_missing(
    kept: Registry, reads: list[str], what: str, hidden: str, missing: str
) -> None:
    kept.registered("model")  # or a list would not look for its cursor
    work = []
    for name in (hidden, missing):
        reads.clear()
        answer = ask(kept, what, name)
        assert answer.status == 404
        decisions = [
            (line.get("route") is None, line.get("action")) for line in kept.house.log(answer.headers["x-request-id"])
        ]
        assert reads or what == "provider"
        work.append((list(reads), decisions))
    assert work[0] == work[1]
