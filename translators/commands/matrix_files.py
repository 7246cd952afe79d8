"""The table of decisions as files: CSV for spreadsheets, and one HTML page that needs nothing else."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Final

from policy.source.diagnostics import visible
from translators.commands.columns import Column
from translators.commands.matrix import Cell, Matrix

_STYLE: Final = """\
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem; color: #1b1f24; background: #fff; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
p, li { max-width: 46rem; } code { font: 0.92em ui-monospace, monospace; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; }
th, td { border: 1px solid #d5d9de; padding: 0.3rem 0.6rem; text-align: center; }
thead th { background: #f3f5f7; font-weight: 600; }
tbody th { background: #f3f5f7; font-weight: 400; text-align: left; position: sticky; left: 0; white-space: nowrap; }
.yes { background: #dff3e4; } .some { background: #fff3d1; } .no { color: #8a929b; }
small { display: block; font-weight: 400; color: #5b6570; }
"""
_LEGEND: Final = """\
<strong>yes</strong>: for any owner of the resource. <strong>no</strong>: never. Otherwise the resources for which it is
permitted: <strong>own</strong>, those of the caller; <strong>same teams</strong> and the like, those of an owner who
shares a team with the caller; <strong>others'</strong>, those of other owners; <strong>config</strong>, those that the
configuration defines; <strong>unowned</strong>, records without an owner. Point at a cell to see the rules."""
_OFF: Final = "Authentication is off: every access question of an anonymous caller is permitted."


def write_csv(matrix: Matrix, path: Path) -> None:
    """Write one line for each caller, one column for each thing to do; raises OSError.

    Every text starts with a word of ours, so that no spreadsheet takes a name of the policy for a formula.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["caller", *(f"{column.verb} {column.pattern}" for column in matrix.columns)])
        writer.writerows([row.caller.label, *(cell.text for cell in row.cells)] for row in matrix.rows)


def write_html(matrix: Matrix, path: Path, config: str) -> None:
    """Write a page with a table about resources and one about routes; raise OSError if it can't be written."""
    path.write_text("\n".join(_page(matrix, config)) + "\n", encoding="utf-8")


def _page(matrix: Matrix, config: str) -> Iterator[str]:
    title = f"Who may do what: {_text(config)}"
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{title}</title>\n<style>\n{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>"
    yield f"<p>Decided by Open Policy Agent under revision <code>{_text(matrix.revision)}</code>.</p>"
    if not matrix.authentication:
        yield f"<p><strong>{_OFF}</strong></p>"
    for about, heading in (("resource", "Resources"), ("route", "Routes")):
        numbers = [number for number, column in enumerate(matrix.columns) if column.about == about]
        if numbers:
            yield f"<h2>{heading}</h2>"
            if about == "resource":
                yield f"<p>{_LEGEND}</p>"
            yield from _table(matrix, numbers)
    if matrix.left_out:
        yield "<h2>Not shown</h2>\n<ul>"
        yield from (f"<li><code>{_text(sentence)}</code></li>" for sentence in matrix.left_out)
        yield "</ul>"
    yield "</body>\n</html>"


def _table(matrix: Matrix, numbers: list[int]) -> Iterator[str]:
    shown = [matrix.columns[number] for number in numbers]
    yield '<div class="wide">\n<table>\n<thead>\n<tr><th rowspan="2">caller</th>'
    yield from (_heading(list(group)) for _, group in groupby(shown, key=lambda column: column.pattern))
    yield "</tr>\n<tr>" + "".join(f"<th>{_text(column.verb)}</th>" for column in shown) + "</tr>\n</thead>\n<tbody>"
    for row in matrix.rows:
        cells = "".join(_cell(row.cells[number]) for number in numbers)
        yield f'<tr><th scope="row">{_text(row.caller.label)}</th>{cells}</tr>'
    yield "</tbody>\n</table>\n</div>"


def _heading(group: list[Column]) -> str:
    first = group[0]
    asked = "" if first.asked == first.pattern else f"<small>asked about {_text(first.asked)}</small>"
    return f'<th colspan="{len(group)}"><code>{_text(first.pattern)}</code>{asked}</th>'


def _cell(cell: Cell) -> str:
    kind = cell.text if cell.text in {"yes", "no"} else "some"
    return f'<td class="{kind}" title="{_text(_reasons(cell))}">{_text(cell.text)}</td>'


def _reasons(cell: Cell) -> str:
    """Return the rule for each relation, or once if it is the same for all."""
    reasons = {
        relation: f"{decision['rule']} ({decision['source']})" if decision["rule"] else decision["reason"]
        for relation, decision in cell.decisions
    }
    if len(set(reasons.values())) == 1:
        return next(iter(reasons.values()))
    return "; ".join(f"{relation}: {reason}" for relation, reason in reasons.items())


def _text(text: str) -> str:
    return escape(visible(text))
