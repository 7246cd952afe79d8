"""The shape of a scenario: what one greedy caller does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from bench.neighbours.crowd import Crowd
from bench.neighbours.messages import ask
from bench.neighbours.settings import Setting
from bench.tokens import Issuer

GREEDY: Final = "greedy"
MODEST: Final = "modest"


@dataclass(frozen=True, slots=True)
class Stage:
    """A server that is made ready for a scenario, by requests or in its database.

    `database` is an SQLite file or the address of a PostgreSQL; `runs` is how often the greedy caller comes.
    """

    port: int
    issuer: Issuer
    database: str
    runs: int

    @property
    def token(self) -> str:
        """The greedy caller's token."""
        return self.issuer.token(GREEDY)

    def ask(self, request: bytes) -> dict[str, Any]:
        """Return the answer to a request; raise Unprepared for a refusal."""
        return ask(self.port, request)


@dataclass(frozen=True, slots=True)
class Script:
    """The parts of a scenario's requests: tokens, the number of the run, and what was prepared."""

    issuer: Issuer
    run: int
    prepared: Mapping[str, Any]

    @property
    def token(self) -> str:
        """The greedy caller's token."""
        return self.issuer.token(GREEDY)

    def names(self, key: str) -> Sequence[str]:
        """Return prepared names; one that does not exist where nothing was prepared."""
        found: Sequence[str] = self.prepared.get(key, ["none"])
        return found


Attack: TypeAlias = Callable[[Crowd], Awaitable[object]]
"""The load itself, which goes on until it is cancelled."""


def _nothing(stage: Stage) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of work of a greedy caller.

    `attack` builds all that the load needs and returns it, so that building takes no time of the run. `prepare` is
    called once for each server and returns what the script is given. `kept` is true where the load reaches the
    database, so that it runs on each kind.
    """

    name: str
    attack: Callable[[Script], Attack]
    prepare: Callable[[Stage], Mapping[str, Any]] = _nothing
    setting: Setting = Setting.USUAL
    kept: bool = False
