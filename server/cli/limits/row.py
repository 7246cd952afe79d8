"""A row of the table of limits, and answers that several rows share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from server.fairness.shares import Share

Unit = Literal["turns", "bytes"]
"""The meaning of a share's units."""

COMES_AGAIN: Final = "503, with `Retry-After`"
CLOSED: Final = "the connection is closed"
FILE_FAILS: Final = "the file is `failed`, `invalid_file`"


@dataclass(frozen=True, slots=True)
class Limit:
    """A hard limit: `amount` names constants as `{module.NAME:unit}`, of which the unit is `bytes`, `seconds` or none.

    `answer` is what happens to a request that goes beyond it.
    """

    what: str
    amount: str
    answer: str


@dataclass(frozen=True, slots=True)
class Shared:
    """A share of a resource; `where` tells those of one name apart."""

    share: Share
    where: str = ""
    unit: Unit = "turns"
