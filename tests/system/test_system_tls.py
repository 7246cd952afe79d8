"""HTTPS as an operator runs it: versions, clients' certificates, and a certificate that is replaced while it serves."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import socket
import ssl
import subprocess
import termios
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from tests.support.identity_services import Authority, encrypt
from tests.support.ostiary_run import OPEN, command, environment, eventually, refusal, running, written
from tests.support.patience import PATIENCE, START
from tests.support.socket_client import Socket, offered


@pytest.fixture
def environ(tmp_path: Path, opa_binary: Path) -> dict[str, str]:
    return environment(tmp_path, opa_binary)


def https(folder: Path, authority: Authority, more: str = "") -> Path:
    """A configuration with a certificate of the authority."""
    authority.issue(folder / "server.pem")
    pair = f"  tls_certfile: {folder}/server.pem\n  tls_keyfile: {folder}/server.pem\n"
    return written(folder, OPEN + pair + more)


def trusting(authority: Authority, *, certificate: Path | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.certificate)
    if certificate is not None:
        context.load_cert_chain(certificate)
    return context


def health(address: str, context: ssl.SSLContext) -> int:
    with httpx.Client(verify=context, trust_env=False, timeout=PATIENCE) as client:
        answer = client.get(f"{address}/v1/health")
    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    return answer.status_code


def serial(port: int, context: ssl.SSLContext) -> str:
    """The serial number of the certificate that is shown now."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        shown = connection.getpeercert()
    assert shown is not None
    return str(shown["serialNumber"])


def test_a_websocket_is_opened_over_tls_and_ends_with_the_server(tmp_path: Path, environ: dict[str, str]) -> None:
    authority = Authority(tmp_path)
    with (
        running(https(tmp_path, authority), environ) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as plain,
        trusting(authority).wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        answer = offered(connection)
        assert answer.startswith(b"HTTP/1.1 101 "), answer
        opened = Socket(connection, bytearray(answer.partition(b"\r\n\r\n")[2]))
        text = "x" * 60_000
        events = opened.response(text, model="m", store=False)
        assert events[-1]["response"]["output"][0]["content"][0]["text"] == f"echo: {text}"
        server.signal(signal.SIGTERM)
        assert opened.closed() == 1012


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_c12_https_from_tls_1_2_on_and_nothing_in_plain(tmp_path: Path, environ: dict[str, str]) -> None:
    authority = Authority(tmp_path)
    with running(https(tmp_path, authority), environ) as server:
        address = f"https://127.0.0.1:{server.port}"
        assert health(address, trusting(authority)) == 200
        old = trusting(authority)
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.raises(httpx.ConnectError):
            health(address, old)
        with pytest.raises(httpx.HTTPError):
            health(f"http://127.0.0.1:{server.port}", trusting(authority))


def test_a_client_without_a_certificate_of_the_authorities_is_turned_away(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path / "other")
    authority.issue(tmp_path / "client.pem")
    other.issue(tmp_path / "stranger.pem")
    config = https(tmp_path, authority, f"  tls_cafile: {authority.certificate}\n")
    with running(config, environ) as server:
        address = f"https://127.0.0.1:{server.port}"
        assert health(address, trusting(authority, certificate=tmp_path / "client.pem")) == 200
        for stranger in (None, tmp_path / "stranger.pem"):
            with pytest.raises(httpx.HTTPError):
                health(address, trusting(authority, certificate=stranger))


@pytest.mark.parametrize("workers", [1, 2])
def test_after_sighup_the_new_certificate_is_shown_and_a_bad_one_changes_nothing(
    workers: int, tmp_path: Path, environ: dict[str, str]
) -> None:
    authority = Authority(tmp_path)
    config = https(tmp_path, authority)
    with running(config, environ, "--workers", str(workers)) as server:
        context = trusting(authority)
        first = serial(server.port, context)
        authority.issue(tmp_path / "server.pem")
        assert serial(server.port, context) == first
        server.signal(signal.SIGHUP)
        assert eventually(lambda: serial(server.port, context) != first)
        assert eventually(lambda: len({serial(server.port, context) for _ in range(6)} | {first}) == 2)
        second = serial(server.port, context)
        (tmp_path / "server.pem").write_text("no certificate")
        server.signal(signal.SIGHUP)
        reason = f"`{tmp_path}/server.pem` holds no certificate as PEM that can be used; the old certificate stays"
        assert server.has_said(reason)
        assert serial(server.port, context) == second
        assert "Traceback" not in server.banner


def test_a_bad_certificate_or_authority_stops_the_start_with_one_sentence(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    authority = Authority(tmp_path)
    (tmp_path / "empty.pem").touch()
    config = https(tmp_path, authority, f"  tls_cafile: {tmp_path}/empty.pem\n")
    for options in ((), ("--check",)):
        said = refusal(config, environ, *options)
        assert f"error: the CA certificates in `{tmp_path}/empty.pem` can't be used: there are none\n" in said
    config = https(tmp_path, authority)
    (tmp_path / "server.pem").write_text("no certificate")
    for options in ((), ("--check",)):
        said = refusal(config, environ, *options)
        assert f"error: `{tmp_path}/server.pem` holds no certificate as PEM that can be used\n" in said


def test_c12_half_a_pair_or_a_missing_file_stops_the_start(tmp_path: Path, environ: dict[str, str]) -> None:
    Authority(tmp_path).issue(tmp_path / "server.pem")
    for half, lacks in (("tls_certfile", "tls_keyfile"), ("tls_keyfile", "tls_certfile")):
        said = refusal(written(tmp_path, f"{OPEN}  {half}: {tmp_path}/server.pem\n"), environ)
        assert f"`{half}`" in said
        assert f"`{lacks}`" in said
    pair = f"  tls_certfile: {tmp_path}/server.pem\n  tls_keyfile: {tmp_path}/none.pem\n"
    assert f"{tmp_path}/none.pem" in refusal(written(tmp_path, OPEN + pair), environ)


def test_c12_the_printed_server_serves_pages_of_this_machine_over_https(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    authority = Authority(tmp_path)
    with (
        running(https(tmp_path, authority, "  cors: true # Optional: Enable CORS\n"), environ) as server,
        httpx.Client(verify=trusting(authority), trust_env=False, timeout=PATIENCE) as client,
    ):
        assert server.address.startswith("https://")
        answer = client.get(f"https://127.0.0.1:{server.port}/v1/models", headers={"Origin": "http://localhost:3000"})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"


def at_a_terminal(command: list[str], environ: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    """The command as a person calls it, who types nothing: with a terminal that a pass phrase could be asked at."""
    ours, theirs = pty.openpty()
    try:
        return subprocess.run(
            command,
            env=environ,
            stdin=theirs,
            capture_output=True,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            timeout=START,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize("options", [("--port", "0"), ("--check",)])
def test_no_pass_phrase_of_a_key_is_asked_for(
    options: tuple[str, ...], tmp_path: Path, environ: dict[str, str]
) -> None:
    config = https(tmp_path, Authority(tmp_path))
    encrypt(tmp_path / "server.pem")
    done = at_a_terminal(command(config, *options), environ)
    assert done.returncode == 2
    assert done.stderr.decode().splitlines()[-1] == (
        f"error: the key in `{tmp_path}/server.pem` is encrypted, and there is no place for its pass phrase; "
        "decrypt it with `openssl pkey`"
    )
    assert b"Traceback" not in done.stderr


def spoil(kind: str, place: Path, authority: Authority) -> None:
    """Make the pair bad in this way."""
    place.unlink(missing_ok=True)
    content = authority.issue(place).read_bytes()
    certificate = content.index(b"-----BEGIN CERT")
    match kind:
        case "is encrypted":
            encrypt(place)
        case "holds no private key as PEM":
            place.write_bytes(content[certificate:])
        case "is not that of the certificate":
            other = authority.issue(place).read_bytes()
            place.write_bytes(content[:certificate] + other[other.index(b"-----BEGIN CERT") :])
        case "can't be read":
            place.unlink()
        case "is not a regular file":
            place.unlink()
            os.mkfifo(place)


BAD = (
    "is encrypted",
    "holds no private key as PEM",
    "is not that of the certificate",
    "can't be read",
    "is not a regular file",
)


def test_a_running_server_outlives_every_bad_certificate_that_it_is_told_to_read(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    authority, place = Authority(tmp_path), tmp_path / "server.pem"
    with running(https(tmp_path, authority), environ) as server:
        context = trusting(authority)
        first = serial(server.port, context)
        for kind in BAD:
            spoil(kind, place, authority)
            server.signal(signal.SIGHUP)
            assert server.has_said(kind), server.banner
            (told,) = [line for line in server.said if kind in line]
            assert str(place) in told
            assert told.endswith("; the old certificate stays\n")
            assert serial(server.port, context) == first
        place.unlink()
        authority.issue(place)
        server.signal(signal.SIGHUP)
        assert eventually(lambda: serial(server.port, context) != first)
        assert "Traceback" not in server.banner


def test_an_expired_certificate_is_warned_of(tmp_path: Path, environ: dict[str, str]) -> None:
    config = https(tmp_path, Authority(tmp_path, ends=timedelta(minutes=-1)))
    done = subprocess.run(
        command(config, "--check"), env=environ, capture_output=True, text=True, timeout=START, check=False
    )
    assert done.returncode == 0
    assert f"warning: the certificate in `{tmp_path}/server.pem` has expired on " in done.stderr
    assert "can be served" in done.stdout
