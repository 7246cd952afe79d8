"""`ostiary import`: the original is read, the changes are reported, and the file of this server is written."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from policy.source.diagnostics import Diagnostic, Findings, InvalidDocument, Severity, Span, visible
from policy.source.document import Mapping, parse_document
from policy.source.rendering import as_json, render
from policy.source.text import decoded, refusal
from server.cli.banner import alarms
from server.config.llama_stack import Change, Kind, TooLarge, Translation, imported, written
from server.config.messages import EMPTY_VARIABLE
from server.local_files.atomic import write_private
from server.local_files.reading import UnreadableFile, read_small

if TYPE_CHECKING:
    from server.config import Config

SUFFIX: Final = "-ostiary.yaml"
"""The end of the name of the file that is written, unless the command line names another one."""


MOST_BYTES: Final = 1024 * 1024
"""Bytes of a file that is imported; those that come with Llama Stack have less than 20,000."""

_OF_THE_ENVIRONMENT: Final = frozenset(
    {"missing-variable", EMPTY_VARIABLE, "missing-region", "missing-extra", "missing-file"}
)
"""Codes of errors about variables, files and packages that another environment may have."""


Judge: TypeAlias = Callable[[Mapping, Findings], "Config | None"]
"""Returns the configuration in a document, with findings about it and its policies; None after an error."""


class Unimported(Exception):
    """Raised after a report of why nothing is written."""


class _NotWritten(Exception):
    """Raised for a file that can't be written; the message is one sentence."""


def import_file(path: Path, output: Path | None, judge: Judge, *, force: bool, as_json_lines: bool) -> bool:
    """Write the configuration of this server that says what the file at `path` says, and report the changes.

    Returns whether it can be served, except for what only this environment lacks. Raises Unimported.
    """
    target = path.with_name(f"{path.stem}{SUFFIX}") if output is None else output
    try:
        translation = imported(_original(path))
        translation.findings.raise_errors()
        _write(path, target, translation, force=force)
    except InvalidDocument as invalid:
        _show(invalid.diagnostics, as_json_lines=as_json_lines)
        raise Unimported from None
    except _NotWritten as failure:
        sys.stderr.write(f"error: {failure}\n")
        raise Unimported from None
    _report(translation.changes, as_json_lines=as_json_lines)
    usable = _show_what_is_left(translation.document, judge, as_json_lines=as_json_lines)
    if not as_json_lines:
        sys.stdout.write(_summary(path, target, translation.changes))
    return usable


def _show_what_is_left(document: Mapping, judge: Judge, *, as_json_lines: bool) -> bool:
    """Report what keeps a translated configuration from being served; return whether it is about this environment."""
    findings = Findings()
    config = judge(document, findings)
    shown = [
        replace(found, severity=Severity.WARNING) if found.code in _OF_THE_ENVIRONMENT else found
        for found in findings.diagnostics
    ]
    _show(shown, as_json_lines=as_json_lines)
    if config is not None:
        sys.stderr.writelines(f"warning: {alarm}\n" for alarm in alarms(config))
    return all(found.severity is not Severity.ERROR for found in shown)


def _original(path: Path) -> Mapping:
    """Return the tree of the regular file at `path`; raise InvalidDocument."""
    name = str(path)
    try:
        content = read_small(path, MOST_BYTES)
    except UnreadableFile as unreadable:
        raise refusal("unreadable-file", Span(name, 1, 1), f"the file {unreadable}") from None
    except ValueError:
        raise refusal("unreadable-file", Span(name, 1, 1), "cannot read the file: its name holds a NUL") from None
    return parse_document(decoded(content, name), name)


def _write(path: Path, output: Path, translation: Translation, *, force: bool) -> None:
    """Write the translated configuration to `output`, for the owner only; raise _NotWritten."""
    comments = [f"Written by `ostiary import` {version('ostiary')} from {path.name}.", ""]
    comments += [_without_file(change) for change in _ordered(translation.changes) if change.kind is not Kind.KEPT]
    shown = visible(str(output))
    try:
        text = written(translation.document, comments)
        if force and output.exists() and output.samefile(path):
            raise _NotWritten(f"`{shown}` is the file that is imported; name another one with `--output`")
        write_private(output, text.encode(), replacing=force)
    except TooLarge as large:
        raise _NotWritten(str(large)) from None
    except FileExistsError:
        raise _NotWritten(f"`{shown}` is there already; write another file with `--output`, or add `--force`") from None
    except (OSError, ValueError) as failure:
        reason = failure.strerror if isinstance(failure, OSError) else "its name holds a NUL"
        raise _NotWritten(f"cannot write `{shown}`: {reason}") from None


def _report(changes: Sequence[Change], *, as_json_lines: bool) -> None:
    """Print each change, in the order of the lines."""
    for change in _ordered(changes):
        sys.stdout.write(f"{json.dumps(change.as_json()) if as_json_lines else change}\n")


def _show(findings: Iterable[Diagnostic], *, as_json_lines: bool) -> None:
    """Print findings to standard error, without lines of the original, which may hold secrets under any key."""
    ordered = sorted(dict.fromkeys(findings), key=lambda found: (found.span, found.message))
    if as_json_lines:
        sys.stderr.writelines(json.dumps(as_json(found)) + "\n" for found in ordered)
    elif ordered:
        sys.stderr.write(render(ordered, {}, color=False) + "\n")


def _summary(path: Path, output: Path, changes: Sequence[Change]) -> str:
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
