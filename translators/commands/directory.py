"""Directories with a compiled bundle: its files for readers, and the archive that OPA loads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from policy.source.diagnostics import Diagnostic, InvalidDocument, Severity, Span, quoted
from translators.compiler import Bundle

ARCHIVE = "bundle.tar.gz"


class CompiledDirectory:
    """Writes a bundle into a directory of its own, and compares one with the files there."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, bundle: Bundle) -> None:
        """Replace the files of an earlier call; raise InvalidDocument if the directory holds other files."""
        self._refuse_strangers()
        self._path.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self._path / "ostiary", ignore_errors=True)
        for name, content in bundle.files.items():
            target = self._path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        # Last and atomically, so that an OPA that watches the archive never reads a part of it.
        fresh = self._path / f".{ARCHIVE}"
        fresh.write_bytes(bundle.archive)
        fresh.replace(self._path / ARCHIVE)

    def differences(self, bundle: Bundle) -> list[str]:
        """Return the paths in the directory that are missing, different or obsolete; empty if it is current."""
        there = {path.relative_to(self._path).as_posix() for path in self._path.rglob("*") if path.is_file()}
        expected = {*bundle.files, ARCHIVE}
        changed = {
            name
            for name, content in bundle.files.items()
            if name in there and (self._path / name).read_bytes() != content
        }
        return sorted(changed | (there ^ expected))

    def _refuse_strangers(self) -> None:
        if not self._path.exists():
            return
        if not self._path.is_dir() or (any(self._path.iterdir()) and not self._is_ours()):
            span = Span(str(self._path), 1, 1)
            message = f"{quoted(str(self._path))} holds something else than a compiled policy"
            raise InvalidDocument(
                [Diagnostic(Severity.ERROR, "occupied-directory", message, span, "name an empty or new directory")]
            )

    def _is_ours(self) -> bool:
        try:
            manifest = json.loads((self._path / ".manifest").read_bytes())
        except (OSError, ValueError):
            return False
        return isinstance(manifest, dict) and manifest.get("roots") == ["ostiary"]
