"""The directory of guardrails: each file is read, recognized as another kind, or refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from policy.source.diagnostics import Diagnostic, Findings, Span, quoted
from translators.guardrails.heads import lines_of_guardrails
from translators.guardrails.lexing import code_alone

PACKAGE: Final = "ostiary.guardrails"
CODE: Final = "invalid-guardrail"

_SUFFIX: Final = ".rego"
_TEST: Final = "_test.rego"
_PLAIN_NAME: Final = re.compile(r"[\w+@-][\w .+@-]*")
_OF_THE_PACKAGE: Final = re.compile(rf"^\s*package\s+{re.escape(PACKAGE)}\s*$", re.MULTILINE)
_DOCUMENTS: Final = (".md", ".txt")


@dataclass(frozen=True, slots=True)
class Contents:
    """The texts of the guardrails by their paths, and the errors and warnings about the directory."""

    guardrails: dict[Path, str] = field(default_factory=dict)
    findings: Findings = field(default_factory=Findings)

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        """The warnings; all findings, where there is no error."""
        return tuple(self.findings.diagnostics)


def read_directory(directory: Path) -> Contents:
    """Return the guardrails in `directory`; names that begin with `..` belong to Kubernetes and are skipped."""
    contents = Contents()
    for path in sorted(directory.iterdir()):
        if path.name.startswith(".."):
            continue
        if path.is_dir():
            for below in sorted(path.rglob("*")):
                _read_below(below, directory, contents)
        elif _is_rego(path):
            _read(path, contents)
        elif not path.name.startswith(".") and path.suffix.lower() not in _DOCUMENTS:
            message = f"{quoted(path.name)} is not read: guardrails are files whose names end in `{_SUFFIX}`"
            contents.findings.warning(
                "unread-guardrail", Span(str(path), 1, 1), message, "rename it, or move it to another directory"
            )
    return contents


def _read_below(path: Path, directory: Path, contents: Contents) -> None:
    """Report a guardrail in a subdirectory, where it would not be in force; tests are allowed there."""
    if not _is_rego(path) or path.is_dir():
        return
    if path.name.endswith(_TEST):
        _read(path, contents)
        return
    message = f"{quoted(str(path.relative_to(directory)))} is in a directory below, where guardrails are not in force"
    contents.findings.error(CODE, Span(str(path), 1, 1), message, f"move it up into {quoted(directory.name)}")


def _read(path: Path, contents: Contents) -> None:
    place = Span(str(path), 1, 1)
    for message, hint in _misnamed(path):
        contents.findings.error(CODE, place, message, hint)
        return
    try:
        text = path.read_bytes().decode()
    except OSError as failure:
        contents.findings.error(CODE, place, f"{quoted(path.name)} can't be read: {failure.strerror}")
        return
    except UnicodeDecodeError:
        contents.findings.error(CODE, place, f"{quoted(path.name)} is not UTF-8", "save it as UTF-8")
        return
    if not path.name.endswith(_TEST):
        contents.guardrails[path] = text
    elif _OF_THE_PACKAGE.search(code_alone(text)):
        for line in lines_of_guardrails(text):
            message = f"this guardrail is not in force, because the name of its file ends in `{_TEST}`"
            contents.findings.error(CODE, Span(str(path), line, 1), message, "move it into another file")


def _is_rego(path: Path) -> bool:
    return path.suffix.strip().lower() == _SUFFIX


def _misnamed(path: Path) -> Iterator[tuple[str, str]]:
    if path.suffix != _SUFFIX:
        yield f"{quoted(path.name)} is not in force: the name has to end in `{_SUFFIX}` in small letters", "rename it"
    elif not _PLAIN_NAME.fullmatch(path.name):
        hint = "use letters, digits, blanks and `.`, `_`, `-`, `+`, `@`, and begin with none of blank and dot"
        yield f"{quoted(path.name)} is not a name for a file of guardrails", hint
