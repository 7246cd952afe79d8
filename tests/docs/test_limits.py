"""`docs/operate/limits.md` shows the table of limits, whose constants are those that the code enforces.

`OSTIARY_GOLDEN=rewrite` writes the tables of the page anew.
"""

from __future__ import annotations

import ast
import asyncio
import importlib
import os
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

from bench.report import written_into
from server.cli import limits
from server.cli.limits.markdown import constants, report
from server.cli.limits.row import Limit
from server.cli.limits.shares import SHARES
from server.cli.limits.table import CONSTANTS, LIMITS
from server.cli.main import app
from server.fairness.shares import FairShares, NoRoom, Share
from server.http.error_table import error_of
from server.json_input import reader

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "operate" / "limits.md"
BEGIN = "<!-- limits: what follows is written by `make golden` from server/cli/limits -->"
END = "<!-- limits: until here -->"
TABLE = ROOT / "server" / "cli" / "limits"
SOURCES = {path: path.read_text() for path in (ROOT / "server").rglob("*.py") if path.parent != TABLE}
TREES = {path: ast.parse(text) for path, text in SOURCES.items()}
NAMED = sorted({name for limit in LIMITS for name in constants(limit) if not name.startswith("sys.")})


def test_the_page_shows_the_table() -> None:
    text = PAGE.read_text()
    if os.environ.get("OSTIARY_GOLDEN") == "rewrite":
        PAGE.write_text(written_into(text, report(), BEGIN, END))
    assert PAGE.read_text() == written_into(text, report(), BEGIN, END)


def test_the_command_prints_the_table() -> None:
    done = CliRunner().invoke(app, ["limits"])
    assert done.exit_code == 0
    assert done.output == report()


def test_what_counts_as_a_large_body_is_documented() -> None:
    assert f"A body of {reader.LARGE // 1024} KB or more is large" in PAGE.read_text()


def test_every_file_of_rows_is_in_the_table() -> None:
    for file in pkgutil.iter_modules(limits.__path__):
        part = importlib.import_module(f"{limits.__name__}.{file.name}")
        for module, named in getattr(part, "CONSTANTS", {}).items():
            assert CONSTANTS[module] is named, f"`{module}` means another module in another file"
        for value in vars(part).values():
            if isinstance(value, tuple) and value and isinstance(value[0], Limit):
                assert set(value) <= set(LIMITS), f"rows of {file.name} are not in the table"


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.what)
def test_a_row_names_a_constant_or_a_page(limit: Limit) -> None:
    assert constants(limit) or "](" in limit.amount
    assert not re.search(r"(?<![#/\w])\d", re.sub(r"\{[^}]*\}", "", limit.amount)), "a number that is no constant"


def used(module: ModuleType, name: str) -> bool:
    """Code other than the table reads the constant, in its module or where it is imported from."""
    assert module.__file__ is not None
    package, _, short = module.__name__.rpartition(".")
    imports = (f"from {module.__name__} import", f"import {module.__name__}", f"from {package} import {short}")
    for path, text in SOURCES.items():
        if path == Path(module.__file__) or any(line in text for line in imports):
            for node in ast.walk(TREES[path]):
                if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load):
                    return True
                if isinstance(node, ast.Attribute) and node.attr == name:
                    return True
    return False


@pytest.mark.parametrize("name", NAMED)
def test_a_constant_of_the_table_is_enforced(name: str) -> None:
    module, _, constant = name.partition(".")
    assert used(CONSTANTS[module], constant)


def made() -> Iterator[str]:
    """The name of each share that the code makes: a text, or a name that is given one in the same file."""
    for path, tree in TREES.items():
        given = {
            target.id: node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Share":
                keywords = {keyword.arg: keyword.value for keyword in node.keywords}
                first = node.args[0] if node.args else keywords["name"]
                first = given[first.id] if isinstance(first, ast.Name) else first
                assert isinstance(first, ast.Constant), f"a share of {path} has no plain name"
                yield str(first.value)


def test_every_share_is_in_the_table() -> None:
    rows = {limit.what for limit in LIMITS}
    assert sorted(name for name in made() if name not in rows) == sorted(shared.share.name for shared in SHARES)


@pytest.mark.parametrize("share", [shared.share for shared in SHARES], ids=lambda share: share.name)
@pytest.mark.parametrize("of_caller", [True, False])
def test_a_refusal_names_the_share_and_says_when_to_come_again(share: Share, of_caller: bool) -> None:
    answer = error_of(refused(share, of_caller=of_caller), "req_1")
    assert answer.status == (429 if of_caller else 503)
    assert share.name in answer.message
    assert re.search(r"try again in \d+ s$", answer.message)
    assert answer.headers is not None
    assert int(answer.headers["Retry-After"]) > 0


def refused(share: Share, *, of_caller: bool) -> NoRoom:
    """The refusal of the share once it is used up, by the caller's own turns or by those of others."""
    few = replace(share, waiting=min(share.waiting, 4), waiting_each=min(share.waiting_each, 2))

    async def use_up() -> NoRoom:
        shares = FairShares(few)
        others = (("other", "0" if of_caller else str(index)) for index in count())
        while shares.take_now(few.each, next(others)) is not None:
            pass
        waiting = [
            asyncio.ensure_future(shares.take(few.each, next(others)))
            for _ in range(few.waiting_each if of_caller else few.waiting)
        ]
        await asyncio.sleep(0)
        try:
            await shares.take(few.each, ("other", "0" if of_caller else "late"))
        except NoRoom as fault:
            return fault
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        raise AssertionError("there is still room")

    return asyncio.run(use_up())
