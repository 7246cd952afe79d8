"""Checks of guardrails by OPA: valid Rego about a question, and the syntax trees."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from policy.source.diagnostics import Diagnostic, Severity, Span
from translators.guardrails.directory import CODE
from translators.guardrails.lexing import without_comments
from translators.guardrails.shapes import question_schema
from translators.opa import find
from translators.rego_folder import REGO

Tree = dict[str, Any]
"""A module, a rule or a term as `opa parse` writes it."""

_WITH_THE_SCHEMA: Final = """# METADATA
# scope: subpackages
# schemas:
#   - input: schema.input
package ostiary
"""


def complaints(contents: Mapping[Path, str]) -> list[Diagnostic]:
    """Return OPA's errors in the files: invalid Rego, forbidden built-in functions, members that no question has.

    The schema of the question applies to every file; annotations are blanked so that none overrides it.
    """
    return list(dict.fromkeys([*_checked(contents, schema=False), *_checked(contents, schema=True)]))


def parsed(contents: Mapping[Path, str]) -> dict[Path, Tree]:
    """Return the syntax tree of each file; the files must have passed `complaints`."""
    with tempfile.TemporaryDirectory(prefix="ostiary-") as scratch:
        copies = _copied(contents, Path(scratch))
        return {
            path: _opa("parse", "--format", "json", "--json-include", "locations,-comments", copy)
            for copy, path in copies.items()
        }


def _checked(contents: Mapping[Path, str], *, schema: bool) -> Iterator[Diagnostic]:
    with tempfile.TemporaryDirectory(prefix="ostiary-") as scratch:
        rego, schemas = Path(scratch) / "rego", Path(scratch) / "schemas"
        rego.mkdir()
        schemas.mkdir()
        (schemas / "input.json").write_text(json.dumps(question_schema()))
        bare = {path: without_comments(text) for path, text in contents.items()}
        copies = _copied(bare if schema else contents, rego)
        if schema:
            (rego / "schema.rego").write_text(_WITH_THE_SCHEMA)
        options: list[str | Path] = ["--strict", "--max-errors", "0", "--capabilities", REGO / "capabilities.json"]
        said = _opa("check", *options, "--schema", schemas if schema else REGO / "schemas", "--format", "json", rego)
        for complaint in said.get("errors", []):
            if schema and _about_null(complaint):
                continue
            location = complaint.get("location", {})
            path = copies.get(location.get("file", ""), Path(location.get("file", "")))
            span = Span(str(path), max(location.get("row", 1), 1), max(location.get("col", 1), 1))
            yield Diagnostic(Severity.ERROR, CODE, f"OPA refuses this guardrail: {_told(complaint)}", span)


def _about_null(complaint: Tree) -> bool:
    """Return whether an error comes from OPA's reading of a nullable value as an object; `questions` finds the real
    ones.
    """
    details = complaint.get("details") or {}
    sides = (details.get("a"), details.get("b"))
    return any(isinstance(side, dict) and side.get("type") == "null" for side in sides)


def _told(complaint: Tree) -> str:
    details = complaint.get("details") or {}
    known = ", ".join(f"`{name}`" for name in details.get("oneOf") or ())
    return f"{complaint['message']}{f'; known are {known}' if known else ''}"


def _copied(contents: Mapping[Path, str], folder: Path) -> dict[str, Path]:
    """Return copies with names of our own, each with its path, so that no file's name becomes an argument of a
    command.
    """
    copies: dict[str, Path] = {}
    for number, (path, text) in enumerate(contents.items()):
        copy = folder / f"{number}.rego"
        copy.write_bytes(text.encode())
        copies[str(copy)] = path
    return copies


def _opa(*arguments: str | Path) -> Tree:
    done = subprocess.run([find(), *arguments], capture_output=True, check=False)  # noqa: S603 - fixed, no shell
    answer: Tree = json.loads(done.stdout or done.stderr or b"{}")
    return answer
