"""The lines of a batch that are still to be begun, and what is stored of them."""

from __future__ import annotations

from json import dumps, loads

from server.api.batches.lines import Again
from server.api.batches.queue import Progress, lease_of
from server.api.batches.remaining import MOST_AGAIN, MOST_AHEAD, Remaining
from server.storage.records.record import Draft

NOW, LATER = 1000.0, 2000.0


def begun(left: Remaining, now: float = NOW) -> int:
    """The place of the line that is begun next; the end of the batch where there is none."""
    place = next(left.places(now), -1)
    if place >= 0:
        left.take(place)
    return place


def put_back(left: Remaining, count: int, *, lacks_quota: bool) -> None:
    """Begin so many lines, each of which has to wait."""
    for _ in range(count):
        left.put_back(begun(left), Again(is_paid=True, at=LATER, lacks_quota=lacks_quota))


def test_so_many_lines_wait_for_a_quota_before_none_behind_them_is_begun() -> None:
    left = Remaining(Progress(), 10_000)
    put_back(left, MOST_AHEAD - 1, lacks_quota=True)
    put_back(left, MOST_AGAIN - 1, lacks_quota=False)
    assert (left.due, begun(left)) == (0.0, MOST_AHEAD + MOST_AGAIN - 2)
    put_back(left, 1, lacks_quota=True)
    assert (left.due, begun(left)) == (LATER, -1)
    # The period is over.
    assert begun(left, LATER) == 0
    assert begun(left) == MOST_AHEAD + MOST_AGAIN
    put_back(left, 1, lacks_quota=False)
    assert (left.due, begun(left)) == (LATER, -1)


def test_lines_that_are_begun_once_more_are_stored_as_they_are() -> None:
    again = ((1, True, 0), (2, False, 0), (3, True, 4), (4, True, 0))
    stored = Progress(next=5, again=again, open=(0,))
    body = loads(dumps(stored.body))
    assert body["again"] == [1, [2, False, 0], [3, True, 4], 4]
    assert lease_of(Draft("work:batch_1", body, "batch_1").owned_by(None)).progress == stored
    # As servers before this one have stored them.
    older = {**body, "again": [list(line) for line in again]}
    assert lease_of(Draft("work:batch_1", older, "batch_1").owned_by(None)).progress == stored
