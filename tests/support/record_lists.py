"""Random policies about stored records, and random lists of records under them."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml
from hypothesis import strategies as st

from policy.vocabulary import Action, Anonymous, Principal
from server.authz.contract.question import ListQuestion, encode_list
from server.authz.contract.record_filter import RecordFilter, read_filter
from server.storage.records.sql_filter import RowVerdict, compile_filter
from tests.reference import model
from tests.support.database_rows import Row, Rows
from tests.support.opa_engine import LiveOpa
from tests.support.policy_questions import ATTRIBUTES, NAMES, STORAGE, aim_caller, listed, principal, scope_of, typed
from tests.support.policy_strategies import (
    PROVIDERS,
    about_the_caller,
    callers,
    mostly,
    owned,
    rules,
    shared,
    some,
    unowned,
)

RECORDS = 12
"""Records in each list."""

TYPES = [
    *["sql_record::openai_files", "sql_record::responses", "vector_store", "prompt", "batch", "model", "shield"],
    "usage",
]
SPELLINGS = [*TYPES, "vector_db", "tool", "sql_record::my_files"]
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
    *["sql_record::my_", "sql_record::my_files::a", "sql_record::my_files::(a|b)$"],
    *[
        "sql_record::(openai_files|conversation_items)::.*",
        "sql_record::(openai_files|responses)::[ab]",
        r"sql_record::\w+::[ab]$",
    ],
    *["sql_record::openai_files::a$", "prompt::.*", "prompt::(a|b)$", r"(?i)prompt::a\Z", "prompt::(?!a)"],
    *["(prompt|batch)::a", "prompt::a|batch::b$", "^^batch::", "batch::a?$", "batch::(?:a|b|)b*"],
    *["vector_db::.*", "vector_db::a", "vector_store::a$", "vector_(db|store)::(a|b)", r"vector_\w+::[a-z]+$"],
    *[r"prompt::a\x00b", r"(?:prompt|batch)::(?:a|\x00)", r"sql_record::openai_files::[\x00-a]$"],
    *["(?!prompt::a)prompt::.*", "(?!prompt::a$)(?:prompt|batch)::[a-z]", "(?=.*b$)sql_record::", "(?!sql_record::).*"],
    *["(?i)(?:PROMPT|sql_record)::", "[^s].*", "(?:prompt::|batch::)+a?", "(?=sql_record::openai_)(?!.*::a$)sql_re"],
    *["vector_db::.+", ".*::a", ".*", "[^:]+::a$", "(?!model)", "(?!vector_db)", "b", "(?s).*b$"],
]
FILTER = "/v1/data/ostiary/filters/answer?strict-builtin-errors=true"
ENDS = ["", ".*", "$", r"\Z"]
CONDITIONS = shared | shared | owned | unowned | about_the_caller
names = st.sampled_from(IN_PATTERNS)
patterns = st.one_of(
    st.builds("{}::{}".format, st.sampled_from(SPELLINGS), names | st.sampled_from(["*", "", "a"])),
    st.sampled_from(
        ["*", "sql_record::*", "sql_record::openai_files", "sql_record::openai_files::*", "sql_record::my_files::*"]
    ),
    st.sampled_from(REGEXES).map("regex:{}".format),
    st.builds("regex:{}::{}{}".format, st.sampled_from(SPELLINGS), names.map(re.escape), st.sampled_from(ENDS)),
)


@st.composite
def scopes(draw: st.DrawFn, issuers: list[str]) -> dict[str, Any]:
    """Some actions, mostly to read, often on some records, seldom by one principal."""
    scope: dict[str, Any] = {"actions": draw(some(ACTIONS, most=4))}
    if draw(mostly):
        scope["resource"] = draw(patterns)
    return scope if draw(mostly) else scope | callers(draw, issuers)


@st.composite
def policies(draw: st.DrawFn) -> str:
    """A configuration as the text of a YAML file; most have an access policy and authentication."""
    auth: dict[str, Any] = {}
    issuers, provider = draw(st.sampled_from(PROVIDERS))
    if provider is not None:
        auth["provider_config"] = provider
    if draw(mostly) or draw(mostly):
        auth["access_policy"] = draw(st.lists(rules(scopes(issuers), CONDITIONS), min_size=1, max_size=8))
    return yaml.safe_dump({"storage": STORAGE, "server": {"auth": auth}}, sort_keys=False, allow_unicode=True)


@dataclass(frozen=True)
class List:
    """Who wants to do what to the records of which type; a record is the `resource` of the question about it alone.

    `types` holds every name of a type that has several.
    """

    principal: dict[str, Any] | None
    action: str
    type: str
    records: tuple[dict[str, Any], ...]
    types: tuple[str, ...] = ()

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
    records = tuple(_record(chance, kind, caller, matching) for _ in range(RECORDS))
    return List(asking, action, kind, records, tuple(typed(kind).get("types", ())))


def _matched(scope: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """Types and their names that a scope is about; the reference model helps to aim, and judges later."""
    pattern = scope.get("resource", "*")
    found = [(kind, [name for name in POOL if _is_named(pattern, kind, name)]) for kind in TYPES]
    return [(kind, matching) for kind, matching in found if matching]


@cache
def _is_named(pattern: str, kind: str, name: str) -> bool:
    return model.names_resource(pattern, {**typed(kind), "names": [name]})


def _record(chance: random.Random, kind: str, caller: dict[str, Any], matching: list[str]) -> dict[str, Any]:
    other = principal(chance)
    colleague = {**other, "attributes": {**other["attributes"], **_one_of(chance, caller["attributes"])}}
    namesake = {**other, "id": caller["id"]}
    return {
        **typed(kind),
        "names": [chance.choice(chance.choice([matching, matching, POOL, NAMES]))],
        "owner": chance.choice([None, caller, namesake, colleague, other]),
        "origin": chance.choice(["created", "created", "created", "config"]),
    }


def _one_of(chance: random.Random, attributes: dict[str, list[str]]) -> dict[str, list[str]]:
    name = chance.choice(ATTRIBUTES)
    return {name: attributes[name]} if name in attributes else {}


def _row(place: int, record: dict[str, Any]) -> Row:
    """The record as the store keeps it."""
    owner = record["owner"]
    # Whether JSON escapes its characters makes no difference.
    attributes = {} if owner is None else owner["attributes"]
    return {
        "id": record["names"][0],
        "origin": record["origin"],
        "owner_principal": None if owner is None else owner["id"],
        "owner_issuer": None if owner is None else owner["issuer"],
        "access_attributes": json.dumps(attributes, ensure_ascii=place % 2 == 0),
    }


def verdicts(
    rows: Rows, record_filter: RecordFilter, records: Sequence[dict[str, Any]]
) -> list[tuple[RowVerdict, bool]]:
    """Of each record the verdict of the filter, and whether a list would select it."""
    found = compile_filter(record_filter, rows.dialect)
    rows.replace([_row(place, record) for place, record in enumerate(records)])
    judged_rows = rows.judge(found)
    assert {verdict for verdict, _ in judged_rows} <= found.outcomes
    return judged_rows


def asked(live: LiveOpa, wanted: List) -> RecordFilter:
    """The answer to the list question, read as the server reads it."""
    caller: Principal | Anonymous = Anonymous()
    if wanted.principal is not None:
        attributes = {name: tuple(values) for name, values in wanted.principal["attributes"].items()}
        caller = Principal(wanted.principal["id"], wanted.principal["issuer"], attributes)
    question = ListQuestion(caller, Action(wanted.action), wanted.type, wanted.types)
    status, answer = live.request("POST", FILTER, encode_list(question))
    assert status == 200, answer
    return read_filter(json.dumps(answer).encode(), question)
