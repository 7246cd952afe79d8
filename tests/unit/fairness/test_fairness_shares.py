"""The units of a share: who gets them, in which order, and that none is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from contextvars import Context
from functools import wraps

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.vocabulary import Anonymous, Principal
from server.fairness.caller import CURRENT, SERVER, caller_of
from server.fairness.shares import FairShares, NoRoom, Share, Turn


def shares(
    capacity: int = 4,
    each: int = 2,
    *,
    waiting: int = 8,
    waiting_each: int = 4,
    seconds: float = 5,
    beside: int | None = None,
) -> FairShares:
    return FairShares(Share("tests", capacity, each, waiting, waiting_each, seconds, beside))


def in_a_loop(test: Callable[[], Coroutine[None, None, None]]) -> Callable[[], None]:
    @wraps(test)
    def run() -> None:
        asyncio.run(test())

    return run


async def until_waiting(of: FairShares, number: int) -> None:
    for _ in range(1000):
        if of.waiting == number:
            return
        await asyncio.sleep(0)
    raise AssertionError(f"{of.waiting} wait in place of {number}")


@in_a_loop
async def test_one_caller_leaves_units_for_others() -> None:
    fair = shares()
    mine = [await fair.take(caller=("a",)) for _ in range(2)]
    assert fair.take_now(caller=("a",)) is None
    other = await fair.take(caller=("b",))
    for turn in (*mine, other):
        turn.end()
    assert fair.used == 0


@in_a_loop
async def test_a_capped_caller_that_waits_does_not_stop_others() -> None:
    fair = shares()
    mine = [await fair.take(caller=("a",)) for _ in range(2)]
    third = asyncio.create_task(fair.take(caller=("a",)))
    await until_waiting(fair, 1)
    assert fair.take_now(caller=("b",)) is not None
    mine[0].end()
    assert (await third).size == 1


@in_a_loop
async def test_a_caller_gets_less_beside_others_than_alone() -> None:
    fair = shares(8, 4, beside=2)
    mine = [await fair.take(caller=("a",)) for _ in range(4)]
    later = [asyncio.create_task(fair.take(caller=("a",))) for _ in range(4)]
    await until_waiting(fair, 4)
    other = await fair.take(caller=("b",))
    third = await fair.take(caller=("c",))
    for turn in mine[:2]:
        turn.end()
    assert fair.waiting == 4
    mine[2].end()
    assert fair.waiting == 3
    assert fair.take_now(caller=("a",)) is None
    for turn in (other, third, *mine):
        turn.end()
    assert [(await task).size for task in later] == [1, 1, 1, 1]


@in_a_loop
async def test_a_caller_has_its_whole_share_again_once_the_others_have_gone() -> None:
    fair = shares(8, 4, beside=2)
    other = await fair.take(caller=("b",))
    mine = [await fair.take(caller=("a",)) for _ in range(2)]
    assert fair.take_now(caller=("a",)) is None
    later = [asyncio.create_task(fair.take(caller=("a",))) for _ in range(4)]
    await until_waiting(fair, 4)
    other.end()
    assert fair.waiting == 2  # none of its own turns has to end before
    mine[0].end()
    assert fair.waiting == 1
    assert [(await task).size for task in later[:3]] == [1, 1, 1]
    mine[1].end()
    assert (await later[3]).size == 1


@in_a_loop
async def test_a_caller_has_its_whole_share_again_once_the_others_wait_no_more() -> None:
    fair = shares(4, 4, beside=1)
    other, mine = await fair.take(caller=("b",)), await fair.take(caller=("a",))
    large = asyncio.create_task(fair.take(4, ("b",)))
    later = asyncio.create_task(fair.take(caller=("a",)))
    await until_waiting(fair, 2)
    other.end()
    assert fair.waiting == 2
    large.cancel()
    (await asyncio.wait_for(later, 1)).end()
    mine.end()
    assert (fair.used, fair.waiting, len(fair._holders)) == (0, 0, 0)


@in_a_loop
async def test_one_turn_may_be_larger_than_what_a_caller_gets_beside_others() -> None:
    fair = shares(8, 4, beside=2)
    other = await fair.take(caller=("b",))
    assert (await fair.take(4, ("a",))).size == 4
    other.end()


@in_a_loop
async def test_a_small_turn_comes_when_the_large_one_before_it_is_given_up() -> None:
    fair = shares(4, 3)
    held = await fair.take(2, caller=("a",))
    large = asyncio.create_task(fair.take(2, caller=("a",)))
    small = asyncio.create_task(fair.take(1, caller=("a",)))
    await until_waiting(fair, 2)
    large.cancel()
    turn = await asyncio.wait_for(small, 1)
    turn.end()
    held.end()
    assert (fair.used, fair.waiting, len(fair._holders)) == (0, 0, 0)


@in_a_loop
async def test_a_new_caller_waits_for_one_turn_of_another() -> None:
    fair = shares(1, 1)
    order: list[str] = []
    first = await fair.take(caller=("greedy",))

    async def work(name: str) -> None:
        async with fair.turn(caller=(name,)):
            order.append(name)

    tasks = [asyncio.create_task(work("greedy")) for _ in range(4)]
    await until_waiting(fair, 4)
    tasks.append(asyncio.create_task(work("modest")))
    await until_waiting(fair, 5)
    first.end()
    await asyncio.gather(*tasks)
    assert order.index("modest") == 0


@in_a_loop
async def test_a_new_caller_does_not_pass_a_large_turn_that_waits() -> None:
    fair = shares(4, 4)
    held = await fair.take(2, caller=("a",))
    large = asyncio.create_task(fair.take(4, caller=("b",)))
    await until_waiting(fair, 1)
    assert fair.take_now(caller=("c",)) is None
    held.end()
    (await large).end()


@in_a_loop
async def test_large_turns_cost_more_of_the_order() -> None:
    fair = shares(10, 10, waiting=40, waiting_each=20)
    order: list[str] = []
    held = await fair.take(10, ("first",))

    async def work(name: str, size: int) -> None:
        async with fair.turn(size, caller=(name,)):
            order.append(name)
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(work("large", 10)) for _ in range(3)]
    tasks += [asyncio.create_task(work("small", 5)) for _ in range(6)]
    await until_waiting(fair, 9)
    held.end()
    await asyncio.gather(*tasks)
    assert Counter(order[:6]) == {"large": 2, "small": 4}


@in_a_loop
async def test_more_than_a_share_counts_as_the_whole_share() -> None:
    fair = shares()
    assert (await fair.take(100, ("a",))).size == 2


@in_a_loop
async def test_a_turn_that_is_ended_twice_gives_back_once() -> None:
    fair = shares()
    turn, other = await fair.take(caller=("a",)), await fair.take(caller=("a",))
    turn.end()
    turn.end()
    assert fair.used == 1
    other.end()


@in_a_loop
async def test_a_caller_with_too_many_waiting_is_refused_at_once() -> None:
    fair = shares(1, 1, waiting=8, waiting_each=1)
    held = await fair.take(caller=("a",))
    waiting = asyncio.create_task(fair.take(caller=("a",)))
    await until_waiting(fair, 1)
    with pytest.raises(NoRoom, match="your share of tests is used up; try again in 1 s") as refusal:
        await fair.take(caller=("a",))
    assert refusal.value.of_caller
    held.end()
    (await waiting).end()


@in_a_loop
async def test_a_full_queue_takes_a_modest_caller_for_the_newest_of_the_longest() -> None:
    fair = shares(1, 1, waiting=4, waiting_each=4)
    held = await fair.take(caller=("greedy",))
    greedy = [asyncio.create_task(fair.take(caller=("greedy",))) for _ in range(4)]
    await until_waiting(fair, 4)
    modest = asyncio.create_task(fair.take(caller=("modest",)))
    with pytest.raises(NoRoom):
        await greedy[3]
    held.end()
    (await modest).end()
    for task in greedy[:3]:
        (await task).end()
    assert fair.used == fair.waiting == 0


@in_a_loop
async def test_ten_thousand_callers_are_bounded() -> None:
    fair = shares(4, 2, waiting=100, waiting_each=4)
    outcomes = [asyncio.create_task(fair.take(caller=(str(number),))) for number in range(10_000)]
    await until_waiting(fair, 100)
    await asyncio.sleep(0)
    refusals = 0
    for task in outcomes:
        try:
            (await task).end()
        except NoRoom as refusal:
            refusals += 1
            assert not refusal.of_caller
    assert refusals == 10_000 - 104
    assert fair.used == fair.waiting == len(fair._holders) == 0


@in_a_loop
async def test_a_wait_ends_after_its_seconds() -> None:
    fair = shares(1, 1, seconds=0.01)
    held = await fair.take(caller=("a",))
    with pytest.raises(NoRoom, match="the room for tests is used up") as refusal:
        await asyncio.wait_for(fair.take(caller=("b",)), 5)
    assert not refusal.value.of_caller
    held.end()
    assert (await fair.take(caller=("b",))).size == 1


@in_a_loop
async def test_a_caller_that_vanishes_keeps_no_place() -> None:
    fair = shares(1, 1)
    held = await fair.take(caller=("a",))
    gone = asyncio.create_task(fair.take(caller=("b",)))
    await until_waiting(fair, 1)
    gone.cancel()
    held.end()  # before the cancelled task has run
    await asyncio.gather(gone, return_exceptions=True)
    assert (fair.used, fair.waiting) == (0, 0)


@in_a_loop
async def test_a_turn_given_to_one_that_vanishes_is_given_back() -> None:
    fair = shares(1, 1)
    held = await fair.take(caller=("a",))
    gone = asyncio.create_task(fair.take(caller=("b",)))
    await until_waiting(fair, 1)
    held.end()
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    assert (fair.used, len(fair._holders)) == (0, 0)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abcde"), st.integers(1, 5), st.sampled_from(["work", "cancel"])), max_size=60),
    st.integers(1, 6),
    st.integers(1, 6),
    st.integers(1, 6),
)
def test_no_unit_is_lost_and_no_bound_is_passed(
    work: list[tuple[str, int, str]], capacity: int, each: int, beside: int
) -> None:
    each = min(each, capacity)

    async def run() -> None:
        fair = shares(capacity, each, waiting=100, waiting_each=100, beside=min(beside, each))
        held: Counter[str] = Counter()

        async def one(name: str, size: int) -> None:
            turn: Turn
            async with fair.turn(size, (name,)) as turn:
                held[name] += turn.size
                try:
                    assert held[name] <= each
                    assert held.total() <= capacity
                    await asyncio.sleep(0)
                finally:
                    held[name] -= turn.size

        tasks = []
        for name, size, end in work:
            tasks.append(asyncio.create_task(one(name, size)))
            await asyncio.sleep(0)
            if end == "cancel":
                tasks[len(tasks) // 2].cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert outcome is None or isinstance(outcome, asyncio.CancelledError)
        assert (fair.used, fair.waiting, len(fair._holders)) == (0, 0, 0)

    asyncio.run(run())


@pytest.mark.parametrize(
    "numbers",
    [
        *[(0, 0, 1, 1, 1), (4, 5, 1, 1, 1), (4, 0, 1, 1, 1), (4, 2, 1, 2, 1), (4, 2, 1, 1, 0)],
        *[(4, 2, 1, 1, 1, 3), (4, 2, 1, 1, 1, 0)],
    ],
)
def test_numbers_that_contradict_each_other_are_refused(numbers: tuple[int, int, int, int, float, int]) -> None:
    with pytest.raises(ValueError, match="tests"):
        Share("tests", *numbers)


def principal(identity: str, **attributes: tuple[str, ...]) -> Principal:
    return Principal(identity, "https://issuer", attributes)


def test_callers_are_principals_addresses_or_groups() -> None:
    ann, bob = principal("ann", teams=("red", "blue")), principal("bob", teams=("blue",))
    assert caller_of(ann, "1.2.3.4") == ("principal", "https://issuer", "ann")
    assert caller_of(Anonymous(), "1.2.3.4") == ("address", "1.2.3.4")
    assert (
        caller_of(ann, "", "teams") == caller_of(bob, "", "teams") == ("attribute", "https://issuer", "teams", "blue")
    )
    assert caller_of(principal("cyd"), "", "teams") == ("principal", "https://issuer", "cyd")
    # Other tests of the process may have left one behind in this context.
    assert Context().run(CURRENT.get) == SERVER


def test_a_turn_that_does_not_fit_what_is_left_of_a_share_is_the_callers_own_fault() -> None:
    async def scenario() -> None:
        shares = FairShares(Share("bytes", capacity=1000, each=100, waiting=4, waiting_each=4, seconds=0.01))
        held = await shares.take(60, ("greedy",))
        with pytest.raises(NoRoom) as refused:
            await shares.take(60, ("greedy",))
        assert refused.value.of_caller
        held.end()

    asyncio.run(scenario())
