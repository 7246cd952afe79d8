"""`ostiary key …` as an administrator uses it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from server.authn.key_store import KeyStore
from server.cli.main import app


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OSTIARY_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def ostiary(*arguments: str, code: int = 0) -> tuple[str, str]:
    """What `ostiary key` prints to its two streams."""
    result = CliRunner().invoke(app, ["key", *arguments])
    assert result.exit_code == code, result.output
    return result.stdout, result.stderr


def test_a_key_is_made_listed_and_revoked(own_home: Path) -> None:
    made, _ = ostiary("create", "--principal", "ci-bot", "--role", "developer", "--role", "ci", "--team", "ml")
    key = made.strip()
    identity = key.split("_")[1]
    listed, _ = ostiary("list")
    assert identity in listed
    assert "roles=developer,ci teams=ml" in listed
    assert "ends 2" in listed
    assert key.removeprefix(f"ost_{identity}_") not in listed
    ostiary("revoke", identity)
    assert "revoked 2" in ostiary("list")[0]
    stored = KeyStore(own_home / "api-keys.db").find(identity)
    assert stored is not None
    assert stored.revoked_at is not None


def test_keys_may_lie_in_a_file_of_ones_own(tmp_path: Path, own_home: Path) -> None:
    ostiary("create", "--principal", "a", "--expires", "never", "--keys", str(tmp_path / "keys.db"))
    assert "never ends" in ostiary("list", "--keys", str(tmp_path / "keys.db"))[0]
    assert len(ostiary("list")[0].splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("create", "--principal", "a", "--expires", "soon"), "`soon` is not a time like `90d`"),
        (("create", "--principal", "a", "--expires", "2001-01-31"), "over before it is used"),
        (("create", "--principal", "a\nb"), "not the name of a principal"),
        (("create", "--principal", "a", "--role", ""), "plain characters"),
        (("revoke", "unknown"), "there is no key `unknown`"),
        (("list", "--keys", "/"), "can't be used"),
    ],
)
def test_a_mistake_is_one_sentence(arguments: tuple[str, ...], sentence: str) -> None:
    _, said = ostiary(*arguments, code=2)
    assert said.startswith("error: ")
    assert sentence in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("name", ["api-keys.db", "."])
def test_keys_that_others_could_add_to_are_not_believed(name: str, own_home: Path) -> None:
    ostiary("create", "--principal", "ci-bot")
    (own_home / name).chmod((own_home / name).stat().st_mode | 0o022)
    path = own_home if name == "." else own_home / name
    for arguments in (("list",), ("create", "--principal", "mallory")):
        told = ostiary(*arguments, code=2)[1]
        assert f"the keys in `{own_home}/api-keys.db` can't be believed: other users may write `{path}`; " in told
    (own_home / name).chmod(0o700)
    assert "mallory" not in ostiary("list")[0]
