"""Who is counted as whom, in which period, and what a reservation becomes."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from policy.vocabulary import Anonymous, Principal
from server.quota import quota as module
from server.quota.admission import RequestCharge
from server.quota.counters import CountersUnavailable
from server.quota.quota import Limit, Quota, QuotaExceeded, Standing
from server.quota.sqlite import SqliteCounters
from tests.support.patience import PATIENCE

DAY = 86_400
ALICE = Principal("alice", "https://issuer.example")


class Clock:
    """Seconds since 1970, as the test wants them."""

    def __init__(self) -> None:
        self.now = 20_000.0 * DAY + 100

    def __call__(self) -> float:
        return self.now


def run(
    folder: Path,
    scenario: Callable[[Quota, Clock], Awaitable[None]],
    named: Sequence[Limit] = (),
    **limits: Limit,
) -> None:
    async def running() -> None:
        clock = Clock()
        given = {"anonymous": Limit(), "authenticated": Limit(tokens=100)} | limits
        quota = Quota(SqliteCounters(folder / "quotas.db"), DAY, named=named, now=clock, **given)
        async with quota.running():
            await scenario(quota, clock)

    asyncio.run(running())


async def entered(quota: Quota, caller: Principal | Anonymous = ALICE, address: str = "192.0.2.1") -> Standing:
    standing = await quota.take(caller, address, quota.limit_of(caller, None))
    assert standing is not None
    return standing


async def refused(asking: Awaitable[Standing | None]) -> Standing:
    with pytest.raises(QuotaExceeded) as exceeded:
        await asking
    return exceeded.value.standing


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not done():  # noqa: ASYNC110 - nothing in a file tells that it has changed
            await asyncio.sleep(0.01)


def test_what_is_reserved_becomes_what_is_used(tmp_path: Path) -> None:
    async def scenario(quota: Quota, clock: Clock) -> None:
        standing = await quota.reserve(await entered(quota), 60)
        assert standing.tokens_left == 40
        assert (await quota.settle(standing, 60, 10)).tokens_left == 90
        standing = await entered(quota)
        assert standing.tokens_left == 90
        standing = await quota.reserve(standing, 90)
        # More was used than was reserved: it is owed, and stops what comes next.
        assert (await quota.settle(standing, 90, 500)).tokens_left == 0
        assert (await refused(quota.reserve(await entered(quota), 1))).used.tokens == 510

    run(tmp_path, scenario)


def test_more_than_is_left_is_not_reserved_and_nothing_is_taken(tmp_path: Path) -> None:
    async def scenario(quota: Quota, clock: Clock) -> None:
        standing = await quota.reserve(await entered(quota), 60)
        assert (await refused(quota.reserve(standing, 41))).tokens_left == 40
        assert (await quota.reserve(standing, 40)).tokens_left == 0
        standing = await entered(quota)
        assert (await refused(quota.reserve(standing, 1))).used.requests == 2

    run(tmp_path, scenario)


def test_a_reservation_of_nothing_needs_a_token(tmp_path: Path) -> None:
    async def scenario(quota: Quota, clock: Clock) -> None:
        charge = RequestCharge(quota, ALICE, "192.0.2.1")
        await charge.pay(None)
        charge.check_tokens()
        for _ in range(100):
            await charge.reserve(0, 0)
        with pytest.raises(QuotaExceeded):
            await charge.reserve(0, 0)
        with pytest.raises(QuotaExceeded):
            charge.check_tokens()

    run(tmp_path, scenario)


@pytest.mark.parametrize("used", [10, 90])
def test_a_clock_that_jumps_back_changes_nothing_about_a_reservation(tmp_path: Path, used: int) -> None:
    async def scenario(quota: Quota, clock: Clock) -> None:
        await entered(quota)
        clock.now -= 3 * DAY
        standing = await quota.reserve(await entered(quota), 60)
        assert standing.used.requests == 2
        clock.now -= DAY
        await quota.settle(standing, 60, used)
        assert (await entered(quota)).tokens_left == 100 - used
        clock.now += 4 * DAY
        assert (await entered(quota)).tokens_left == 100 - used

    run(tmp_path, scenario)


def test_a_reservation_of_a_period_that_is_over_gives_nothing_to_the_next(tmp_path: Path) -> None:
    async def scenario(quota: Quota, clock: Clock) -> None:
        old = await quota.reserve(await entered(quota), 60)
        clock.now += DAY
        new = await quota.reserve(await entered(quota), 50)
        await quota.settle(old, 60, 0)
        assert (await quota.settle(new, 50, 50)).tokens_left == 50
        assert (await entered(quota)).tokens_left == 50

    run(tmp_path, scenario)


def test_a_store_that_is_lost_keeps_the_reservation(tmp_path: Path) -> None:
    async def scenario(quota: Quota, clock: Clock) -> None:
        standing = await quota.reserve(await entered(quota), 60)
        with closing(sqlite3.connect(tmp_path / "quotas.db")) as database:
            database.execute("ALTER TABLE quota RENAME TO away")
            await quota.settle(standing, 60, 0)
            with pytest.raises(CountersUnavailable):
                await entered(quota)
            database.execute("ALTER TABLE away RENAME TO quota")
        assert (await entered(quota)).tokens_left == 40

    run(tmp_path, scenario)


def test_a_reservation_is_settled_once(tmp_path: Path) -> None:
    async def scenario(quota: Quota, clock: Clock) -> None:
        charge = RequestCharge(quota, ALICE, "192.0.2.1")
        await charge.pay(None)
        first, second = await charge.reserve(60, 60), await charge.reserve(30, 30)
        for used in (10, 10, 0):
            await first.settle(used)
        assert (await entered(quota)).tokens_left == 100 - 10 - 30
        await second.settle(30)
        assert (await entered(quota)).tokens_left == 100 - 10 - 30

    run(tmp_path, scenario)


def test_a_reservation_is_settled_in_its_period_though_the_request_was_paid_for_in_the_next(tmp_path: Path) -> None:
    async def scenario(quota: Quota, clock: Clock) -> None:
        charge = RequestCharge(quota, ALICE, "192.0.2.1")
        await charge.pay(None)
        old = await charge.reserve(60, 60)
        clock.now += DAY
        await charge.pay(None)
        new = await charge.reserve(50, 50)
        await old.settle(0)
        assert (await entered(quota)).tokens_left == 50
        await new.settle(20)
        assert (await entered(quota)).tokens_left == 80

    run(tmp_path, scenario)


def test_a_caller_who_has_no_limit_any_more_settles_what_was_reserved_and_reserves_nothing(tmp_path: Path) -> None:
    async def scenario(quota: Quota, clock: Clock) -> None:
        charge = RequestCharge(quota, ALICE, "192.0.2.1")
        with pytest.raises(RuntimeError, match="before the request is paid for"):
            await charge.reserve(60, 60)
        await charge.pay(None)
        reserved = await charge.reserve(60, 60)
        await charge.pay(0)
        await (await charge.reserve(60, 60)).settle(70)
        await reserved.settle(10)
        assert (await entered(quota)).tokens_left == 90

    run(tmp_path, scenario, named=(Limit(),))


def test_a_caller_who_gets_a_limit_of_tokens_pays_from_then_on(tmp_path: Path) -> None:
    async def scenario(quota: Quota, clock: Clock) -> None:
        charge = RequestCharge(quota, ALICE, "192.0.2.1")
        for free in (0, 1):
            await charge.pay(free)
            before = await charge.reserve(60, 60)
            assert (before.reserved, await counted(quota)) == (0, 0)
        await charge.pay(None)
        assert (await charge.reserve(60, 60)).reserved == 60
        await before.settle(70)
        assert await counted(quota) == 60

    async def counted(quota: Quota) -> int:
        return 100 - ((await entered(quota)).tokens_left or 0)

    run(tmp_path, scenario, named=(Limit(), Limit(requests=100)))


def test_the_time_to_the_next_period_shrinks(tmp_path: Path) -> None:
    async def scenario(quota: Quota, clock: Clock) -> None:
        assert (await entered(quota)).resets_in == DAY - 100
        clock.now += 1000
        assert (await entered(quota)).resets_in == DAY - 1100
        assert (await refused(quota.reserve(await entered(quota), 101))).resets_in == DAY - 1100
        clock.now += DAY - 1100.5
        assert (await entered(quota)).resets_in == 1
        clock.now += 0.5
        assert (await entered(quota)).resets_in == DAY

    run(tmp_path, scenario)


def test_the_same_name_from_two_issuers_an_address_and_another_are_four_callers(tmp_path: Path) -> None:
    async def scenario(quota: Quota, clock: Clock) -> None:
        other = Principal("alice", "https://other.example")
        for caller, address in (
            (ALICE, "192.0.2.1"),
            (other, "192.0.2.1"),
            (Anonymous(), "192.0.2.1"),
            (Anonymous(), "192.0.2.2"),
        ):
            assert (await entered(quota, caller, address)).used.requests == 1
        assert (await entered(quota, ALICE, "192.0.2.9")).used.requests == 2
        assert (await entered(quota, Principal("192.0.2.1", ""))).used.requests == 1

    run(tmp_path, scenario, anonymous=Limit(5, 5), authenticated=Limit(5, 5))


def test_a_limit_that_the_configuration_does_not_have_gives_nothing(tmp_path: Path) -> None:
    async def scenario(quota: Quota, clock: Clock) -> None:
        await refused(quota.take(ALICE, "", quota.limit_of(ALICE, 0)))

    run(tmp_path, scenario)


def test_two_namespaces_in_one_store_know_nothing_of_each_other(tmp_path: Path) -> None:
    async def scenario() -> None:
        counters = SqliteCounters(tmp_path / "quotas.db")
        limits = {"anonymous": Limit(1), "authenticated": Limit(1)}
        here, there = (Quota(counters, DAY, **limits, namespace=name) for name in ("here", "there"))
        async with here.running():
            for quota in (here, there):
                assert (await entered(quota)).requests_left == 0
                await refused(entered(quota))

    asyncio.run(scenario())


def test_counts_of_periods_before_the_last_are_removed_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SWEEP_SECONDS", 0.01)
    today = 20_000 * DAY

    async def scenario(_quota: Quota, _clock: Clock) -> None:
        with closing(sqlite3.connect(tmp_path / "quotas.db", isolation_level=None)) as other:
            (schema,) = other.execute("SELECT sql FROM sqlite_schema WHERE name = 'quota'").fetchone()
            for _ in range(2):
                kept = [(f"{window}", window) for window in (today - 2 * DAY, today - DAY, today, today + DAY)]
                other.executemany("INSERT INTO quota VALUES (?, ?, 1, 1)", kept)
                await until(lambda: other.execute("SELECT count(*) FROM quota").fetchone() != (4,))
                assert other.execute("SELECT key, window FROM quota ORDER BY window").fetchall() == kept[1:]
                # A sweep that fails is not the last one.
                other.execute("DROP TABLE quota")
                await asyncio.sleep(0.1)
                other.execute(schema)

    run(tmp_path, scenario)


def test_a_refusal_says_whether_requests_or_tokens_are_used_up(tmp_path: Path) -> None:
    async def of_tokens(asking: Awaitable[Standing | None]) -> bool:
        with pytest.raises(QuotaExceeded) as exceeded:
            await asking
        return exceeded.value.of_tokens

    async def scenario(quota: Quota, _clock: Clock) -> None:
        standing = await entered(quota)
        assert await of_tokens(quota.reserve(standing, 101)) is True
        await quota.reserve(standing, 100)
        # What needs no tokens goes on.
        standing = await entered(quota)
        assert await of_tokens(quota.reserve(standing, 1)) is True
        bob = Principal("bob", "https://issuer.example")
        for _ in range(3):
            standing = await entered(quota, bob)
        await quota.reserve(standing, 100)
        assert await of_tokens(entered(quota, bob)) is False

    run(tmp_path, scenario, authenticated=Limit(3, 100))
