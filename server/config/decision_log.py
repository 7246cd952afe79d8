"""The models of `server.decision_log`: the destination of the decision log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Discriminator, Tag

from server.config.base import StrictModel
from server.config.locations import path
from server.config.sizes import size
from server.config.types import refusal, text, whole_number

STDOUT: Final = "stdout"
LEAST_BYTES: Final = 64 * 1024
MOST_BYTES: Final = 2**50
MOST_KEPT: Final = 1000

_BYTES: Final = size(LEAST_BYTES, MOST_BYTES, "from 64KiB to 1024TiB")


def _file(value: object) -> object:
    if not isinstance(value, Path) and text(value) == STDOUT:
        raise refusal("wrong-value", "takes a file, for standard output isn't rotated", "write `decision_log: stdout`")
    return path(value)


def _sink(value: object) -> object:
    return STDOUT if value == STDOUT or text(value) == STDOUT else path(value)


class RotatedLog(StrictModel):
    """A file that is renamed to `NAME.1` before it grows over `rotate_at` bytes, while `NAME.1` becomes `NAME.2`, and
    so on: `keep` files besides the one that is written to.
    """

    path: Annotated[Path, BeforeValidator(_file)]
    rotate_at: Annotated[int, _BYTES]
    keep: Annotated[int, whole_number(1, MOST_KEPT)] = 5


def _kind(value: object) -> str:
    return "object" if isinstance(value, dict | RotatedLog) else "sink"


DecisionLogSetting = Annotated[
    Annotated[Path | Literal["stdout"], BeforeValidator(_sink), Tag("sink")] | Annotated[RotatedLog, Tag("object")],
    Discriminator(_kind),
]
"""`stdout`, a file, or a file that is rotated."""
