"""The configurations of docs/operate/identity.md, and its promises that can be checked by reading."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from policy.source.diagnostics import Findings
from policy.source.document import parse_document
from server.config import Config, read_config
from server.wiring.authenticators import authenticator
from server.wiring.quotas import build_admission

PAGES = Path(__file__).parents[2] / "docs" / "operate"
TEXT = "".join((PAGES / name).read_text("utf-8") for name in ("identity.md", "tls.md", "quotas.md"))
EXAMPLES = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
ENVIRONMENT = {"INTROSPECTION_SECRET": "a-secret"}


def load(text: str) -> Config:
    findings = Findings()
    config = read_config(parse_document(text, "identity.md"), ENVIRONMENT, findings)
    assert config is not None, findings.diagnostics
    assert findings.diagnostics == []
    return config


@pytest.mark.parametrize("text", EXAMPLES)
def test_every_configuration_of_the_page_loads_without_a_word_and_has_somebody_behind_it(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSTIARY_HOME", str(tmp_path))
    config = load(text)
    if config.server.auth.provider_config is not None:
        made = authenticator(config.server.auth)
        assert made is not None
        asyncio.run(made.close())
    if config.server.quota is not None:
        assert build_admission(config).quota is not None


def test_every_provider_has_its_section() -> None:
    kinds = {re.search(r"type: (\w+)\n", text)[1] for text in EXAMPLES if "provider_config" in text}  # type: ignore[index]
    assert kinds == {"oauth2_token", "kubernetes", "github_token", "custom", "api_key"}
    for kind in kinds:
        assert f"## `{kind}`" in TEXT
