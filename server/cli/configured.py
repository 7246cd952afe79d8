"""Parts of commands for the operator of a running server: its configuration, and failures as one sentence."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from policy.source.diagnostics import Findings, InvalidDocument
from policy.source.document import Mapping, read_document
from policy.source.rendering import render

if TYPE_CHECKING:
    from server.config import Config

_FAILED: Final = 2


def translated(document: Mapping, findings: Findings) -> Mapping:
    """Return what a file of Llama Stack says as a configuration of this server; another one stays as it is.

    The findings get a warning for each change, and errors for what is not served or can't be translated.
    """
    from server.cli.importing import warnings_of_start
    from server.config.llama_stack import for_start

    translation = for_start(document, os.environ)
    findings.extend(translation.findings)
    findings.diagnostics += warnings_of_start(translation)
    return translation.document


def configured(path: Path | None) -> Config:
    """Return the configuration, of which the policies are not read; without a path, that of an empty file.

    Raises InvalidDocument.
    """
    from server.config import Config, read_config

    if path is None:
        return Config()
    findings = Findings()
    config = read_config(translated(read_document(path), findings), os.environ, findings)
    findings.raise_errors()
    if config is None:
        raise InvalidDocument(findings.diagnostics)
    return config


@contextmanager
def told() -> Iterator[None]:
    """Print each failure as one sentence, and end the command with 2."""
    from server.fairness.shares import NoRoom
    from server.quota.counters import CountersUnavailable
    from server.storage.database.database import DatabaseUnavailable, Overlong
    from server.storage.database.migrate import SchemaMismatch

    try:
        yield
    except InvalidDocument as invalid:
        files = {found.span.file for found in invalid.diagnostics}
        sources = {file: Path(file).read_text("utf-8", "replace") for file in files if Path(file).is_file()}
        sys.stderr.write(f"{render(invalid.diagnostics, sources, color=False)}\n")
    except (CountersUnavailable, DatabaseUnavailable, NoRoom, Overlong, SchemaMismatch, ValueError) as failure:
        sys.stderr.write(f"error: {failure}\n")
    else:
        return
    raise typer.Exit(_FAILED) from None
