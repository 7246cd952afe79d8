"""The greedy caller's process: it builds the load of a scenario, and runs it when it is told to."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Final

import uvloop

from bench.neighbours.crowd import Crowd
from bench.neighbours.scenario import Attack, Script
from bench.neighbours.scenarios import SCENARIOS

_NICE: Final = 10
"""The modest caller shares the core, and comes first on it."""


@dataclass(frozen=True, slots=True)
class Order:
    """A scenario by its name, its script, and the port to send it to."""

    scenario: str
    script: Script
    port: int


def main(orders: Connection) -> None:
    """Build each load that is ordered, say so, run it for the seconds that come next, and send the counted answers."""
    os.nice(_NICE)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        while (order := orders.recv()) is not None:
            attack = SCENARIOS[order.scenario].attack(order.script)
            orders.send(None)
            began, until = orders.recv()
            orders.send(runner.run(_run(order.port, attack, began, until)))


async def _run(port: int, attack: Attack, began: float, until: float) -> Mapping[int, int]:
    crowd = Crowd(port)
    await asyncio.sleep(began - time.monotonic())
    with suppress(TimeoutError):
        async with asyncio.timeout(until - time.monotonic()):
            await attack(crowd)
    crowd.end()
    return crowd.tally
