"""Reading of guardrails: from the configured directory to the files of the bundle."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from policy.rules import Guardrails
from policy.scopes import Names
from policy.source.diagnostics import Diagnostic, Findings, InvalidDocument, Severity, Span, quoted
from translators.guardrails.checking import complaints, parsed
from translators.guardrails.directory import CODE, Contents, read_directory
from translators.guardrails.heads import FOLDER, lines_of_guardrails
from translators.guardrails.questions import check_questions
from translators.guardrails.rules import Modules, check_rules
from translators.guardrails.trees import name_of

_NO_CONFIGURATION: Final = Names()


@dataclass(frozen=True, slots=True)
class ReadGuardrails:
    """The files by their names inside the bundle, the warnings, and the attributes that they ask for."""

    files: dict[str, bytes] = field(default_factory=dict)
    warnings: tuple[Diagnostic, ...] = ()
    attributes: tuple[tuple[str, Span], ...] = ()


def read_guardrails(
    guardrails: Guardrails | None, names: Names = _NO_CONFIGURATION, *, checked: bool = True
) -> ReadGuardrails:
    """Read the guardrails of a configuration with these `names`; tests (`*_test.rego`) stay outside the bundle.

    Raises InvalidDocument where the directory holds none, where a file would not be in force, where OPA refuses one
    (invalid Rego, built-in functions that `rego/capabilities.json` leaves out), and where a rule reads a member that no
    question has or can't deny; raises OpaNotFound without OPA. With `checked` False, OPA isn't used.
    """
    if guardrails is None:
        return ReadGuardrails()
    directory = Path(guardrails.span.file).parent / Path(guardrails.directory).expanduser()
    contents = _contents(directory, guardrails)
    asked = _check(contents, names) if checked else []
    files = {f"{FOLDER}/{path.name}": text.encode() for path, text in contents.guardrails.items()}
    return ReadGuardrails(files, contents.warnings, tuple(asked))


def _contents(directory: Path, guardrails: Guardrails) -> Contents:
    if not directory.is_dir():
        message = f"there is no directory {quoted(guardrails.directory)}"
        raise _refused(guardrails.span, message, "name one with Rego files, relative to this file")
    try:
        contents = read_directory(directory)
    except OSError as failure:
        message = f"the directory {quoted(guardrails.directory)} can't be read: {failure.strerror}"
        raise _refused(guardrails.span, message, "let the server read it") from None
    contents.findings.raise_errors()
    if not contents.guardrails:
        message = f"{quoted(guardrails.directory)} holds no Rego files"
        raise _refused(guardrails.span, message, "name a directory with some")
    return contents


def _check(contents: Contents, names: Names) -> list[tuple[str, Span]]:
    if refused := complaints(contents.guardrails):
        raise InvalidDocument(refused)
    modules, findings = parsed(contents.guardrails), Findings()
    check_rules(modules, findings)
    asked = check_questions(modules, names, findings) if not findings.has_errors else []
    if not findings.has_errors:
        _check_places(contents, modules, findings)
    findings.raise_errors()
    return asked


def _check_places(contents: Contents, modules: Modules, findings: Findings) -> None:
    """Report a file in which the lexer finds other guardrails than OPA does: its denials could not name their
    places.
    """
    for path, module in modules.items():
        rows = [rule["head"]["location"]["row"] for rule in module.get("rules", ()) if name_of(rule) == "deny"]
        if sorted(rows) != lines_of_guardrails(contents.guardrails[path]):
            message = "the guardrails of this file can't be told apart"
            findings.error(CODE, Span(str(path), 1, 1), message, "write `deny contains` on one line for each of them")


def _refused(span: Span, message: str, hint: str) -> InvalidDocument:
    return InvalidDocument([Diagnostic(Severity.ERROR, CODE, message, span, hint)])
