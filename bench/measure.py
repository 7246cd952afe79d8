"""Slices of load in turn, A B A B, so that other work of the machine affects both alike."""

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
"""Replaces a cost that is too small to be measured, so that a short slice can't divide by zero."""


@dataclass(frozen=True, slots=True)
class Slice:
    """One slice of load on one server; wall times and processor time for one request, in milliseconds.

    `unserved` is the share of requests that it rejected with 503.
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
        """Processor time of the server and of its OPA."""
        return self.server_cpu + self.opa_cpu


@dataclass(frozen=True, slots=True)
class Measured:
    """The slices of one server, in their order."""

    slices: tuple[Slice, ...]

    def median(self, figure: str) -> float:
        """Return the median of one figure of `Slice`, by its name."""
        return median(self.all(figure))

    def all(self, figure: str) -> list[float]:
        """Return that figure of each slice."""
        return [getattr(one, figure) for one in self.slices]


def spread(ours: Measured, theirs: Measured, figure: str = "cpu") -> tuple[float, float]:
    """Return the ratios between which half of the turns are."""
    ratios = sorted(_ratios(ours, theirs, figure))
    first, _, third = quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    return first, third


def ratio(ours: Measured, theirs: Measured, figure: str = "cpu") -> float:
    """Return the median of the ratios within each turn, which a drift of the machine between turns doesn't affect."""
    return median(_ratios(ours, theirs, figure))


def _ratios(ours: Measured, theirs: Measured, figure: str) -> list[float]:
    pairs = zip(ours.all(figure), theirs.all(figure), strict=True)
    return [one / max(other, _LEAST) for one, other in pairs]


async def compared(
    servers: Mapping[str, Running], load: Load, *, connections: int, seconds: float, turns: int
) -> dict[str, Measured]:
    """Return the results of the same load on each of `servers`, in `turns` turns."""
    loaded = {name: (server, load) for name, server in servers.items()}
    return await compared_loads(loaded, connections=connections, seconds=seconds, turns=turns)


async def compared_loads(
    loaded: Mapping[str, tuple[Running, Load]], *, connections: int, seconds: float, turns: int
) -> dict[str, Measured]:
    """Compare as `compared` does, for servers with a load of its own each, such as records that have other ids."""
    slices: dict[str, list[Slice]] = {name: [] for name in loaded}
    for _ in range(turns):
        for name, (server, load) in loaded.items():
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
