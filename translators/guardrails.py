"""Hand-written Rego of a security team: read, checked by OPA itself, and put into the bundle unchanged."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from policy.diagnostics import Diagnostic, InvalidDocument, Severity, Span, quoted
from policy.rules import Guardrails
from translators.compiler import LAW
from translators.opa import find

PACKAGE = "ostiary.guardrails"


def read_guardrails(guardrails: Guardrails | None, *, checked: bool = True) -> dict[str, bytes]:
    """The files of the guardrails by their names inside the bundle; tests (`*_test.rego`) stay outside.

    Raises InvalidDocument where the directory holds none, where OPA refuses one (wrong Rego, unknown members of the
    question, built-in functions that `rego/capabilities.json` leaves out) or where one is of another package; raises
    OpaNotFound if OPA can't be asked. With `checked` false it isn't asked, and refuses nothing.
    """
    if guardrails is None:
        return {}
    directory = Path(guardrails.span.file).parent / Path(guardrails.directory).expanduser()
    if not directory.is_dir():
        message = f"there is no directory {quoted(guardrails.directory)}"
        raise _refused(guardrails.span, message, "name one with Rego files, relative to this file")
    paths = sorted(path for path in directory.glob("*.rego") if not path.name.endswith("_test.rego"))
    if not paths:
        raise _refused(
            guardrails.span, f"{quoted(guardrails.directory)} holds no Rego files", "name a directory with some"
        )
    contents = {path: path.read_bytes() for path in paths}
    if checked:
        _check(contents)
    return {f"ostiary/guardrails/{path.name}": content for path, content in contents.items()}


def _check(contents: Mapping[Path, bytes]) -> None:
    with tempfile.TemporaryDirectory(prefix="ostiary-") as scratch:
        copies = {str(Path(scratch) / path.name): path for path in contents}
        for copy, path in copies.items():
            Path(copy).write_bytes(contents[path])
        options: list[str | Path] = [
            "--strict",
            "--capabilities",
            LAW / "capabilities.json",
            "--schema",
            LAW / "schemas",
        ]
        complaints = _opa("check", *options, "--format", "json", scratch).get("errors", [])
        if complaints:
            raise InvalidDocument(_diagnostics(complaints, copies))
        for namespace, files in _opa("inspect", "--format", "json", scratch)["namespaces"].items():
            if namespace != f"data.{PACKAGE}":
                place = Span(str(copies.get(files[0], files[0])), 1, 1)
                raise _refused(place, f"`{namespace.removeprefix('data.')}` is not the package of guardrails", _HINT)


_HINT = f"write `package {PACKAGE}`"


def _opa(*arguments: str | Path) -> dict[str, Any]:
    done = subprocess.run([find(), *arguments], capture_output=True, check=False)  # noqa: S603 - fixed, no shell
    answer: dict[str, Any] = json.loads(done.stdout or done.stderr or b"{}")
    return answer


def _diagnostics(complaints: list[dict[str, Any]], copies: Mapping[str, Path]) -> Iterator[Diagnostic]:
    for complaint in complaints:
        location = complaint.get("location", {})
        file = location.get("file", "")
        span = Span(str(copies.get(file, file)), location.get("row", 1), location.get("col", 1))
        message = f"OPA refuses this guardrail: {complaint['message']}"
        yield Diagnostic(Severity.ERROR, "invalid-guardrail", message, span)


def _refused(span: Span, message: str, hint: str) -> InvalidDocument:
    return InvalidDocument([Diagnostic(Severity.ERROR, "invalid-guardrail", message, span, hint)])
