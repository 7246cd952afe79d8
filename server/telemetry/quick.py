"""Counters and histograms that every request changes several times, without what only their making needs.

prometheus-client asks before each change whether the metric has its labels, and compares a time with each bound of a
histogram in turn. Its values are changed here as they are, so that one process or several count as before.
"""

from __future__ import annotations

from bisect import bisect_left

from prometheus_client import Counter, Histogram


class QuickCounter:
    """A counter whose labels are set."""

    __slots__ = ("inc",)

    def __init__(self, counter: Counter) -> None:
        value = counter._value
        self.inc = value.inc
        """Adds an amount."""


class QuickHistogram:
    """A histogram whose labels are set."""

    __slots__ = ("_add", "_bounds", "_counts")

    def __init__(self, histogram: Histogram) -> None:
        self._add = histogram._sum.inc
        self._bounds = histogram._upper_bounds
        self._counts = [bucket.inc for bucket in histogram._buckets]

    def observe(self, amount: float) -> None:
        """Count an amount in the first bucket whose bound is not less."""
        self._add(amount)
        self._counts[bisect_left(self._bounds, amount)](1)
