"""Short ways to the translation of a configuration of Llama Stack, and to the commands that use it."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest
from typer.testing import CliRunner, Result

from policy.source.document import Mapping, Node, Scalar, Sequence, parse_document
from server.cli.main import app
from server.config.llama_stack import Translation, for_start, imported

FOLDER = Path(__file__).parents[1] / "distributions"
DISTRIBUTIONS = sorted(path.stem for path in FOLDER.glob("*.yaml"))

ENVIRONMENT = {"ANSWERS_MODEL": "a/big", "ANSWERS_URL": "http://answers:8000/v1", "NO_COLOR": "1", "COLUMNS": "200"}
"""What the distributions need of the environment, and nothing of their services."""


def translated(text: str) -> Translation:
    """The translation of a text by an import."""
    return imported(parse_document(dedent(text), "stack.yaml"))


def started(text: str, **environ: str) -> Translation:
    """The translation of a text by a start."""
    return for_start(parse_document(dedent(text), "stack.yaml"), environ)


def told(translation: Translation) -> list[str]:
    """The changes, without the name of the file, in the order of the lines."""
    ordered = sorted(translation.changes, key=lambda change: change.span)
    return [str(change).removeprefix("stack.yaml:") for change in ordered]


def refused(translation: Translation) -> list[str]:
    """What can't be translated, as `LINE: sentence; hint`."""
    return [
        f"{found.span.line}: {found.message}" + (f"; {found.hint}" if found.hint else "")
        for found in translation.findings.diagnostics
    ]


def plain(node: Node) -> object:
    """The values of a tree, without their places."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return {key: plain(entry.node) for key, entry in node.entries.items()}


def section(translation: Translation, *keys: str) -> object:
    """The values below these keys of the translated document."""
    node: Node = translation.document
    for key in keys:
        assert isinstance(node, Mapping)
        node = node.entries[key].node
    return plain(node)


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path, **environ: str) -> Result:
    """The command line in this process, in an environment of its own."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_BEARER_TOKEN_BEDROCK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**ENVIRONMENT, **environ}.items():
        monkeypatch.setenv(name, value)
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="ostiary")
