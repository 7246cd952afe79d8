"""Random policies about stored records, random lists under them, and rows that really lie in a database."""

from __future__ import annotations

import asyncio
import json
import random
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import asyncpg
import yaml
from hypothesis import strategies as st

from server.storage.record_filter import POSTGRESQL, SQLITE, RowVerdict, SqlFilter
from tests.equivalence.policy_questions import ATTRIBUTES, IDS, NAMES, aim_caller, listed, principal, scope_of
from tests.equivalence.policy_strategies import about_the_caller, mostly, owned, rules, shared, some, unowned
from tests.reference import model

RECORDS = 12
"""Records in each list."""

TYPES = ["sql_record::openai_files", "sql_record::responses", "vector_store", "prompt", "batch"]
SPELLINGS = [*TYPES, "vector_db", "model"]
ACTIONS = ["read", "read", "read", "update", "delete", "create"]
ODD_NAMES = [
    *["'", "''", "' OR 1=1 --", '"', '"; DROP TABLE records; --', "a%", "%", "a_", "_", "\\", "\\'", "a\\", "?1", ":a"],
    *["$1", "", " ", "a ", " a", "ab", "aa", "Aa", "tmp-1", "tmp-", "TMP-1", "a\tb", "a\n", "null", "0", "1", "01"],
    *["1.0", "{}", '["a"]', "::", "ß", "SS", "ﬁ", "é", "e\u0301", "İ", "i\u0307", "😀", "😀x", "\u202e", "\ufeff"],
    "\U0010ffff",
]
POOL = [*NAMES, *ODD_NAMES]
IN_PATTERNS = [name for name in POOL if name.strip() and name.isprintable()]
REGEXES = [
    *["sql_record::", "sql_rec", "sql_record::openai_files::a", "sql_record::openai_files::tmp-.*"],
    *["sql_record::(openai_files|x)::.*", "sql_record::(openai_files|responses)::[ab]", r"sql_record::\w+::[ab]$"],
    *["sql_record::openai_files::a$", "prompt::.*", "prompt::(a|b)$", r"(?i)prompt::a\Z", "prompt::(?!a)"],
    *["(prompt|batch)::a", "prompt::a|batch::b$", "^^batch::", "batch::a?$", "batch::(?:a|b|)b*"],
    *["vector_db::.*", "vector_db::a", "vector_store::a$", "vector_(db|store)::(a|b)", r"vector_\w+::[a-z]+$"],
    *[r"prompt::a\x00b", r"(?:prompt|batch)::(?:a|\x00)", r"sql_record::openai_files::[\x00-a]$"],
    *["vector_db::.+", ".*::a", ".*", "[^:]+::a$", "(?!model)", "(?!vector_db)", "b", "(?s).*b$"],
]
ENDS = ["", ".*", "$", r"\Z"]
CONDITIONS = shared | shared | owned | unowned | about_the_caller
names = st.sampled_from(IN_PATTERNS)
patterns = st.one_of(
    st.builds("{}::{}".format, st.sampled_from(SPELLINGS), names | st.sampled_from(["*", "", "a"])),
    st.sampled_from(["*", "sql_record::*", "sql_record::openai_files", "sql_record::openai_files::*"]),
    st.sampled_from(REGEXES).map("regex:{}".format),
    st.builds("regex:{}::{}{}".format, st.sampled_from(SPELLINGS), names.map(re.escape), st.sampled_from(ENDS)),
)


@st.composite
def scopes(draw: st.DrawFn) -> dict[str, Any]:
    """Some actions, mostly to read, often on some records, seldom by one principal."""
    scope: dict[str, Any] = {"actions": draw(some(ACTIONS, most=4))}
    if draw(mostly):
        scope["resource"] = draw(patterns)
    if not draw(mostly) and not draw(mostly):
        scope["principal"] = draw(st.sampled_from(IDS))
    return scope


@st.composite
def policies(draw: st.DrawFn) -> str:
    """A configuration as the text of a YAML file; most have an access policy and authentication."""
    auth: dict[str, Any] = {}
    if draw(mostly):
        auth["provider_config"] = {"type": "oauth2_token", "jwks": {"uri": "https://issuer.example/jwks"}}
    if draw(mostly) or draw(mostly):
        auth["access_policy"] = draw(st.lists(rules(scopes(), CONDITIONS), min_size=1, max_size=8))
    return yaml.safe_dump({"version": 2, "server": {"auth": auth}}, sort_keys=False, allow_unicode=True)


@dataclass(frozen=True)
class List:
    """Who wants to do what to the records of which type; a record is the `resource` of the question about it alone."""

    principal: dict[str, Any] | None
    action: str
    type: str
    records: tuple[dict[str, Any], ...]

    def questions(self) -> list[dict[str, Any]]:
        """The question about each record."""
        return [{"principal": self.principal, "action": self.action, "resource": record} for record in self.records]


def random_list(chance: random.Random, policy: Sequence[dict[str, Any]]) -> List:
    """A list that one of the rules, often, is about; its records are owned by nobody, the caller or somebody alike."""
    caller, kind, matching = principal(chance), chance.choice(TYPES), POOL
    action = chance.choice(["read", "update", "delete"])
    if policy and chance.random() < 0.9:
        rule = chance.choice(policy)
        aim_caller(chance, rule, caller)
        action = chance.choice([each for each in listed(scope_of(rule)["actions"]) if each != "create"] or [action])
        kind, matching = chance.choice(_matched(scope_of(rule)) or [(kind, matching)])
    asking = caller if chance.random() < 0.85 else None
    return List(asking, action, kind, tuple(_record(chance, kind, caller, matching) for _ in range(RECORDS)))


def _matched(scope: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """Types and their names that a scope is about; the reference model helps to aim, and judges later."""
    pattern = scope.get("resource", "*")
    found = [(kind, [name for name in POOL if _is_named(pattern, kind, name)]) for kind in TYPES]
    return [(kind, matching) for kind, matching in found if matching]


@cache
def _is_named(pattern: str, kind: str, name: str) -> bool:
    return model.names_resource(pattern, {"type": kind, "names": [name]})


def _record(chance: random.Random, kind: str, caller: dict[str, Any], matching: list[str]) -> dict[str, Any]:
    other = principal(chance)
    colleague = {**other, "attributes": {**other["attributes"], **_one_of(chance, caller["attributes"])}}
    namesake = {**other, "id": caller["id"]}
    return {
        "type": kind,
        "names": [chance.choice(chance.choice([matching, matching, POOL, NAMES]))],
        "owner": chance.choice([None, caller, namesake, colleague, other]),
        "origin": chance.choice(["created", "created", "created", "config"]),
    }


def _one_of(chance: random.Random, attributes: dict[str, list[str]]) -> dict[str, list[str]]:
    name = chance.choice(ATTRIBUTES)
    return {name: attributes[name]} if name in attributes else {}


_TABLE = (
    "TABLE records (place INTEGER PRIMARY KEY, id TEXT NOT NULL, origin TEXT NOT NULL,"
    " owner_principal TEXT, owner_issuer TEXT, access_attributes TEXT NOT NULL)"
)
"""With the columns that a filter reads."""


class SqliteRows:
    """Records in SQLite."""

    dialect = SQLITE

    def __init__(self) -> None:
        self._connection = sqlite3.connect(":memory:", isolation_level=None)
        self._connection.execute(f"CREATE {_TABLE} STRICT")

    def replace(self, records: Sequence[dict[str, Any]]) -> None:
        """Keep these records and no others; those that somebody owns say so as the store would."""
        self._connection.execute("DELETE FROM records")
        rows = map(_row, range(len(records)), records)
        self._connection.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?)", rows)

    def judge(self, found: SqlFilter) -> list[tuple[RowVerdict, bool]]:
        """Of each record the verdict, and whether the condition selects it."""
        selected = {place for (place,) in self._connection.execute(_selecting(found), found.parameters)}
        verdicts = self._connection.execute(_judging(found), found.parameters)
        return [(RowVerdict(verdict), place in selected) for place, verdict, _ in verdicts]

    def close(self) -> None:
        """Forget the records."""
        self._connection.close()


class PostgresRows:
    """The same in PostgreSQL, over asyncpg as in the server."""

    dialect = POSTGRESQL

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self._connection = self._runner.run(asyncpg.connect(url, statement_cache_size=0))
        self._runner.run(self._connection.execute(f"CREATE TEMPORARY {_TABLE}"))

    def replace(self, records: Sequence[dict[str, Any]]) -> None:
        """Keep these records and no others; those that somebody owns say so as the store would."""
        self._runner.run(self._connection.execute("TRUNCATE records"))
        rows = list(map(_row, range(len(records)), records))
        self._runner.run(self._connection.executemany("INSERT INTO records VALUES ($1, $2, $3, $4, $5, $6)", rows))

    def judge(self, found: SqlFilter) -> list[tuple[RowVerdict, bool]]:
        """Of each record the verdict, and whether the condition selects it."""
        chosen = self._runner.run(self._connection.fetch(_selecting(found), *found.parameters))
        verdicts = self._runner.run(self._connection.fetch(_judging(found), *found.parameters))
        selected = {place for (place,) in chosen}
        return [(RowVerdict(verdict), place in selected) for place, verdict, _ in verdicts]

    def close(self) -> None:
        """Forget the records, which nobody else has seen."""
        self._runner.run(self._connection.close())
        self._runner.close()


Rows = SqliteRows | PostgresRows


def _selecting(found: SqlFilter) -> str:
    return f"SELECT place FROM records WHERE {found.condition}"  # noqa: S608 - it is under test


def _judging(found: SqlFilter) -> str:
    # As in the statement of a list: the verdict is selected beside a condition that uses every parameter.
    return f"SELECT place, {found.verdict}, {found.condition} FROM records ORDER BY place"  # noqa: S608 - likewise


def _row(place: int, record: dict[str, Any]) -> tuple[Any, ...]:
    owner = record["owner"]
    if owner is None:
        return place, record["names"][0], record["origin"], None, None, "{}"
    attributes = json.dumps(owner["attributes"], ensure_ascii=place % 2 == 0)
    return place, record["names"][0], record["origin"], owner["id"], owner["issuer"], attributes
