"""The pages for contributors name paths that exist, and names that stand in the files that they name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "CONTRIBUTING.md", DOCS / "architecture.md", *sorted((DOCS / "contributing").glob("*.md"))]
FOLDERS = ("policy", "translators", "rego", "server", "tests", "docs", "bench", "tools", "examples")
PATH = re.compile(rf"`((?:{'|'.join(FOLDERS)})/[\w./-]*)`")
NAMES = re.compile(r"((?:`\w+`(?:,\s+|\s+and\s+))*`\w+`)\s+of\s+`([\w/-]+\.\w+)`")


def named(page: Path) -> list[tuple[str, str]]:
    """Each name that the page finds in a file, with the file."""
    found = NAMES.findall(page.read_text())
    return [(name, path) for names, path in found for name in re.findall(r"`(\w+)`", names)]


def defines(file: Path, name: str) -> bool:
    """A class, a function, a method or a constant of that name is defined in the file."""
    return bool(re.search(rf"^ *(?:class|def|async def) {name}\b|^{name}\b.*=", file.read_text(), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_path_exists(page: Path) -> None:
    paths = PATH.findall(page.read_text())
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: page.stem)
def test_every_name_is_defined_in_its_file(page: Path) -> None:
    assert [(name, path) for name, path in named(page) if not defines(ROOT / path, name)] == []


def test_names_are_found() -> None:
    assert ("SERVED", "policy/served_routes.py") in named(DOCS / "contributing/add-an-endpoint.md")
    assert len(named(DOCS / "architecture.md")) > 30


@pytest.mark.parametrize("page", PAGES[2:], ids=lambda page: page.stem)
def test_steps_are_numbered_from_one(page: Path) -> None:
    steps = [int(number) for number in re.findall(r"^(\d+)\. ", page.read_text(), re.MULTILINE)]
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) >= 6


def test_the_layers_are_those_of_the_contracts() -> None:
    modules = {
        f"server/{path.stem}"
        for path in (ROOT / "server").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    modules.remove("server/__init__")
    pages = [(DOCS / "architecture.md").read_text(), (ROOT / "CONTRIBUTING.md").read_text()]
    for page in pages:
        assert [one for one in modules if f"`{one}" not in page] == []
