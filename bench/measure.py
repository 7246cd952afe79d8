"""Slices of load in turn, A B A B, so that whatever else the machine does falls on both alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Final

from bench import client
from bench.client import Load, WrongAnswer
from bench.processes import Running

_WARM_UP: Final = 10

_LEAST: Final = 0.001
"""Stands in for a cost that is too small to be seen, so that a short slice can't divide by zero."""


@dataclass(frozen=True, slots=True)
class Slice:
    """One slice of load on one server; times in milliseconds, the processor's for one request.

    `unserved` is the share of requests that it had to turn away with 503.
    """

    server_cpu: float
    opa_cpu: float
    rate: float
    p50: float
    p99: float
    first_p50: float
    unserved: float

    @property
    def cpu(self) -> float:
        """Of the server and of its OPA."""
        return self.server_cpu + self.opa_cpu


@dataclass(frozen=True, slots=True)
class Measured:
    """The slices of one server, in their order."""

    slices: tuple[Slice, ...]

    def median(self, figure: str) -> float:
        """The median of one figure of `Slice`, by its name."""
        return median(self.all(figure))

    def all(self, figure: str) -> list[float]:
        """That figure of each slice."""
        return [getattr(one, figure) for one in self.slices]


def ratio(ours: Measured, theirs: Measured, figure: str = "cpu") -> float:
    """The median of the ratios within each turn, which drift of the machine between turns leaves alone."""
    pairs = zip(ours.all(figure), theirs.all(figure), strict=True)
    return median(one / max(other, _LEAST) for one, other in pairs)


async def compared(
    servers: Mapping[str, Running], load: Load, *, connections: int, seconds: float, turns: int
) -> dict[str, Measured]:
    """The same load on each of `servers`, `turns` times in turn."""
    slices: dict[str, list[Slice]] = {name: [] for name in servers}
    for _ in range(turns):
        for name, server in servers.items():
            slices[name].append(await _slice(server, load, connections, seconds))
    return {name: Measured(tuple(found)) for name, found in slices.items()}


async def _slice(server: Running, load: Load, connections: int, seconds: float) -> Slice:
    await client.run(server.port, load, connections=connections, seconds=seconds, most=_WARM_UP)
    before = server.cost()
    sample = await client.run(server.port, load, connections=connections, seconds=seconds)
    after = server.cost()
    count = len(sample.whole) + sample.unserved
    if not sample.whole:
        raise WrongAnswer("not one request was served")
    return Slice(
        server_cpu=(after.server - before.server) / count * 1000,
        opa_cpu=(after.opa - before.opa) / count * 1000,
        rate=len(sample.whole) / sample.seconds,
        p50=median(sample.whole) * 1000,
        p99=_p99(sample.whole) * 1000,
        first_p50=median(sample.first) * 1000,
        unserved=sample.unserved / count,
    )


def _p99(times: list[float]) -> float:
    return quantiles(times, n=100)[98] if len(times) > 1 else times[0]
