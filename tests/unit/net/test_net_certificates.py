"""The certificate of the server and its key: whatever is wrong with them is one sentence with the file's name."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from server.net.certificates import UnusableCertificate
from server.net.tls import ServerTls, UnusableAuthorities, client_context
from server.process.startup import start_failure
from tests.support.identity_services import Authority, encrypt

BEGIN = b"-----BEGIN CERTIFICATE"


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate and its key, in two files."""
    content = Authority(tmp_path).issue(tmp_path / "both.pem").read_bytes()
    certificate, key = tmp_path / "server.crt", tmp_path / "server.key"
    certificate.write_bytes(content[content.index(BEGIN) :])
    key.write_bytes(content[: content.index(BEGIN)])
    key.chmod(0o600)
    return certificate, key


def encrypt_traditionally(path: Path) -> None:
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    form, encryption = serialization.PrivateFormat.TraditionalOpenSSL, serialization.BestAvailableEncryption(b"secret")
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, encryption))


def encrypt_alone(path: Path) -> None:
    path.write_bytes(path.read_bytes() + BEGIN)
    encrypt(path)
    path.write_bytes(path.read_bytes().removesuffix(BEGIN))


def hollow(path: Path) -> None:
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], "AAAA", lines[-1]]) + "\n")


def another_key(path: Path) -> None:
    content = Authority(path.parent / "another").issue(path).read_bytes()
    path.write_bytes(content[: content.index(BEGIN)])


def make_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


SPOILT: dict[str, tuple[int, Callable[[Path], object], str]] = {
    "key encrypted": (1, encrypt_alone, "the key in `KEY` is encrypted, and there is no place for its pass phrase"),
    "key encrypted in the old form": (1, encrypt_traditionally, "the key in `KEY` is encrypted"),
    "key of another": (1, another_key, "the key in `KEY` is not that of the certificate in `CERTIFICATE`"),
    "key junk": (1, lambda path: path.write_bytes(b"junk \xff\0"), "`KEY` holds no private key as PEM"),
    "key hollow": (1, hollow, "`KEY` holds no private key as PEM"),
    "key empty": (1, lambda path: path.write_bytes(b""), "`KEY` holds no private key as PEM"),
    "key a directory": (1, make_directory, "`KEY` is not a regular file"),
    "key a pipe": (1, make_pipe, "`KEY` is not a regular file"),
    "key missing": (1, Path.unlink, "`KEY` can't be read (No such file or directory)"),
    "key open to all": (1, lambda path: path.chmod(0o602), "`KEY` is not safe to use: every user may write `KEY`"),
    "certificate junk": (0, lambda path: path.write_bytes(b"junk"), "`CERTIFICATE` holds no certificate as PEM"),
    "certificate hollow": (0, hollow, "`CERTIFICATE` holds no certificate as PEM"),
    "certificate empty": (0, lambda path: path.write_bytes(b""), "`CERTIFICATE` holds no certificate as PEM"),
    "certificate a directory": (0, make_directory, "`CERTIFICATE` is not a regular file"),
    "certificate a pipe": (0, make_pipe, "`CERTIFICATE` is not a regular file"),
    "certificate missing": (0, Path.unlink, "`CERTIFICATE` can't be read (No such file or directory)"),
    "certificate open to all": (0, lambda path: path.chmod(0o646), "`CERTIFICATE` is not safe to use: every user"),
    "chain broken off": (
        0,
        lambda path: path.write_bytes(path.read_bytes() + BEGIN + b"-----\nAAAA\n-----END CERTIFICATE-----\n"),
        "`CERTIFICATE`",
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_whatever_is_wrong_is_told_at_the_start_and_keeps_the_old_pair_afterwards(
    name: str, pair: tuple[Path, Path]
) -> None:
    which, spoil, sentence = SPOILT[name]
    certificate, key = pair
    shown = ServerTls(certificate, key, None)
    spoil(pair[which])
    sentence = sentence.replace("CERTIFICATE`", f"{certificate}`").replace("KEY`", f"{key}`")
    with pytest.raises(UnusableCertificate) as start:
        ServerTls(certificate, key, None)
    with pytest.raises(UnusableCertificate) as reload:
        shown.reload()
    told = start_failure(start.value)
    assert told is not None
    assert told == str(reload.value)
    assert sentence in told
    assert "\n" not in told


def test_a_good_pair_is_shown_and_nothing_is_said_of_it(pair: tuple[Path, Path], tmp_path: Path) -> None:
    certificate, key = pair
    assert list(ServerTls(certificate, key, tmp_path / "ca.crt").doubts()) == []
    both = tmp_path / "both.pem"
    both.chmod(0o600)
    assert list(ServerTls(both, both, None).doubts()) == []


@pytest.mark.parametrize("ends", [timedelta(minutes=-1), timedelta(minutes=5)])
def test_a_certificate_that_has_ended_is_shown_all_the_same_and_told(ends: timedelta, tmp_path: Path) -> None:
    both = Authority(tmp_path, ends).issue(tmp_path / "both.pem")
    both.chmod(0o600)
    doubts = list(ServerTls(both, both, None).doubts())
    assert bool(doubts) == (ends < timedelta())
    assert all(f"the certificate in `{both}` has expired on 20" in doubt for doubt in doubts)


@pytest.mark.parametrize("content", [b"", b"junk", BEGIN + b"-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_authorities_that_are_none_are_one_sentence(content: bytes, pair: tuple[Path, Path], tmp_path: Path) -> None:
    junk = tmp_path / "junk.crt"
    junk.write_bytes(content)
    for use in (lambda: client_context(junk, verify=True), lambda: ServerTls(*pair, junk)):
        with pytest.raises(UnusableAuthorities, match=f"the CA certificates in `{junk}` can't be used: there are none"):
            use()


def test_authorities_that_every_user_may_write_are_not_believed(pair: tuple[Path, Path], tmp_path: Path) -> None:
    cafile = tmp_path / "ca.crt"
    for mode, is_good in ((0o644, True), (0o646, False)):
        cafile.chmod(mode)
        for use in (lambda: client_context(cafile, verify=True), lambda: ServerTls(*pair, cafile).context):
            if is_good:
                assert isinstance(use(), ssl.SSLContext)
                continue
            with pytest.raises(UnusableAuthorities, match=f"every user may write `{cafile}`"):
                use()
