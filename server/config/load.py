"""Loading of a configuration file: a `Config`, or every mistake in it."""

from __future__ import annotations

from collections.abc import Mapping as Environ
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from policy.source.diagnostics import Findings, InvalidDocument, Severity
from policy.source.document import Mapping, read_document
from server.config.bedrock import take_from_environment
from server.config.checks import check
from server.config.messages import explain
from server.config.root import Config
from server.config.tree import read
from server.config.vector_stores import with_own_embeddings

_MISSING: Final = "missing-variable"


def load_config(path: Path, environ: Environ[str, str]) -> Config:
    """Return the configuration in the file at `path`, with variables from `environ`.

    Raises `InvalidDocument` with every mistake in the file, except inside its policies.
    """
    findings = Findings()
    config = read_config(read_document(path), environ, findings)
    if config is None:
        raise InvalidDocument(findings.diagnostics)
    return config


def read_config(document: Mapping, environ: Environ[str, str], findings: Findings) -> Config | None:
    """Return the configuration in `document`; None after an error, which goes to `findings`.

    A place with an error in `findings` gets no second one: call `policy.parser.read_policies` first, so that a mistake
    that both notice is reported once.
    """
    own = Findings()
    reading = read(document, environ, own)
    take_from_environment(reading, environ, own)
    config: Config | None = None
    try:
        config = Config.model_validate(reading.tree)
    except ValidationError as error:
        own.diagnostics += explain(error, reading)
    check(reading, own)
    _merge(own, findings)
    return None if own.has_errors or config is None else with_own_embeddings(config)


def _merge(own: Findings, findings: Findings) -> None:
    """Add new findings: none at a place with an error, no second warning of a kind at one place, no duplicates."""
    _prefer_complete(own, findings)
    wrong = {known.span for known in findings.diagnostics if known.severity is Severity.ERROR}
    warned = {(known.span, known.code) for known in findings.diagnostics}
    reported = set(findings.diagnostics)
    for diagnostic in own.diagnostics:
        if diagnostic.span in wrong or (diagnostic.span, diagnostic.code) in warned:
            continue
        if diagnostic in reported:
            continue  # a model and a check of the tree have reported the same mistake
        findings.diagnostics.append(diagnostic)
        reported.add(diagnostic)
        warned.add((diagnostic.span, diagnostic.code))


def _prefer_complete(own: Findings, findings: Findings) -> None:
    """Drop the policies' findings about missing variables where ours, which names all of them, exists."""
    complete = any(found.code == _MISSING for found in own.diagnostics)
    if complete:
        findings.diagnostics[:] = [found for found in findings.diagnostics if found.code != _MISSING]
