"""`server.usage` and `storage.stores.usage`: what is told apart, for how long it is kept, and where."""

from __future__ import annotations

import pytest

from server.wiring.databases import usage_place
from tests.support.config_texts import load, one_error, with_server

PLACES = (
    "storage: {backends: {kv: {type: kv_sqlite, db_path: kv.db}, sql: {type: sql_sqlite, db_path: s.db}}, stores: {%s}}"
)


def test_the_team_is_in_teams_and_counts_are_kept_for_a_year_unless_something_else_is_written() -> None:
    usage = load(with_server("port: 1")).server.usage
    assert (usage.team, usage.keep_days) == ("teams", 400)
    usage = load(with_server("usage: {team: projects, keep_days: 30}")).server.usage
    assert (usage.team, usage.keep_days) == ("projects", 30)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("usage: {keep_days: 0}", "`keep_days` takes a whole number from 1 to 3650, not `0`"),
        ("usage: {keep_days: 3651}", "`keep_days` takes a whole number from 1 to 3650, not `3651`"),
        ("usage: {team: 7}", "`team` takes text, and YAML reads it as a number; write it in quotes"),
        ("usage: {teams: projects}", "`teams` is not a key of `usage`; did you mean `team`?"),
    ],
)
def test_anything_else_is_refused(text: str, sentence: str) -> None:
    assert one_error(with_server(text)) == sentence


@pytest.mark.parametrize(
    ("stores", "place"),
    [
        ("", (None, "registry_usage")),
        ("prompts: {backend: kv, namespace: p}", (None, "registry_usage")),
        ("metadata: {backend: kv, namespace: mine}", ("kv", "kv_mine_usage")),
        ("metadata: {backend: kv, namespace: mine}, usage: {backend: kv, namespace: spent}", ("kv", "kv_spent")),
    ],
)
def test_usage_is_beside_the_registry_unless_it_has_a_place(stores: str, place: tuple[str | None, str]) -> None:
    assert usage_place(load(f"version: 2\n{PLACES % stores}")) == place


def test_usage_takes_a_backend_for_keys_and_values_and_a_namespace_of_its_own() -> None:
    sentence = one_error(f"version: 2\n{PLACES % 'usage: {backend: sql, namespace: u}'}")
    assert sentence.startswith("the backend `sql` is of type `sql_sqlite`")
    shared = "prompts: {backend: kv, namespace: u}, usage: {backend: kv, namespace: u}"
    assert one_error(f"version: 2\n{PLACES % shared}").startswith(
        "`usage` and `prompts` would be one table in one backend"
    )
