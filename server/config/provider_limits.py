"""The settings of a remote provider for times, connections, further attempts and its breaker."""

from __future__ import annotations

from typing import Annotated, Final, Self

from pydantic import BeforeValidator, model_validator

from server.config.base import StrictModel
from server.config.raw_value import RawValue
from server.config.types import refusal, whole_number

MOST_CONNECTIONS: Final = 65536

_PARTS: Final = 4


class Timeouts(StrictModel):
    """Limits of the time that a provider may take, in seconds: to connect, between two bytes, and in all."""

    connect: Annotated[int, whole_number(1, 300)] = 10
    silence: Annotated[int, whole_number(1, 3600)] = 300
    total: Annotated[int, whole_number(1, 86400)] = 3600


class Connections(StrictModel):
    """Requests that a provider answers at the same time, each over a connection: `total`, and `each` of one caller.

    Without `each`, one caller has a quarter, and one at least.
    """

    total: Annotated[int, whole_number(1, MOST_CONNECTIONS)] = 4096
    each: Annotated[int, whole_number(1, MOST_CONNECTIONS)] | None = None

    @model_validator(mode="after")
    def _each_is_a_part(self) -> Self:
        if self.each is not None and self.each > self.total:
            raise refusal("wrong-value", f"takes at most {self.total}, which is `total`", below=("each",))
        return self

    @property
    def of_one(self) -> int:
        """The connections of one caller."""
        return max(1, self.total // _PARTS) if self.each is None else self.each


class BreakerConfig(StrictModel):
    """The failures in a row after which a provider is not asked, and the seconds for which it is not."""

    failures: Annotated[int, whole_number(3, 1000)] = 5
    pause: Annotated[int, whole_number(1, 3600)] = 30


def _total(value: object) -> object:
    """Read a number as that of all connections."""
    return {"total": value} if isinstance(value, RawValue) else value


ConnectionLimit = Annotated[Connections, BeforeValidator(_total)]
"""A number of connections, or `total` and `each`."""
