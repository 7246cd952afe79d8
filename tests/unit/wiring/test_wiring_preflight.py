"""The files of keys that `ostiary run --check` looks at, by which no token can be verified."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.authn.development import JWKS_FILE, development_jwks
from server.config.home import home
from server.wiring.preflight import preflight
from tests.support.config_texts import load, with_server


def doubts(file: Path) -> list[str]:
    keys = f"{{type: oauth2_token, issuer: i, audience: a, jwks: {{uri: 'file://{file}'}}}}"
    return preflight(load(with_server(f"auth: {{provider_config: {keys}}}")))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "can't be read (No such file or directory)"),
        ("words", "is not a JWK Set"),
        ('{"keys": []}', "holds no key that can be used"),
    ],
)
def test_a_file_by_which_no_token_can_be_verified(tmp_path: Path, content: str | None, reason: str) -> None:
    file = tmp_path / "jwks.json"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    assert doubts(file) == [f"the file of keys `{file}` {reason}, so no token is accepted yet; look at `jwks.uri`"]


def test_a_file_with_a_key_is_fine(tmp_path: Path) -> None:
    assert doubts(development_jwks(tmp_path)) == []


def test_the_development_key_is_made_at_the_start() -> None:
    assert doubts(home() / JWKS_FILE) == []
