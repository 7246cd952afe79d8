"""Limits of batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from server.api.batches import batch, lines, queue, remaining, routes, running, validation, work, worker
from server.cli.limits.row import Limit

CONSTANTS: Final[dict[str, Any]] = {
    "batch": batch,
    "batch_input": validation,
    "batch_lines": lines,
    "batch_queue": queue,
    "batch_remaining": remaining,
    "batch_routes": routes,
    "batch_running": running,
    "batch_work": work,
    "batch_worker": worker,
}
"""Modules by the names that rows give them."""

LIMITS: Final[Sequence[Limit]] = (
    Limit(
        "batches that are not over, of one caller and of all",
        "{batch_queue.MOST_WAITING_EACH}, {batch_queue.MOST_WAITING}",
        "429, 503",
    ),
    Limit(
        "characters of an `Idempotency-Key`",
        "{batch_routes.LONGEST_KEY}",
        "400",
    ),
    Limit(
        "lines and bytes of the input file of a batch, and errors of it that are told",
        "{batch_input.MOST_LINES}; {batch_input.MOST_BYTES:bytes}; {batch_input.MOST_ERRORS}",
        "the batch is `failed`",
    ),
    Limit(
        "batches that one process works on at once, and of one caller",
        "{batch_worker.AT_ONCE}, {batch_worker.AT_ONCE_EACH}",
        "later ones wait, in rounds of the callers",
    ),
    Limit(
        "batches beyond these, one of each caller that has none; no more than `max_concurrent_batches`",
        "{batch_worker.FIRST}",
        "later ones wait",
    ),
    Limit(
        "time after which a batch makes room for those of other callers",
        "{batch_worker.SLICE_SECONDS:seconds}",
        "it goes on in its next round",
    ),
    Limit(
        "bytes of the lines of one batch that are under way",
        "{batch_running.MOST_BYTES:bytes}",
        "further ones wait",
    ),
    Limit(
        "bytes of the answer to one line",
        "{batch_lines.MOST_RESULT:bytes}",
        "the line is an error, `answer_too_large`",
    ),
    Limit(
        "bytes of an answer that keeps its turn among the lines of batches until it is stored",
        "{batch_lines.HEAVY:bytes}",
        "further lines of its caller wait",
    ),
    Limit(
        "time after the request for a batch in which its lines are begun",
        "{batch.WINDOW_SECONDS:seconds}",
        "it is `expired`; lines that were not begun are errors",
    ),
    Limit(
        "time for which lines under way go on after that, or once the batch is cancelled",
        "{batch_running.LAST_SECONDS:seconds}",
        "they are errors",
    ),
    Limit(
        "requests for one line where its provider is busy; lines that wait for another one",
        "{batch_lines.MOST_TRIES}; {batch_remaining.MOST_AGAIN}",
        "the line is an error; no others are begun",
    ),
    Limit(
        "lines of one batch that need more than is left of a quota, before others behind them that need less",
        "{batch_remaining.MOST_AHEAD}",
        "no others are begun until the period is over",
    ),
    Limit(
        "time after the window in which the files of a batch must have been made",
        "{batch_work.KEPT_SECONDS:seconds}",
        "the batch is `failed`",
    ),
)
"""Rows in the order of the page."""
