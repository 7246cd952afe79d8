"""Batches as they are stored and shown."""

from __future__ import annotations

import time
from collections.abc import Sequence
from hashlib import sha256
from json import dumps
from secrets import token_hex
from typing import Any, Final

from policy.vocabulary import Anonymous, Principal
from server.api.batches.body import WINDOW, CreateBatch
from server.api.batches.usage import NOTHING, Usage, sum_of
from server.json_input.strict import Json
from server.storage.records.record import Record

WINDOW_SECONDS: Final = 24 * 3600
"""Seconds after its request in which the lines of a batch are begun."""

UNDER_WAY: Final = ("validating", "in_progress", "finalizing", "cancelling")
"""The statuses of a batch that is not over."""

_TIMES: Final = (
    "in_progress_at",
    "expires_at",
    "finalizing_at",
    "completed_at",
    "failed_at",
    "expired_at",
    "cancelling_at",
    "cancelled_at",
)


def new_batch_id() -> str:
    """Return an id that no other batch has, and that can't be guessed."""
    return f"batch_{token_hex(24)}"


def batch_id_for(key: str, caller: Principal | Anonymous, address: str) -> str:
    """Return the id of the batch that a caller makes with an idempotency key: the same each time, and no one else's.

    A caller without a token has that address.
    """
    whose = ["principal", caller.issuer, caller.id] if isinstance(caller, Principal) else ["address", address]
    return f"batch_{sha256(dumps([*whose, key]).encode()).hexdigest()[:48]}"


def is_asked_again(record: Record, asked: CreateBatch) -> bool:
    """Return whether a batch was made by a request that asked for the same."""
    return all(record.body[name] == value for name, value in _asked_members(asked).items())


def new_body(asked: CreateBatch) -> Json:
    """Return the members of a batch that begins now."""
    return {
        **_asked_members(asked),
        "status": "validating",
        "expires_at": int(time.time()) + WINDOW_SECONDS,
        "counts": [0, 0, 0],
        "usage": [*NOTHING],
    }


def _asked_members(asked: CreateBatch) -> Json:
    return {
        "endpoint": asked.endpoint,
        "input_file_id": asked.input_file_id,
        "metadata": asked.metadata,
        "lifetime": asked.lifetime,
    }


def moved(record: Record, status: str, **more: Any) -> Json:
    """Return the members of a batch whose status changes now."""
    return {**record.body, **more, "status": status, f"{status}_at": int(time.time())}


def counted(record: Record, completed: int, failed: int, usage: Usage) -> Json:
    """Return the members of a batch of which so many lines more have ended well, and so many otherwise.

    These have cost those tokens.
    """
    total, before, failed_before = record.body["counts"]
    spent = sum_of([_usage(record), usage])
    return {**record.body, "counts": [total, before + completed, failed_before + failed], "usage": [*spent]}


def batch_object(record: Record) -> Json:
    """Return a batch as clients know it."""
    body = record.body
    total, completed, failed = body["counts"]
    errors: Sequence[Json] | None = body.get("errors")
    model = body.get("model")
    return {
        "id": record.id,
        "object": "batch",
        "endpoint": body["endpoint"],
        **({} if model is None else {"model": model}),
        "errors": None if errors is None else {"object": "list", "data": errors},
        "input_file_id": body["input_file_id"],
        "completion_window": WINDOW,
        "status": body["status"],
        "output_file_id": body.get("output_file_id"),
        "error_file_id": body.get("error_file_id"),
        "created_at": record.created_at,
        **{name: body.get(name) for name in _TIMES},
        "request_counts": {"total": total, "completed": completed, "failed": failed},
        "usage": _usage(record).shown,
        "metadata": body["metadata"],
    }


def _usage(record: Record) -> Usage:
    """Return the tokens of a batch so far. One that an older server has made tells of none."""
    return Usage(*record.body.get("usage", NOTHING))
