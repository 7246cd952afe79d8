"""The wording of docstrings, comments and documentation: one plain form, counted over the whole repository."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("policy", "translators", "server", "bench")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "rego").rglob("*.md")])

MANNERED = re.compile(r"\b(?:whoever|somebody|nobody|likewise|meanwhile|elsewhere)\b", re.IGNORECASE)
MOST_PER_THOUSAND = 0.3

OPENING = re.compile(r"(?:What|Who|Where|How|Whether|Which)\b")
"""A module docstring names the module's subject; a question leaves the reader to find it."""

_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _prose(path: Path) -> Iterator[str]:
    """Yield each docstring, also those of attributes, and each comment of a module."""
    source = path.read_text()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


def _public(node: _Documented, name: str) -> Iterator[tuple[str, _Documented]]:
    """Yield a module and the public classes, functions and methods in it, each with its qualified name."""
    yield name, node
    for child in node.body:
        if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
            yield from _public(child, f"{name}.{child.name}")
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not child.name.startswith("_"):
            yield f"{name}.{child.name}", child


def _per_thousand(texts: list[str]) -> float:
    words = sum(len(text.split()) for text in texts)
    return 1000 * sum(len(MANNERED.findall(text)) for text in texts) / words


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_module_docstring_names_its_subject(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring
    assert not OPENING.match(docstring), docstring.splitlines()[0]


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_every_public_name_has_a_docstring(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert [name for name, node in _public(tree, _name(path)) if not ast.get_docstring(node)] == []


def test_code_is_described_in_plain_words() -> None:
    assert _per_thousand([text for path in MODULES for text in _prose(path)]) <= MOST_PER_THOUSAND


def test_pages_are_written_in_plain_words() -> None:
    assert _per_thousand([path.read_text() for path in PAGES]) <= MOST_PER_THOUSAND
