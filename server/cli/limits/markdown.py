"""The tables of limits as Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from string import Formatter
from typing import Any, Final

from server.cli.limits.row import Limit
from server.cli.limits.shares import SHARES
from server.cli.limits.table import CONSTANTS, LIMITS


def report() -> str:
    """Return both tables as Markdown."""
    return "\n".join(_lines()) + "\n"


def constants(limit: Limit) -> list[str]:
    """Return the names of a row's constants, such as `edge.MAX_PATH`."""
    return [name for _, name, _, _ in _UNITS.parse(limit.amount) if name]


def _lines() -> Iterator[str]:
    yield "| what | limit | answer |"
    yield "| --- | --- | --- |"
    for limit in LIMITS:
        yield f"| {limit.what} | {_UNITS.vformat(limit.amount, (), CONSTANTS)} | {limit.answer} |"
    yield ""
    yield "| share of | in one process | of one caller | waiting | of one caller | for |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for shared in SHARES:
        share = shared.share
        units = [_bytes(each) if shared.unit == "bytes" else f"{each}" for each in (share.capacity, share.each)]
        if share.beside is not None:
            units[-1] += f", {share.beside} beside others"
        cells = (*units, share.waiting, share.waiting_each, f"{share.seconds:g} s")
        where = f" ({shared.where})" if shared.where else ""
        yield f"| {share.name}{where} | {' | '.join(map(str, cells))} |"


class _Units(Formatter):
    """Formats constants with their units."""

    def format_field(self, value: Any, format_spec: str) -> str:
        if format_spec == "bytes":
            return _bytes(value)
        return f"{value:g} s" if format_spec == "seconds" else f"{value}"


_UNITS: Final = _Units()


def _bytes(count: int) -> str:
    """Return a round number of bytes in its largest unit."""
    units = (("GB", 1024**3), ("MB", 1024**2), ("KB", 1024), ("KB", 1000))
    return next((f"{count // size} {name}" for name, size in units if not count % size), f"{count} bytes")
