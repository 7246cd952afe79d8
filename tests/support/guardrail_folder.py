"""A folder of guardrails beside a configuration that names it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from translators.commands.loading import Loaded, load

HEAD = "package ostiary.guardrails\n\n"
GOOD = HEAD + 'deny contains {"reason": "no"} if input.action == "delete"\n'
CONFIG = """\
server:
  auth:
    provider_config: {type: oauth2_token, claims_mapping: {roles: roles, teams: teams}}
    guardrails: guardrails
    access_policy:
      - permit: {actions: [create, read, update]}
        when: user is owner
"""
DORA: dict[str, Any] = {"id": "dora", "issuer": "", "attributes": {"roles": ["contractor"]}}
MODEL: dict[str, Any] = {"type": "model", "names": ["echo/a", "a"], "owner": None, "origin": "config"}


@pytest.fixture(autouse=True)
def real_opa(opa_binary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSTIARY_OPA", str(opa_binary))


def loaded(folder: Path, **files: str) -> Loaded:
    for name, text in files.items():
        (folder / f"{name}.rego").write_text(text)
    return load(folder.parent / "config.yaml")
