"""Loading of a configuration for a command, with its diagnostics and exit code if it can't be used."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import typer

from policy.lints.guardrails import report_attributes_of_guardrails
from policy.model_names import model_aliases
from policy.parser import read_policies
from policy.rules import PolicySet
from policy.scopes import Names
from policy.source.diagnostics import Diagnostic, Findings, InvalidDocument, quoted
from policy.source.document import Mapping, read_document
from policy.source.gc_pause import collector_at_rest
from policy.source.rendering import as_json, render
from policy.source.text import SIZE_LIMIT
from translators.commands.questions import Known, UnclearQuestion
from translators.compiler import Bundle, compile_policies
from translators.guardrails.reading import read_guardrails
from translators.opa import OpaNotFound
from translators.opa_session import OpaFailed

FAILED = 1
"""Exit code: warnings under `--strict`, a directory that isn't current, a policy test that failed."""

UNUSABLE = 2
"""Exit code: a file can't be used, or OPA can't be asked."""


Translate: TypeAlias = Callable[[Mapping, Findings], Mapping]
"""Returns the configuration of this server that says what a document says; adds warnings and errors to the findings."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration whose policies compile, with its warnings."""

    path: Path
    policies: PolicySet
    bundle: Bundle
    warnings: tuple[Diagnostic, ...]
    known: Known


def load(path: Path, translate: Translate | None = None) -> Loaded:
    """Return the compiled policies of a configuration; raise InvalidDocument with every finding.

    `translate` reads a configuration that was written for another server.
    """
    document, findings = read_document(path), Findings()
    if translate is not None:
        document = translate(document, findings)
    policies = read_policies(document, os.environ, findings)
    loaded = None if policies is None else compiled(path, document, policies, findings)
    findings.raise_errors()
    if loaded is None:
        raise InvalidDocument(findings.diagnostics)
    return loaded


@collector_at_rest()
def compiled(
    path: Path, document: Mapping, policies: PolicySet, findings: Findings, *, check_guardrails: bool = True
) -> Loaded | None:
    """Return the compiled `policies` of a document; None after an error, which goes to `findings`.

    `check_guardrails` is False for guardrails that were checked before, since the check needs OPA on this machine.
    """
    try:
        guardrails = read_guardrails(
            policies.guardrails, Names(policies.tables, policies.issuers), checked=check_guardrails
        )
        bundle = compile_policies(policies, guardrails.files)
    except InvalidDocument as invalid:
        findings.diagnostics.extend(invalid.diagnostics)
        return None
    findings.diagnostics.extend(guardrails.warnings)
    report_attributes_of_guardrails(guardrails.attributes, document, os.environ, findings)
    known = Known(model_aliases(document, os.environ), policies.tables, policies.issuers)
    return Loaded(path, policies, bundle, tuple(findings.diagnostics), known)


@contextmanager
def failures_explained(*, as_json_lines: bool) -> Iterator[None]:
    """Turn expected exceptions into messages on standard error and exit code 2."""
    try:
        yield
    except InvalidDocument as invalid:
        show(invalid.diagnostics, as_json_lines=as_json_lines)
    except (OpaNotFound, OpaFailed, UnclearQuestion) as failure:
        _complain(str(failure), as_json_lines=as_json_lines)
    except OSError as failure:
        if failure.filename is None:  # a closed pipe, for example, is not about a file
            raise
        _complain(f"cannot write {quoted(str(failure.filename))}: {failure.strerror}", as_json_lines=as_json_lines)
    else:
        return
    raise typer.Exit(UNUSABLE)


def show(diagnostics: Sequence[Diagnostic], *, as_json_lines: bool) -> None:
    """Write diagnostics to standard error in the order of their places, as text or as one JSON object a line."""
    if as_json_lines:
        ordered = sorted(dict.fromkeys(diagnostics), key=lambda found: (found.span, found.message))
        sys.stderr.writelines(json.dumps(as_json(found)) + "\n" for found in ordered)
    elif diagnostics:
        color = sys.stderr.isatty() and "NO_COLOR" not in os.environ
        sys.stderr.write(render(diagnostics, _sources(diagnostics), color=color) + "\n")


def _complain(sentence: str, *, as_json_lines: bool) -> None:
    sys.stderr.write(json.dumps({"error": sentence}) + "\n" if as_json_lines else f"error: {sentence}\n")


def _sources(diagnostics: Iterable[Diagnostic]) -> dict[str, str]:
    """Return the text of each file that the diagnostics are about, unless it is larger than any that is read."""
    files = {found.span.file for found in diagnostics}
    return {file: Path(file).read_text(encoding="utf-8", errors="replace") for file in files if _is_shown(Path(file))}


def _is_shown(path: Path) -> bool:
    return path.is_file() and path.stat().st_size <= SIZE_LIMIT
