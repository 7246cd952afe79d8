"""The toll by its values: which paths are free, what headers say, which limit a refusal names, who shares a place."""

from __future__ import annotations

from pathlib import Path

import pytest

from policy.vocabulary import Anonymous, Principal
from server.fairness.caller import Caller, caller_of
from server.fairness.shares import NoRoom
from server.net.client_address import ClientAddresses
from server.quota.admission import (
    FREE,
    Admission,
    ConcurrencyLimit,
    Limited,
    TooManyAtOnce,
    at_path,
    limited_by,
    quota_headers,
)
from server.quota.counters import CountersUnavailable, Usage
from server.quota.quota import Limit, Quota, QuotaExceeded, Standing
from server.quota.sqlite import SqliteCounters

LIMIT = Limit(5, 70, "server.quota.limits[1].max_requests", "server.quota.limits[1].max_tokens_per_period")


def standing(requests: int, tokens: int, resets_in: int = 60, limit: Limit = LIMIT) -> Standing:
    return Standing("key", limit, Usage(requests, tokens, 0), resets_in)


@pytest.mark.parametrize(
    ("path", "is_free"),
    [
        ("/metrics", True),
        ("/v1/health", True),
        ("/v1/health/ready", True),
        ("/v1/version", True),
        ("/v1/health/live", False),
        ("/v1/models", False),
        ("/v1/chat/completions", False),
        ("/", False),
    ],
)
def test_probes_cost_nothing_and_everything_else_does(tmp_path: Path, path: str, is_free: bool) -> None:
    quota = Quota(SqliteCounters(tmp_path / "quotas.db"), 60, anonymous=Limit(1), authenticated=Limit(1))
    admission = Admission(quota, ConcurrencyLimit(None), ClientAddresses(()))
    assert (admission.charge(path, Anonymous(), "192.0.2.1") is None) is is_free


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (1, b"1s"),
        (59, b"59s"),
        (60, b"1m0s"),
        (3599, b"59m59s"),
        (3600, b"1h0m0s"),
        (7384, b"2h3m4s"),
        (86_400, b"24h0m0s"),
    ],
)
def test_the_headers_say_what_is_left_and_for_how_long(seconds: int, said: bytes) -> None:
    assert quota_headers(standing(2, 30, seconds)) == [
        (b"x-ratelimit-limit-requests", b"5"),
        (b"x-ratelimit-remaining-requests", b"3"),
        (b"x-ratelimit-reset-requests", said),
        (b"x-ratelimit-limit-tokens", b"70"),
        (b"x-ratelimit-remaining-tokens", b"40"),
        (b"x-ratelimit-reset-tokens", said),
    ]


def test_what_is_not_limited_has_no_header_and_more_than_all_leaves_nothing() -> None:
    assert quota_headers(standing(9, 0, limit=Limit(5))) == [
        (b"x-ratelimit-limit-requests", b"5"),
        (b"x-ratelimit-remaining-requests", b"0"),
        (b"x-ratelimit-reset-requests", b"1m0s"),
    ]
    assert [name for name, _ in quota_headers(standing(0, 80, limit=Limit(tokens=70)))] == [
        b"x-ratelimit-limit-tokens",
        b"x-ratelimit-remaining-tokens",
        b"x-ratelimit-reset-tokens",
    ]
    assert dict(quota_headers(standing(0, 80)))[b"x-ratelimit-remaining-tokens"] == b"0"


@pytest.mark.parametrize(
    ("fault", "limited"),
    [
        (
            # Another limit, which held before, let it use more.
            QuotaExceeded(standing(7, 30), of_tokens=False),
            Limited(LIMIT.requests_place, 5, 7, "the caller's share of requests is used up"),
        ),
        (
            QuotaExceeded(standing(2, 69), of_tokens=True),
            Limited(LIMIT.tokens_place, 70, 69, "the caller's share of tokens is used up"),
        ),
        (
            TooManyAtOnce(4),
            Limited("server.max_concurrent_requests", 4, 4, "the caller has as many requests under way as it may have"),
        ),
        (
            CountersUnavailable("secret"),
            Limited("server.quota", None, None, "nothing can be counted now", unavailable=True),
        ),
        (
            NoRoom("lists of records", of_caller=True),
            Limited("server.fairness", None, None, "the caller's share of lists of records is used up"),
        ),
        (
            NoRoom("lists of records", of_caller=False),
            Limited("server.fairness", None, None, "the room for lists of records is used up", unavailable=True),
        ),
    ],
    ids=["requests", "tokens", "places", "store", "share", "room"],
)
def test_the_log_names_the_limit_that_stopped_a_request(
    fault: QuotaExceeded | CountersUnavailable | TooManyAtOnce | NoRoom, limited: Limited
) -> None:
    assert limited_by(fault) == limited


def test_callers_are_told_apart_by_issuer_and_id_or_by_their_address_alone() -> None:
    callers = {
        caller_of(Principal("a", "one"), "192.0.2.1"),
        caller_of(Principal("a", "two"), "192.0.2.1"),
        caller_of(Principal("b", "one"), "192.0.2.1"),
        caller_of(Anonymous(), "192.0.2.1"),
        caller_of(Anonymous(), "192.0.2.2"),
    }
    assert len(callers) == 5
    assert caller_of(Principal("a", "one"), "192.0.2.9") in callers


def test_a_caller_that_has_left_is_forgotten() -> None:
    concurrency = ConcurrencyLimit(2)
    for number in range(10):
        caller = caller_of(Anonymous(), f"192.0.2.{number}")
        with concurrency.passing(caller), concurrency.passing(caller):
            assert len(concurrency._inside) == 1
    assert len(concurrency._inside) == 0


def test_principals_of_one_team_share() -> None:
    def caller(by: str | None, principal: Principal, address: str = "192.0.2.1") -> Caller:
        return Admission(None, ConcurrencyLimit(None), ClientAddresses(()), by).caller(principal, address)

    one, two = (Principal(name, "a", {"teams": ("red", "blue")}) for name in ("one", "two"))
    alone = Principal("three", "a")
    assert caller("teams", one) == caller("teams", two, "192.0.2.2")
    assert caller(None, one) != caller(None, two)
    assert caller("teams", alone) == caller(None, alone)
    assert caller("roles", one) != caller("roles", two)


def test_a_probe_has_a_share_of_its_own() -> None:
    caller = caller_of(Principal("one", "a"), "x")
    assert at_path("/v1/models", caller) == caller
    assert len({caller, *(at_path(path, caller) for path in FREE)}) == 2


def test_places_of_requests_at_once_are_a_principals_own_whatever_it_shares() -> None:
    admission = Admission(None, ConcurrencyLimit(1), ClientAddresses(()), "teams")
    one, two = (Principal(name, "a", {"teams": ("red",)}) for name in ("one", "two"))
    with admission.passing("/v1/models", one, "x"), admission.passing("/v1/models", two, "x"):
        again = admission.passing("/v1/models", one, "y")
        with pytest.raises(TooManyAtOnce):
            again.__enter__()
