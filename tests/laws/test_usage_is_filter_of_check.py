"""A report of usage holds the sums of exactly those accounts that a question about each of them permits to read.

The real reports over the real databases, with policies and accounts that nobody thought of, and a real OPA.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import astuple, dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from policy.vocabulary import Origin, Principal, Resource
from server.authz.pep import PolicyEnforcementPoint
from server.authz.request_authorization import Gate
from server.storage.database.database import Step
from server.storage.usage import report
from server.storage.usage.report import COLUMNS, UsageQuery, UsageReports
from server.storage.usage.table import UsageTable
from tests.reference import configuration
from tests.support.databases import Make, opened
from tests.support.law_gates import World, asking, both_databases, gate_of
from tests.support.opa_engine import LiveOpa, compile_config
from tests.support.record_lists import List, policies, random_list

NIGHTLY = os.environ.get("OSTIARY_NIGHTLY") == "1"
POLICIES = 1_500 if NIGHTLY else 30
ACCOUNT = (
    "INSERT INTO usage (account, id, owner_principal, owner_issuer, access_attributes) VALUES (?1, ?2, ?3, ?4, ?5)"
)
COUNT = 'INSERT INTO "usage$days" VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0, 0, 0, 0, ?6)'
FIRST = 100
"""The first day of each report."""

Row = tuple[str, int, str, str, str, int]
"""A row of counts: its account, its day, its team, its model and its provider, and the number of requests."""


@dataclass(frozen=True)
class Held:
    """An account, and the resource that the policy is asked about."""

    account: str
    resource: Resource
    rows: tuple[Row, ...]


@pytest.fixture(scope="module")
def world(live: LiveOpa, postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World[UsageTable]]:
    with both_databases(live, tmp_path_factory.mktemp("usage"), postgres_url, tables) as world:
        yield world


async def tables(stack: AsyncExitStack, makes: Sequence[Make]) -> list[UsageTable]:
    """An empty table in each of the databases."""
    made = [UsageTable(await stack.enter_async_context(opened(make)), "usage") for make in makes]
    for table in made:
        await table.prepare()
    return made


@pytest.mark.timeout(3_000 if NIGHTLY else 120)
def test_a_report_is_the_sum_of_what_may_be_read(
    live: LiveOpa, world: World[UsageTable], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Counter[str]()
    monkeypatch.setattr(report, "_ASKED_AT_ONCE", 3)

    @settings(
        max_examples=POLICIES,
        derandomize=not NIGHTLY,
        database=None,
        deadline=None,
        # Shrinking takes minutes; the message alone shows the policy.
        phases=[Phase.generate, Phase.shrink] if NIGHTLY else [Phase.generate],
        print_blob=NIGHTLY,
        suppress_health_check=list(HealthCheck),
    )
    @given(text=policies(), seed=st.integers(0, 2**63))
    def law(text: str, seed: int) -> None:
        chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
        text = text.replace("prompt::", "usage::").replace("sql_record::openai_files::", "usage::")
        if chance.random() < 0.5:
            text = asking(chance, text)
        live.load(compile_config(text))
        wanted = random_list(chance, configuration.auth(configuration.load(text, {})).get("access_policy", []))
        held = list(accounts_of(chance, wanted))
        found = [world.runner.run(checked(world.pep, table, wanted, held, seed)) for table in world.places]
        assert found[0] == found[1]
        seen["none" if not found[0] else "all" if len(found[0]) == len(held) else "some"] += 1

    law()
    assert min(seen[word] for word in ("none", "some", "all")) >= POLICIES // 20, seen


def accounts_of(chance: random.Random, wanted: List) -> Iterator[Held]:
    """The records of the list as accounts, of which several may have one name and different owners."""
    for number, record in enumerate(wanted.records):
        name, owned = record["names"][0], record["owner"]
        if "\0" in name:
            continue
        owner = None
        if owned is not None:
            attributes = {each: tuple(values) for each, values in owned["attributes"].items()}
            owner = Principal(owned["id"], owned["issuer"], attributes)
        account = f"account-{number:02}"
        rows = tuple(
            (account, day, chance.choice(["", "ml", "ops"]), chance.choice(["p/m", "p/n"]), "p", chance.randrange(1, 9))
            for day in chance.sample(range(FIRST - 2, FIRST + 4), 2)
        )
        yield Held(account, Resource("usage", (name,), owner, Origin.CREATED), rows)


async def checked(
    pep: PolicyEnforcementPoint, table: UsageTable, wanted: List, held: list[Held], seed: int
) -> list[str]:
    """The accounts that the caller may read, once each report has yielded their sums."""
    chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
    reports, gate = UsageReports(table), gate_of(pep, wanted)
    await table.database.write(*filling(held))
    try:
        permits = {id(permit.resource) for permit in await gate.readable([each.resource for each in held])}
        permitted = [each for each in held if id(each.resource) in permits]
        for by in COLUMNS:
            sums = summed(permitted, by)
            query = UsageQuery(by, FIRST, chance.randrange(1, 5), descending=chance.random() < 0.5)
            expected = sorted(sums.items(), reverse=query.descending, key=lambda item: in_order(item[0]))
            assert await forwards(reports, gate, query) == expected
            assert await before_one(reports, gate, query, [key for key, _ in expected], chance)
        return [each.account for each in permitted]
    finally:
        await table.database.write(Step('DELETE FROM "usage$days"'), Step("DELETE FROM usage"))


def in_order(key: str | int) -> Any:
    return key if isinstance(key, int) else key.encode()


def filling(held: list[Held]) -> Iterator[Step]:
    """The steps that keep these accounts and their counts."""
    for each in held:
        owner = each.resource.owner
        named = (None, None, "{}")
        if owner is not None:
            attributes = {name: [*values] for name, values in owner.attributes.items()}
            named = (owner.id, owner.issuer, json.dumps(attributes, ensure_ascii=False))  # type: ignore[assignment]
        yield Step(ACCOUNT, (each.account, each.resource.names[0], *named))
        yield from (Step(COUNT, row) for row in each.rows)


def summed(permitted: list[Held], by: str) -> dict[str | int, int]:
    """The number of requests in each group."""
    sums: dict[str | int, int] = defaultdict(int)
    for each in permitted:
        for _, day, team, model, provider, requests in each.rows:
            groups = {"principal": each.resource.names[0], "team": team, "model": model, "provider": provider}
            if day >= FIRST:
                sums[groups.get(by, day)] += requests
    return sums


async def forwards(reports: UsageReports, gate: Gate, query: UsageQuery) -> list[tuple[str | int, int]]:
    """The groups on all pages, one after the other, with their requests."""
    found: list[tuple[str | int, int]] = []
    while True:
        page = await reports.page(gate, query)
        found += [(group.key, group.spent.requests) for group in page.groups]
        assert all(group.spent.total_tokens == group.spent.requests for group in page.groups)
        assert all(sum(astuple(group.spent)) == 2 * group.spent.requests for group in page.groups)
        if not page.has_more:
            return found
        assert len(page.groups) == query.limit
        query = replace(query, after=found[-1][0])


async def before_one(
    reports: UsageReports, gate: Gate, query: UsageQuery, keys: list[str | int], chance: random.Random
) -> bool:
    """Whether the page before one of the groups is what lies before it."""
    if not keys:
        return True
    limit, place = query.limit or 0, chance.randrange(len(keys))
    page = await reports.page(gate, replace(query, before=keys[place]))
    is_there = [group.key for group in page.groups] == keys[max(0, place - limit) : place]
    return is_there and page.has_more is (place > limit)
