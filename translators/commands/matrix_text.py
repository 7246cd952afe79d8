"""The decision table as text for a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final, TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from policy.source.diagnostics import visible
from translators.commands.columns import Column
from translators.commands.matrix import Matrix

_STYLES: Final = {"yes": "green", "no": "dim"}
_WIDTH_OF_FILES: Final = 120
_ROUTES_IN_A_TABLE: Final = 12


def show_matrix(matrix: Matrix, target: TextIO = sys.stdout) -> None:
    """Write one table for each resource pattern, and tables of numbered routes."""
    width = None if target.isatty() else _WIDTH_OF_FILES
    console = Console(file=target, width=width, highlight=False, markup=False, emoji=False)
    for line in _introduction(matrix):
        console.print(line, soft_wrap=True)
    resources = [number for number, column in enumerate(matrix.columns) if column.about == "resource"]
    for _, group in groupby(resources, key=lambda number: matrix.columns[number].pattern):
        numbers = list(group)
        console.print()
        console.print(Text(_described(matrix.columns[numbers[0]]), "bold"), soft_wrap=True)
        console.print(_table(matrix, numbers, [matrix.columns[number].verb for number in numbers]))
    routes = [number for number, column in enumerate(matrix.columns) if column.about == "route"]
    for start in range(0, len(routes), _ROUTES_IN_A_TABLE):
        numbers = routes[start : start + _ROUTES_IN_A_TABLE]
        headings = [str(position + 1) for position in range(start, start + len(numbers))]
        console.print()
        for heading, number in zip(headings, numbers, strict=True):
            column = matrix.columns[number]
            console.print(Text(f"{heading:>3}  {column.verb} {_described(column)}", "bold"), soft_wrap=True)
        console.print(_table(matrix, numbers, headings))
    for sentence in matrix.left_out:
        console.print(f"not shown: {visible(sentence)}", soft_wrap=True)


def _introduction(matrix: Matrix) -> Iterator[str]:
    yield f"revision {matrix.revision}; yes and no, or the resources for which it is permitted:"
    yield "own: the caller's; same teams: of an owner who shares a team; others': of any other caller;"
    yield "config: defined by the configuration; unowned: records without an owner"
    if not matrix.authentication:
        yield "authentication is off: every access question of an anonymous caller is permitted"


def _described(column: Column) -> str:
    asked = "" if column.asked == column.pattern else f"  (asked about {column.asked})"
    return visible(column.pattern + asked)


def _table(matrix: Matrix, numbers: Sequence[int], headings: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("caller", overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="center")
    for row in matrix.rows:
        texts = [row.cells[number].text for number in numbers]
        table.add_row(Text(visible(row.caller.label)), *(Text(text, _STYLES.get(text, "yellow")) for text in texts))
    return table
