"""Counters and histograms that are changed without checks count as those of the library."""

from __future__ import annotations

from hypothesis import given
from hypothesis.strategies import floats, lists, sampled_from
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from server.telemetry.quick import QuickCounter, QuickHistogram

BOUNDS = (0.001, 0.01, 0.1, 1.0)
AMOUNTS = lists(sampled_from(BOUNDS) | floats(min_value=0, max_value=2) | sampled_from([0.0, float("inf")]), max_size=8)


@given(AMOUNTS)
def test_a_time_is_counted_in_the_same_bucket(amounts: list[float]) -> None:
    quick, usual = CollectorRegistry(), CollectorRegistry()
    ours = QuickHistogram(Histogram("h", "h", ["a"], buckets=BOUNDS, registry=quick).labels("x"))
    theirs = Histogram("h", "h", ["a"], buckets=BOUNDS, registry=usual).labels("x")
    for amount in amounts:
        ours.observe(amount)
        theirs.observe(amount)
    assert shown(quick) == shown(usual)


def test_a_counter_grows() -> None:
    registry = CollectorRegistry()
    counter = QuickCounter(Counter("c", "c", ["a"], registry=registry).labels("x"))
    counter.inc(1)
    counter.inc(2)
    assert 'c_total{a="x"} 3.0' in shown(registry)


def shown(registry: CollectorRegistry) -> list[str]:
    return [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]
