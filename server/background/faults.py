"""Logging of unexpected exceptions: their kinds and places, without any data of a client or a provider."""

from __future__ import annotations

import logging
from traceback import format_tb


def log_fault(log: logging.Logger, what: str, fault: BaseException) -> None:
    """Log `what` with the kind and the place of `fault`, and of those that led to it.

    The messages of exceptions are left out: a `KeyError` quotes the key, a `ValueError` the text that was no number.
    """
    parts = []
    led: BaseException | None = fault
    while led is not None:
        parts.append(f"{type(led).__name__}\n{''.join(format_tb(led.__traceback__))}")
        led = led.__cause__ or (None if led.__suppress_context__ else led.__context__)
    log.error("%s: %s", what, "led to by ".join(parts))
