"""Gates of random callers to a real OPA, databases behind them, and rules that leave records undecided."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import yaml

from policy.vocabulary import Anonymous, Principal, Route
from server.authz.decision_log.log import DecisionLog
from server.authz.opa.transport import OpaTransport, UnixAddress
from server.authz.pdp import PolicyDecisionPoint
from server.authz.pep import PolicyEnforcementPoint
from server.authz.request_authorization import Gate
from server.authz.request_context import RequestContext
from tests.support.databases import Make, empty_postgres, empty_sqlite
from tests.support.opa_engine import LiveOpa
from tests.support.record_lists import List

T = TypeVar("T")


@dataclass(frozen=True)
class World(Generic[T]):
    """A policy engine, a place in each of the databases, and the loop in which they are used."""

    runner: asyncio.Runner
    pep: PolicyEnforcementPoint
    places: Sequence[T]


@contextmanager
def both_databases(
    live: LiveOpa,
    folder: Path,
    postgres_url: str,
    places: Callable[[AsyncExitStack, Sequence[Make]], Awaitable[Sequence[T]]],
    deadline: float = 2.0,
) -> Iterator[World[T]]:
    """The places in an SQLite database and in one of PostgreSQL; what is opened on their stack is closed at the end."""

    async def standing() -> AsyncIterator[tuple[PolicyEnforcementPoint, Sequence[T]]]:
        async with AsyncExitStack() as stack:
            made = await places(stack, (sqlite, postgres))
            yield await stack.enter_async_context(enforcing(live, folder, deadline)), made

    with empty_sqlite(folder) as sqlite, empty_postgres(postgres_url) as postgres, asyncio.Runner() as runner:
        running = standing()
        pep, made = runner.run(anext(running))
        yield World(runner, pep, made)
        runner.run(running.aclose())


@asynccontextmanager
async def enforcing(live: LiveOpa, folder: Path, deadline: float = 2.0) -> AsyncIterator[PolicyEnforcementPoint]:
    """An enforcement point that waits so many seconds for the policy engine, with its decision log in the folder."""
    transport = OpaTransport(UnixAddress(live.address), deadline=deadline)
    log = DecisionLog.to_file(folder / "decisions.jsonl")
    try:
        yield PolicyEnforcementPoint(PolicyDecisionPoint(transport, None), log)
    finally:
        await log.close()
        transport.close()


def gate_of(pep: PolicyEnforcementPoint, wanted: List) -> Gate:
    """The gate of a request by the caller of a list, for a route that is open to all."""
    caller: Principal | Anonymous = Anonymous()
    if wanted.principal is not None:
        attributes = {name: tuple(values) for name, values in wanted.principal["attributes"].items()}
        caller = Principal(wanted.principal["id"], wanted.principal["issuer"], attributes)
    return Gate(pep, RequestContext("req_1", caller), Route("GET", "/v1/health"), requires_token=False)


def asking(chance: random.Random, text: str) -> str:
    """The configuration with a further rule, which only a question about each record tells to apply or not."""
    config = yaml.safe_load(text)
    rules = config["server"]["auth"].setdefault("access_policy", [])
    scope = {"actions": "read", "resource": "regex:.*[a-m01]$"}
    rules.insert(chance.randrange(len(rules) + 1), {chance.choice(["permit", "forbid"]): scope})
    return yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
