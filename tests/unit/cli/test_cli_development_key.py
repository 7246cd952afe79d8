"""The development key, which a start makes where the configuration trusts it, wherever its directory is."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.authn.development import JWKS_FILE
from server.cli.main import _make_development_key
from server.config.home import HOME_VARIABLE, home
from server.wiring.preflight import preflight
from tests.support.config_texts import load, with_server

AUTH = (
    "auth: {provider_config: {type: oauth2_token, issuer: i, audience: a, "
    "jwks: {uri: 'file://${env.OSTIARY_HOME}/development-jwks.json'}}}"
)


@pytest.mark.parametrize("name", ["plain", "my own häuser", "./below"])
def test_it_is_made_in_any_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    directory = name if name.startswith(".") else f"{tmp_path}/{name}"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(HOME_VARIABLE, directory)
    config = load(with_server(AUTH), OSTIARY_HOME=directory)
    assert preflight(config) == []
    _make_development_key(config)
    assert (home() / JWKS_FILE).is_file()


def test_it_is_not_made_where_another_file_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    _make_development_key(load(with_server(AUTH), OSTIARY_HOME=str(tmp_path)))
    assert not (home() / JWKS_FILE).exists()
