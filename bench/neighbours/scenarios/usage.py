"""Pages of usage, of callers that have used many models for a month."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any, Final

from bench.neighbours.rows import opened
from bench.neighbours.scenario import GREEDY, Scenario, Stage
from bench.neighbours.scenarios.attacks import get, repeated
from bench.neighbours.settings import USAGE
from bench.tokens import ISSUER
from policy.vocabulary import Principal
from server.storage.usage.days import DEFAULT_DAYS, today
from server.storage.usage.table import UsageTable, batches_of
from server.storage.usage.tally import Account, Key, Spent

_MODELS: Final = 500
_TEAMS: Final = 4
_OTHERS: Final = 200


def _used(stage: Stage) -> Mapping[str, Any]:
    """Write the usage of the greedy caller, and a little of many others."""
    asyncio.run(_write(stage.database))
    return {}


async def _write(database: str) -> None:
    kept = opened(database)
    await kept.start()
    try:
        table = UsageTable(kept, f"kv_{USAGE}")
        for number, batch in enumerate(batches_of([*_accounts()], "teams"), start=1):
            await table.write("bench", number, batch)
    finally:
        await kept.close()


def _accounts() -> Iterator[Account]:
    for team in range(_TEAMS):
        yield _account(GREEDY, f"team-{team}", _MODELS)
    for other in range(_OTHERS):
        yield _account(f"other-{other}", "others", 3)


def _account(name: str, team: str, models: int) -> Account:
    owner = Principal(name, ISSUER, {"teams": (team,)})
    spent = Spent(1, total_tokens=100)
    days = range(today() - DEFAULT_DAYS + 1, today() + 1)
    counts = {Key(day, f"bench/model-{number}", "bench"): spent for day, number in product(days, range(models))}
    return Account(f"usage::{ISSUER}::{name}", owner, counts)


SCENARIOS: Final = [
    Scenario("pages of usage", repeated(get("/v1/usage")), _used, kept=True),
    Scenario("pages of usage by model", repeated(get("/v1/usage?group_by=model&limit=1000")), _used, kept=True),
    Scenario("pages of usage by day", repeated(get("/v1/usage?group_by=day")), _used, kept=True),
]
