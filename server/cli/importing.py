"""The parts of `ostiary import`: reading of the original, the report of changes, and the file that is written."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Final

from policy.source.diagnostics import Diagnostic, Severity, Span, visible
from policy.source.document import Mapping, parse_document
from policy.source.rendering import as_json, render
from policy.source.text import SIZE_LIMIT, decoded, refusal
from server.config.llama_stack import Change, Kind, TooLarge, Translation, written
from server.config.messages import EMPTY_VARIABLE
from server.local_files.atomic import write_private
from server.local_files.reading import UnreadableFile, read_small

SUFFIX = "-ostiary.yaml"
"""The end of the name of the file that is written, unless the command line names another one."""


_OF_THE_ENVIRONMENT: Final = frozenset(
    {"missing-variable", EMPTY_VARIABLE, "missing-region", "missing-extra", "missing-file"}
)
"""Codes of errors about variables, files and packages that another environment may have."""


class NotWritten(Exception):
    """Raised for a file that can't be written; the message is one sentence."""


def read_original(path: Path) -> Mapping:
    """Return the tree of the regular file at `path`; raise InvalidDocument."""
    name = str(path)
    try:
        content = read_small(path, SIZE_LIMIT)
    except UnreadableFile as unreadable:
        raise refusal("unreadable-file", Span(name, 1, 1), f"the file {unreadable}") from None
    except ValueError:
        raise refusal("unreadable-file", Span(name, 1, 1), "cannot read the file: its name holds a NUL") from None
    return parse_document(decoded(content, name), name)


def default_output(path: Path) -> Path:
    """Return the path that is written for an original: beside it, with another end of its name."""
    return path.with_name(f"{path.stem}{SUFFIX}")


def write_result(path: Path, output: Path, translation: Translation, *, force: bool) -> None:
    """Write the translated configuration to `output`, for the owner only; raise NotWritten."""
    comments = [f"Written by `ostiary import` {version('ostiary')} from {path.name}.", ""]
    comments += [_without_file(change) for change in _ordered(translation.changes) if change.kind is not Kind.KEPT]
    shown = visible(str(output))
    try:
        text = written(translation.document, comments)
        if force and output.exists() and output.samefile(path):
            raise NotWritten(f"`{shown}` is the file that is imported; name another one with `--output`")
        write_private(output, text.encode(), replacing=force)
    except TooLarge as large:
        raise NotWritten(str(large)) from None
    except FileExistsError:
        raise NotWritten(f"`{shown}` is there already; write another file with `--output`, or add `--force`") from None
    except (OSError, ValueError) as failure:
        reason = failure.strerror if isinstance(failure, OSError) else "its name holds a NUL"
        raise NotWritten(f"cannot write `{shown}`: {reason}") from None


def report(changes: Sequence[Change], *, as_json_lines: bool) -> None:
    """Print each change, in the order of the lines."""
    for change in _ordered(changes):
        sys.stdout.write(f"{json.dumps(change.as_json()) if as_json_lines else change}\n")


def without_environment(findings: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Return the findings with warnings in place of errors about what only this environment lacks."""
    return [
        replace(found, severity=Severity.WARNING) if found.code in _OF_THE_ENVIRONMENT else found for found in findings
    ]


def show_findings(findings: Iterable[Diagnostic], *, as_json_lines: bool) -> None:
    """Print findings to standard error, without lines of the original, which may hold secrets under any key."""
    ordered = sorted(dict.fromkeys(findings), key=lambda found: (found.span, found.message))
    if as_json_lines:
        sys.stderr.writelines(json.dumps(as_json(found)) + "\n" for found in ordered)
    elif ordered:
        sys.stderr.write(render(ordered, {}, color=False) + "\n")


def summary(path: Path, output: Path, changes: Sequence[Change]) -> str:
    """Return the last sentence of the report."""
    numbers = [(kind, sum(change.kind is kind for change in changes)) for kind in Kind]
    counted = ", ".join(f"{number} {kind}" for kind, number in numbers if number)
    start = f"ostiary run {shlex.quote(str(output))}"
    return (
        f"{visible(str(path))}: {counted or 'no changes'}\n"
        f"written to {visible(str(output))}; start it with `{visible(start)}`\n"
    )


def warnings_of_start(translation: Translation) -> list[Diagnostic]:
    """Return the warnings of a start with a configuration of Llama Stack; none for one of this server."""
    if not translation.foreign:
        return []
    span = translation.document.span
    command = f"ostiary import {shlex.quote(span.file)}"
    hint = f"`{visible(command)}` writes one for this server, and explains each change"
    first = Diagnostic(Severity.WARNING, "llama-stack", "this is a configuration of Llama Stack", span, hint)
    return [first, *translation.warnings()]


def _ordered(changes: Sequence[Change]) -> list[Change]:
    return sorted(dict.fromkeys(changes), key=lambda change: (change.span, change.sentence))


def _without_file(change: Change) -> str:
    tail = f"; {change.advice}" if change.advice else ""
    return f"line {change.span.line}: {change.kind}: {change.sentence}{tail}"
