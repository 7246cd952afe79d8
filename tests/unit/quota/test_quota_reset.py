"""What an operator sees of a caller's quota, and what a new start gives it."""

from __future__ import annotations

from policy.vocabulary import Anonymous, Principal
from server.quota.counters import Usage
from server.quota.quota import Limit, Quota
from tests.support.quota_counters import WINDOW, Make, new_key, opened, run, units, used

LIMIT = Limit(3, 10)


def test_what_is_used_is_told_and_set_to_nothing_in_its_period(make: Make) -> None:
    async def scenario() -> None:
        one, other, key, beside = make(), make(), new_key(), new_key()
        async with opened(one, other):
            assert await other.used(key) is None
            await other.reset(key)
            assert await other.used(key) is None
            for name in (key, beside):
                assert await one.take(units(name, 1)) == (True, used(1, 0))
                assert await one.take(units(name, None, tokens=7)) == (True, used(1, 7))
            assert await other.used(key) == Usage(1, 7, WINDOW)
            await other.reset(key)
            assert await one.used(key) == Usage(0, 0, WINDOW)
            assert await one.used(beside) == Usage(1, 7, WINDOW)
            assert await one.take(units(key, 1)) == (True, used(1, 0))
            assert await one.take(units(key, None, tokens=7, most_tokens=7)) == (True, used(1, 7))
            # A clock that jumps back finds the period still in force.
            await other.reset(key)
            assert await one.take(units(key, 1, window=WINDOW - 60)) == (True, Usage(1, 0, WINDOW))

    run(scenario())


def test_a_caller_has_its_whole_share_again(make: Make) -> None:
    now = [float(WINDOW)]
    space, alice = new_key(), Principal("alice", "https://idp")

    def quota() -> Quota:
        return Quota(make(), 60, anonymous=Limit(5), authenticated=LIMIT, namespace=space, now=lambda: now[0])

    async def scenario() -> None:
        serving, operator = quota(), quota()
        async with serving.open(), operator.open():
            assert (await operator.standing(alice, "")).used == Usage(0, 0, WINDOW)
            for _ in range(2):
                assert await serving.take(alice, "192.0.2.1", LIMIT)
            await serving.take(Anonymous(), "192.0.2.1", Limit(5))
            standing = await operator.standing(alice, "")
            assert (standing.used, standing.limit, standing.resets_in) == (Usage(2, 0, WINDOW), LIMIT, 60)
            assert (await operator.standing(Anonymous(), "192.0.2.1")).used == Usage(1, 0, WINDOW)
            assert (await operator.standing(Principal("alice", "https://other"), "")).used == Usage(0, 0, WINDOW)
            await operator.reset(alice, "")
            assert (await operator.standing(alice, "")).used == Usage(0, 0, WINDOW)
            assert (await operator.standing(Anonymous(), "192.0.2.1")).used == Usage(1, 0, WINDOW)
            await serving.take(alice, "192.0.2.1", LIMIT)
            now[0] += 60
            assert (await operator.standing(alice, "")).used == Usage(0, 0, WINDOW + 60)

    run(scenario())
