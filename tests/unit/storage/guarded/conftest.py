"""A guarded store in a database of each kind, with a real OPA."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from textwrap import dedent

import pytest

from server.authz.decision_log.log import DecisionLog
from server.authz.opa.transport import OpaTransport, UnixAddress
from server.authz.pdp import PolicyDecisionPoint
from server.authz.pep import PolicyEnforcementPoint
from server.storage.database.migrate import bring_up_to_date
from server.storage.records.guarded import GuardedStore
from server.storage.records.table import RecordTable
from tests.support.databases import Make, opened
from tests.support.guarded_things import KIND, POLICY, Work, World
from tests.support.opa_engine import OpaServer, compile_config


@pytest.fixture(scope="module")
def socket(opa_binary: Path) -> Iterator[Path]:
    with OpaServer(opa_binary, compile_config(dedent(POLICY)).archive) as opa:
        yield opa.address


@pytest.fixture
def run(make: Make, socket: Path, tmp_path: Path) -> Callable[[Work], None]:
    """Runs a piece of work in a world of its own."""

    async def worked(work: Work) -> None:
        transport = OpaTransport(UnixAddress(socket), deadline=2.0)
        log = DecisionLog.to_file(tmp_path / "decisions.jsonl")
        pdp = PolicyDecisionPoint(transport, None)
        with ExitStack() as stack:
            stack.callback(transport.close)
            async with opened(make) as database:
                await bring_up_to_date(database, "things")
                records = RecordTable(database, "things")
                await work(World(GuardedStore(records, KIND), records, PolicyEnforcementPoint(pdp, log), pdp))
            await log.close()

    return lambda work: asyncio.run(worked(work))
