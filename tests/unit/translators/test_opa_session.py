"""A start of OPA that fails leaves no directory and no process."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from translators.compiler import Bundle
from translators.opa import OpaNotFound
from translators.opa_session import OpaFailed, OpaSession


def test_opa_that_is_missing_leaves_no_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("OSTIARY_OPA", str(tmp_path / "missing"))
    with pytest.raises(OpaNotFound), OpaSession(Bundle("none", {}, (), ())):
        pass
    assert list(tmp_path.iterdir()) == []


def test_opa_that_refuses_its_bundle_leaves_no_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opa_binary: Path
) -> None:
    monkeypatch.setenv("OSTIARY_OPA", str(opa_binary))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    broken = Bundle("broken", {"ostiary/broken.rego": b"package ostiary\nallowed if"}, (), ())
    with pytest.raises(OpaFailed, match=r"broken\.rego"), OpaSession(broken):
        pass
    assert list(tmp_path.iterdir()) == []
