"""Counts of the usage of models in memory: what is told apart, what is bounded, and what accounts are called."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest

from policy.vocabulary import Anonymous, Principal
from server.inference.answers.metered import Ending
from server.inference.provider import Tokens
from server.storage.usage import tally
from server.storage.usage.table import Batch, account_id, batches_of
from server.storage.usage.tally import Account, Spent, UsageTally, UsedModel, account_name

ALICE, BOB = Principal("alice", "https://idp", {"teams": ("ml", "eng")}), Principal("bob", "https://idp")
MODEL, OTHER = UsedModel("p/m", "p", is_configured=True), UsedModel("p/n", "p", is_configured=False)
DAY = 24 * 3600


def once(counted: UsageTally, caller: Principal | Anonymous = ALICE, model: UsedModel = MODEL) -> None:
    counted.count(caller, model, Ending.ANSWERED, 1, None)


def names(accounts: list[Account]) -> dict[str, int]:
    """The number of requests of each name."""
    found = dict[str, int]()
    for account in accounts:
        found[account.name] = found.get(account.name, 0) + sum(each.requests for each in account.counts.values())
    return found


def test_requests_are_counted_by_principal_model_and_day() -> None:
    now = [0.0]
    counted = UsageTally(lambda: now[0])
    counted.count(ALICE, MODEL, Ending.ANSWERED, 9, Tokens(9, 5, 4, 2))
    counted.count(ALICE, MODEL, Ending.FAILED, 0, None)
    counted.count(ALICE, MODEL, Ending.CANCELLED, 3, None)
    now[0] = DAY - 0.1
    once(counted)
    now[0] = DAY
    once(counted)
    once(counted, ALICE, OTHER)
    once(counted, Anonymous())
    accounts = {account.name: account for account in counted.take()}
    assert accounts.keys() == {"https://idp::alice", "anonymous"}
    assert accounts["https://idp::alice"].owner == ALICE
    assert accounts["anonymous"].owner is None
    assert accounts["https://idp::alice"].counts == {
        (0, "p/m", "p"): Spent(4, 1, 1, 5, 4, 2, 13),
        (1, "p/m", "p"): Spent(1, 0, 0, 0, 0, 0, 1),
        (1, "p/n", "p"): Spent(1, 0, 0, 0, 0, 0, 1),
    }
    assert counted.take() == []
    # What was registered has no metric of its own: callers choose its names.
    assert {model: spent.requests for model, spent in counted.totals.items()} == {("p", "p/m"): 6, ("p", "others"): 1}


def test_what_a_principal_held_then_is_what_its_account_has() -> None:
    counted, moved = UsageTally(), Principal("alice", "https://idp", {"teams": ("ops",)})
    for caller in (ALICE, moved, Principal("alice", "https://idp", {"teams": ("ml", "eng")}), moved, moved):
        once(counted, caller)
    assert [(account.owner, names([account])) for account in counted.take()] == [
        (ALICE, {"https://idp::alice": 2}),
        (moved, {"https://idp::alice": 3}),
    ]


def test_a_principal_in_too_many_forms_is_one_of_many() -> None:
    counted = UsageTally()
    for number in range(tally.MOST_VARIANTS + 3):
        once(counted, Principal("alice", "", {"teams": (f"t{number}",)}))
    once(counted, BOB)
    accounts = counted.take()
    assert names(accounts) == {"others": 3, "::alice": tally.MOST_VARIANTS, "https://idp::bob": 1}
    # In no form does it lose an attribute by which a rule may keep others away.
    assert all(account.owner is None or account.owner.attributes or account.owner == BOB for account in accounts)


def test_too_many_principals_count_together_and_those_before_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "MOST_COUNTS", 3)
    counted = UsageTally()
    for number in [*range(6), 0]:
        once(counted, Principal(f"p{number}"))
    once(counted, Principal("p1"), OTHER)
    assert names(counted.take()) == {"others": 4, "::p0": 2, "::p1": 1, "::p2": 1}
    once(counted, Principal("p5"))
    assert names(counted.take()) == {"::p5": 1}


def test_too_many_values_count_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "MOST_VALUES", 3)
    counted = UsageTally()
    once(counted, ALICE)
    once(counted, Principal("carol", "", {"teams": ("a", "b")}))
    once(counted, BOB)
    assert names(counted.take()) == {"others": 1, "https://idp::alice": 1, "https://idp::bob": 1}


@pytest.mark.parametrize("caller", [ALICE, Anonymous()])
def test_too_many_models_of_one_caller_count_together(
    caller: Principal | Anonymous, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tally, "MOST_COUNTS_EACH", 2)
    counted = UsageTally()
    for number in [*range(5), 1, 3]:
        once(counted, caller, UsedModel(f"p/{number}", "p", is_configured=False))
    once(counted, BOB)
    account = counted.take()[0]
    assert {key.model: spent.requests for key, spent in account.counts.items()} == {"p/0": 1, "p/1": 2, "others": 4}


def test_no_two_principals_have_one_name() -> None:
    parts = [
        "",
        "a",
        ":",
        "::",
        ":::",
        "a:",
        ":a",
        "a::",
        "::a",
        "%",
        "%3A",
        "%3A%3A",
        "a::b",
        "https://a",
        "anonymous",
    ]
    pairs = list(product(parts, parts))
    assert len({account_name(Principal(identity, issuer)) for issuer, identity in pairs}) == len(pairs)
    assert account_name(Principal("alice", "https://idp.example/a")) == "https://idp.example/a::alice"
    assert not {"anonymous", "others"} & {account_name(Principal(identity, issuer)) for issuer, identity in pairs}


def rows(batches: Iterator[Batch]) -> list[tuple[str | int, ...]]:
    return [row.counted[1:6] for batch in batches for row in batch]


def test_the_team_is_the_first_value_of_the_attribute() -> None:
    counted = UsageTally(lambda: 0.0)
    once(counted, ALICE)
    once(counted, BOB)
    once(counted, Anonymous())
    accounts = counted.take()
    assert rows(batches_of(accounts, "teams")) == [
        (0, "", "p/m", "p", 1),
        (0, "eng", "p/m", "p", 1),
        (0, "", "p/m", "p", 1),
    ]
    assert {row[1] for row in rows(batches_of(accounts, "projects"))} == {""}


def test_batches_are_bounded_in_counts_and_in_bytes() -> None:
    counted = UsageTally()
    for number in range(700):
        once(counted, Principal(f"p{number}"))
    assert [len(batch) for batch in batches_of(counted.take(), "teams")] == [500, 200]
    large = {"teams": tuple(f"{number:0256}" for number in range(900))}
    for number in range(12):
        once(counted, Principal(f"p{number}", "", large))
    assert [len(batch) for batch in batches_of(counted.take(), "teams")] == [5, 5, 2]


def test_an_account_is_the_same_in_every_process() -> None:
    assert account_id(Principal("a", "b"), "{}") != account_id(Principal("b", "a"), "{}")
    first, second = (
        Principal("a", "b", attributes) for attributes in ({"x": ("1", "2"), "y": ()}, {"y": (), "x": ("2", "1")})
    )
    found = []
    for caller in (first, second):
        counted = UsageTally(lambda: 0.0)
        once(counted, caller)
        found.append([*batches_of(counted.take(), "teams")])
    assert found[0] == found[1]
