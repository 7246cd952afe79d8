"""Unexpected exceptions in the log, without any data of a client or a provider; copies of exceptions that are kept."""

from __future__ import annotations

import logging
from traceback import format_tb
from typing import TypeVar

Fault = TypeVar("Fault", bound=BaseException)


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


def copy_of(fault: Fault) -> Fault:
    """Return a new exception like `fault`, without its traceback.

    An exception that is kept and raised for several requests would hold the frames of each of them.
    """
    made = type(fault).__new__(type(fault), *fault.args)
    made.__dict__.update(fault.__dict__)
    return made
