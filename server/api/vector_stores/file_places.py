"""The places of ingestion in one process: which callers' files have them, and which file makes room for another's.

A file has its place until it is done, and no one knows before how long that takes. So some places are never left to
files that take long: a caller with a short file waits for `LONG_SECONDS` at most, however many callers have long ones.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from server.storage.records.waiting import Owner

AT_ONCE: Final = 8
"""Files that one process ingests at the same time, each of another caller."""

LONG_AT_ONCE: Final = 6
"""Files among these that may take long while other callers wait."""

LONG_SECONDS: Final = 5.0
"""Seconds after which the ingestion of a file takes long."""


@dataclass(slots=True, eq=False)
class Place:
    """A file that is worked on: whose it is, since when, and by which task.

    `has_waited` if it made room before: then it stays until its end. `is_leaving` once it is to make room.
    """

    owner: Owner
    has_waited: bool
    since: float
    task: asyncio.Task[object] | None = None
    is_leaving: bool = False


class Places:
    """The places of one process, of which one caller has one at most; belongs to one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._places: dict[Owner, Place] = {}

    @property
    def owners(self) -> tuple[Owner, ...]:
        """The callers that have a place."""
        return tuple(self._places)

    @property
    def are_taken(self) -> bool:
        """Whether no place is free."""
        return len(self._places) >= AT_ONCE

    @property
    def take_long_ones(self) -> bool:
        """Whether a file that made room before may begin again."""
        return len(self._long()) < LONG_AT_ONCE

    @property
    def next_long(self) -> float:
        """The seconds until another of the files takes long; infinite where none will."""
        now = self._clock()
        return min(
            (each.since + LONG_SECONDS - now for each in self._places.values() if not self._is_long(each)),
            default=float("inf"),
        )

    def take(self, owner: Owner, *, has_waited: bool) -> Place:
        """Return the place of a caller that has none."""
        place = self._places[owner] = Place(owner, has_waited, self._clock())
        return place

    def leave(self, place: Place) -> None:
        """Give a place back."""
        self._places.pop(place.owner, None)

    def make_room(self) -> None:
        """Cancel the task of the file that began to take long last, where more of them do than may.

        Nothing happens while another one is about to leave.
        """
        long = self._long()
        if len(long) <= LONG_AT_ONCE or any(place.is_leaving for place in long):
            return
        # Those that have waited are never too many, so there is one that has not.
        place = max((each for each in long if not each.has_waited), key=lambda each: each.since)
        place.is_leaving = True
        if place.task is not None:
            place.task.cancel()

    def _long(self) -> list[Place]:
        return [place for place in self._places.values() if self._is_long(place)]

    def _is_long(self, place: Place) -> bool:
        return place.has_waited or self._clock() - place.since >= LONG_SECONDS
