"""The development key and its tokens."""

from __future__ import annotations

import asyncio
import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from policy.vocabulary import Principal
from server.authn.development import (
    DEVELOPMENT_AUDIENCE,
    DEVELOPMENT_ISSUER,
    JWKS_FILE,
    KEY_FILE,
    DevelopmentKeyUnusable,
    development_jwks,
    issue_token,
)
from server.authn.oauth2 import OAuth2Authenticator, OAuth2Settings
from tests.support.patience import START
from tests.support.token_issuers import Signer, ask

ROOT = Path(__file__).parents[3]


def identify(
    jwks: Path, token: str, issuer: str = DEVELOPMENT_ISSUER, audience: str = DEVELOPMENT_AUDIENCE
) -> Principal:
    return asyncio.run(ask(OAuth2Authenticator(OAuth2Settings(jwks.as_uri(), issuer, audience)), token))


def test_a_token_proves_its_subject_to_the_same_code_as_any_other(tmp_path: Path) -> None:
    token = issue_token(tmp_path, "user-1", roles=["developer"], teams=["ml", "red"], projects=["p"], namespaces=["n"])
    assert identify(development_jwks(tmp_path), token) == Principal(
        "user-1",
        DEVELOPMENT_ISSUER,
        {"roles": ("user-1", "developer"), "teams": ("ml", "red"), "projects": ("p",), "namespaces": ("n",)},
    )


def test_issuer_audience_and_lifetime_are_the_callers(tmp_path: Path) -> None:
    token = issue_token(tmp_path, "user-1", issuer="https://a.example", audience="b", lifetime_seconds=7)
    assert identify(development_jwks(tmp_path), token, "https://a.example", "b").attributes == {"roles": ("user-1",)}
    assert len(token) < 1_000


def test_the_key_is_made_once_for_the_owner_alone_and_only_its_public_half_is_published(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "directory"
    jwks = development_jwks(directory)
    pem = (directory / KEY_FILE).read_bytes()
    assert stat.S_IMODE((directory / KEY_FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    (key,) = json.loads(jwks.read_bytes())["keys"]
    assert set(key) == {"kty", "n", "e", "alg", "use", "kid"}
    issue_token(directory, "user-1")
    assert (directory / KEY_FILE).read_bytes() == pem
    assert sorted(path.name for path in directory.iterdir()) == sorted([KEY_FILE, JWKS_FILE])


def test_a_lost_or_changed_jwks_file_is_written_again(tmp_path: Path) -> None:
    jwks = development_jwks(tmp_path)
    content = jwks.read_bytes()
    jwks.unlink()
    assert development_jwks(tmp_path).read_bytes() == content
    jwks.write_bytes(b"{}")
    assert development_jwks(tmp_path).read_bytes() == content


def test_processes_that_start_together_end_with_one_key(tmp_path: Path) -> None:
    program = "import sys; from pathlib import Path; from server.authn.development import issue_token;"
    program += "sys.stdin.read(); print(issue_token(Path(sys.argv[1]), 'user-1'))"
    command = [sys.executable, "-c", program, str(tmp_path / "keys")]
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    tokens = [process.communicate(timeout=START)[0].strip() for process in processes]
    assert [identify(tmp_path / "keys" / JWKS_FILE, token).id for token in tokens] == ["user-1"] * 4
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == sorted([KEY_FILE, JWKS_FILE])


def test_a_key_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    development_jwks(tmp_path)
    (tmp_path / KEY_FILE).chmod(0o640)
    with pytest.raises(DevelopmentKeyUnusable, match="open to other users"):
        issue_token(tmp_path, "user-1")


def test_a_key_file_that_holds_something_else_is_reported_without_its_content(
    tmp_path: Path, ec_signer: Signer
) -> None:
    path = tmp_path / KEY_FILE
    path.touch(mode=0o600)
    pkcs8 = PrivateFormat.PKCS8
    for content in (
        b"",
        b"a-secret-text",
        b"\xff",
        ec_signer.private.private_bytes(Encoding.PEM, pkcs8, NoEncryption()),
        Signer.rsa().private.private_bytes(Encoding.PEM, pkcs8, BestAvailableEncryption(b"a password")),
    ):
        path.write_bytes(content)
        with pytest.raises(DevelopmentKeyUnusable, match="no RSA key as PEM; delete it") as refusal:
            issue_token(tmp_path, "user-1")
        assert "a-secret-text" not in str(refusal.value)


def test_a_directory_that_can_not_be_used_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "keys" / KEY_FILE).mkdir(parents=True, mode=0o700)
    for directory, reason in ((tmp_path / "file", "File exists"), (tmp_path / "keys", "directory|open to other users")):
        with pytest.raises(DevelopmentKeyUnusable, match=reason):
            development_jwks(directory)


@pytest.mark.parametrize(
    ("subject", "roles", "lifetime", "reason"),
    [
        ("", [], 1, "the subject"),
        (" ", [], 1, "the subject"),
        ("a\nb", [], 1, "the subject"),
        ("u" * 257, [], 1, "the subject"),
        ("user-1", ["developer", ""], 1, "one of the roles"),
        ("user-1", ["r" * 257], 1, "one of the roles"),
        ("user-1", [], 0, "the lifetime"),
        ("user-1", [], -5, "the lifetime"),
    ],
)
def test_a_token_that_the_server_would_refuse_is_not_made(
    tmp_path: Path, subject: str, roles: list[str], lifetime: int, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        issue_token(tmp_path, subject, roles=roles, lifetime_seconds=lifetime)
    assert list(tmp_path.iterdir()) == []


def test_a_key_in_a_directory_that_others_may_write_is_not_used(tmp_path: Path) -> None:
    home = tmp_path / "home"
    development_jwks(home)
    home.chmod(0o777)
    with pytest.raises(DevelopmentKeyUnusable, match=f"can't be believed: other users may write `{home}`"):
        issue_token(home, "user-1")
