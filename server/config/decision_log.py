"""The models of `server.decision_log`: the destination of the decision log, which is rotated if it is a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Discriminator, Tag, WrapValidator
from pydantic_core.core_schema import ValidatorFunctionWrapHandler

from server.config.base import StrictModel
from server.config.locations import path
from server.config.raw_value import RawValue
from server.config.sizes import size
from server.config.types import refusal, text, whole_number

STDOUT: Final = "stdout"
NEVER: Final = "never"
ROTATE_AT: Final = 200_000_000
"""Bytes at which a file is rotated if the configuration says nothing else."""

KEEP: Final = 5
"""Rotated files that are kept if the configuration says nothing else."""

LEAST_BYTES: Final = 64 * 1024
MOST_BYTES: Final = 2**50
MOST_KEPT: Final = 1000

_BYTES: Final = size(LEAST_BYTES, MOST_BYTES, f"from 64KiB to 1024TiB, or `{NEVER}`")


def _unless_never(value: object, count: ValidatorFunctionWrapHandler) -> object:
    return None if isinstance(value, RawValue) and value.text == NEVER else count(value)


def _file(value: object) -> object:
    if not isinstance(value, Path) and text(value) == STDOUT:
        raise refusal("wrong-value", "takes a file, for standard output isn't rotated", "write `decision_log: stdout`")
    return path(value)


def _sink(value: object) -> object:
    return STDOUT if value == STDOUT or text(value) == STDOUT else path(value)


class RotatedLog(StrictModel):
    """A file that is renamed to `NAME.1` before it grows over `rotate_at` bytes, while `NAME.1` becomes `NAME.2`, and
    so on: `keep` files besides the one that is written to. With `never`, which is None here, it isn't rotated.
    """

    path: Annotated[Path, BeforeValidator(_file)]
    rotate_at: Annotated[Annotated[int, _BYTES] | None, WrapValidator(_unless_never)] = ROTATE_AT
    keep: Annotated[int, whole_number(1, MOST_KEPT)] = KEEP


def _kind(value: object) -> str:
    return "object" if isinstance(value, dict | RotatedLog) else "sink"


DecisionLogSetting = Annotated[
    Annotated[Path | Literal["stdout"], BeforeValidator(_sink), Tag("sink")] | Annotated[RotatedLog, Tag("object")],
    Discriminator(_kind),
]
"""`stdout`, a file that is rotated as usual, or one with its own sizes."""


def rotated(setting: Path | RotatedLog) -> RotatedLog:
    """Return the settings of a file, which are the usual ones where the configuration names nothing but its path."""
    return setting if isinstance(setting, RotatedLog) else RotatedLog(path=setting)
