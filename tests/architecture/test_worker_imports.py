"""Checks of bodies run in worker processes, which have the standard library and our own light modules, and no more."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import server.api
from server.api.batches import line_checks
from server.inference.providers import echo, word_llama
from server.inference.providers.bedrock import plan
from server.inference.providers.llama_cpp import forms
from server.json_input.body_parser import BodyParser

ROOT = Path(__file__).parents[2]


def checks() -> Iterator[str]:
    """The modules of the checks that the API and several providers hand to workers."""
    yield echo.look_for_reply.__module__
    yield plan.plan_chat.__module__
    yield word_llama.look_for_texts.__module__
    yield forms.look_for_forms.__module__
    yield line_checks.look_at_lines.__module__
    for found in pkgutil.walk_packages(server.api.__path__, "server.api."):
        for value in vars(import_module(found.name)).values():
            for parser in value.values() if isinstance(value, dict) else [value]:
                if isinstance(parser, BodyParser):
                    yield parser.check.__module__


MODULES = sorted(set(checks()))


def test_there_are_checks_of_every_resource_with_bodies() -> None:
    assert {name.split(".")[2] for name in MODULES} >= {"chat", "conversations", "prompts", "registry"}


@pytest.mark.parametrize("module", MODULES)
def test_a_worker_can_import_it(module: str) -> None:
    code = f"import sys; sys.path.append({str(ROOT)!r}); import {module}"
    done = subprocess.run([sys.executable, "-I", "-S", "-B", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
