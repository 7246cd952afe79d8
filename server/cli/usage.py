"""The command `ostiary usage`: who has used which model how much, for the operator."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from policy.source.diagnostics import visible
from server.cli.configured import configured, told

if TYPE_CHECKING:
    from server.config import Config
    from server.storage.usage.report import Group

_SHOWN: Final = ("requests", "failed", "cancelled", "prompt", "completion", "cached", "total")
_NOBODY: Final = "-"


class By(StrEnum):
    """The ways to group sums."""

    PRINCIPAL = "principal"
    TEAM = "team"
    MODEL = "model"
    PROVIDER = "provider"
    DAY = "day"


def usage(
    config: Annotated[
        Path | None, typer.Argument(metavar="CONFIG", help="The configuration file; else the user's own database.")
    ] = None,
    by: Annotated[By, typer.Option(help="What to add up.")] = By.PRINCIPAL,
    since: Annotated[
        str | None, typer.Option(metavar="DATE", help="The first day, such as 2026-11-01, in UTC; else 29 days ago.")
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print requests, failures and tokens by principal, team, model, provider or day."""
    from server.storage.usage.days import day_text, first_day

    with told():
        try:
            first = first_day(since)
        except ValueError as wrong:
            raise ValueError(f"`--since {visible(since or '')}` {wrong}") from None
        groups = asyncio.run(_groups(configured(config), by, first))
    if as_json:
        found = {"since": day_text(first), "by": by.value, "data": [_entry(group, by) for group in groups]}
        sys.stdout.write(f"{json.dumps(found, indent=2, ensure_ascii=False)}\n")
    else:
        sys.stdout.write(_table(groups, by))


async def _groups(config: Config, by: By, first: int) -> Sequence[Group]:
    """Return the sums; those with most tokens first, or by day."""
    from server.storage.usage.report import UsageQuery, whole_report
    from server.wiring.usage import usage_table

    table = usage_table(config)
    try:
        await table.database.start()
        await table.prepare()
        groups = await whole_report(table, UsageQuery(by, first))
    finally:
        await table.database.close()
    return groups if by is By.DAY else sorted(groups, key=lambda group: -group.spent.total_tokens)


def _entry(group: Group, by: By) -> dict[str, object]:
    about: dict[str, object] = {by.value: _name(group) or None}
    if by is By.PRINCIPAL and group.principal is not None:
        about = {"principal": group.principal, "issuer": group.issuer}
    return about | asdict(group.spent)


def _name(group: Group) -> str:
    from server.storage.usage.days import day_text

    return day_text(group.key) if isinstance(group.key, int) else group.key


def _table(groups: Iterable[Group], by: By) -> str:
    rows = [(by.value.upper(), *(name.upper() for name in _SHOWN))]
    for group in groups:
        rows.append((visible(_name(group)) or _NOBODY, *(f"{number}" for number in asdict(group.spent).values())))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for name, *numbers in rows:
        cells = [name.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=True))]
        lines.append("  ".join(cells) + "\n")
    return "".join(lines)
