"""`docs/from-llama-stack.md` has every key, every API and every kind of change that an import knows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from server.config.api_names import APIS, SECTIONS, Standing
from server.config.llama_stack import Kind, files, provider_settings, resources, server_section, storage, translation

PAGE = (Path(__file__).parents[2] / "docs/from-llama-stack.md").read_text()
ROWS = {row[0]: row[1] for row in re.findall(r"^\| (.+?) \| (.+?) \|$", PAGE, re.MULTILINE)}
IGNORED = {
    "translation": translation.HARMLESS,
    "provider_settings": provider_settings.HARMLESS,
    "providers of batches": provider_settings.HARMLESS_OF["batches"],
    "storage": storage.IGNORED,
    "files": files.IGNORED,
    "resources": resources.IGNORED,
    "server_section": server_section.IGNORED,
}


@pytest.mark.parametrize("module", IGNORED)
def test_a_key_that_is_ignored_is_named(module: str) -> None:
    assert [key for key in IGNORED[module] if f"`{key}`" not in PAGE] == []


@pytest.mark.parametrize("standing", Standing)
def test_an_api_stands_in_the_row_of_its_standing(standing: Standing) -> None:
    words = {
        Standing.PROVIDED: "served, by the providers below it",
        Standing.BUILT_IN: "served, without providers",
        Standing.LATER: "not served yet",
        Standing.NEVER: "not served",
    }
    named = sorted(f"`{name}`" for name, api in APIS.items() if api.standing is standing)
    assert ROWS[", ".join(named)].partition(";")[0] == words[standing]


def test_every_kind_of_change_is_explained() -> None:
    assert {f"`{kind}`" for kind in Kind} <= ROWS.keys()


def test_lists_of_resources_are_named() -> None:
    assert [name for name in SECTIONS if f"`{name}`" not in PAGE] == []
