"""HTTPS as an operator runs it: versions, clients' certificates, and a certificate that is replaced while it serves."""

from __future__ import annotations

import signal
import socket
import ssl
from pathlib import Path

import httpx
import pytest
from ostiary_run import OPEN, environment, eventually, refusal, running, written

from tests.identity.services import Authority


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
    with httpx.Client(verify=context, trust_env=False) as client:
        answer = client.get(f"{address}/v1/health")
    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    return answer.status_code


def serial(port: int, context: ssl.SSLContext) -> str:
    """The serial number of the certificate that is shown now."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        shown = connection.getpeercert()
    assert shown is not None
    return str(shown["serialNumber"])


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
        assert server.has_said("the certificate or key can't be used")
        assert serial(server.port, context) == second
        assert "Traceback" not in server.banner


def test_a_bad_certificate_or_authority_stops_the_start_with_one_sentence(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    authority = Authority(tmp_path)
    (tmp_path / "empty.pem").touch()
    config = https(tmp_path, authority, f"  tls_cafile: {tmp_path}/empty.pem\n")
    assert "can't be used" in refusal(config, environ)
    config = https(tmp_path, authority)
    (tmp_path / "server.pem").write_text("no certificate")
    assert "certificate or key of the configuration can't be used" in refusal(config, environ)


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
        httpx.Client(verify=trusting(authority), trust_env=False) as client,
    ):
        assert server.address.startswith("https://")
        answer = client.get(f"https://127.0.0.1:{server.port}/v1/models", headers={"Origin": "http://localhost:3000"})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"
