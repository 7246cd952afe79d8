"""Where keys may be read from, and what is given up on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import ssl
import time
import traceback
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from server.authn.key_source import MAX_BYTES, KeyEndpoint, UnusableEndpoint, open_endpoint
from server.net import http_client
from server.net.http_client import ServiceFailed
from server.process.startup import start_failure
from tests.support.identity_services import private_ca
from tests.support.token_issuers import KeyServer, answer, key_server

SECRET = "jwks-bearer-secret"


def endpoint(
    uri: str, token: str | None = None, tls_cafile: Path | None = None, verify_tls: bool = True
) -> KeyEndpoint:
    return open_endpoint(uri, token=token, tls_cafile=tls_cafile, verify_tls=verify_tls)


def read(uri: str, token: str | None = None, tls_cafile: Path | None = None, verify_tls: bool = True) -> bytes:
    return asyncio.run(endpoint(uri, token, tls_cafile, verify_tls).read())


def test_the_content_arrives_as_it_is_and_nothing_is_sent_but_the_request(server: KeyServer) -> None:
    server.content = b"x" * MAX_BYTES
    assert read(server.url + "?a=b") == server.content
    (request,) = server.requests
    assert request[":path"] == "/jwks?a=b"
    assert request["accept-encoding"] == "identity"
    assert {"authorization", "cookie"}.isdisjoint(request)


def test_the_token_is_sent_as_a_bearer_token(server: KeyServer) -> None:
    read(server.url, SECRET)
    assert server.requests[0]["authorization"] == f"Bearer {SECRET}"


def test_proxies_and_passwords_of_the_environment_are_not_used(
    server: KeyServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    server.content = b"content"
    assert read(server.url) == b"content"
    assert "authorization" not in server.requests[0]


def redirect_with(status: int) -> Callable[[BaseHTTPRequestHandler], None]:
    """A redirect to a target that is alive and answers well, so that a client that follows it is noticed."""

    def redirect(handler: BaseHTTPRequestHandler) -> None:
        if handler.path == "/elsewhere":
            answer(handler, 200, b"content")
        else:
            answer(handler, status, b"{}", Location="/elsewhere")

    return redirect


def one_byte_too_many(handler: BaseHTTPRequestHandler) -> None:
    answer(handler, 200, b"x" * (MAX_BYTES + 1))


def gigabytes(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:  # ends when the client hangs up
        handler.wfile.write(b"x" * 65_536)


def compressed(handler: BaseHTTPRequestHandler) -> None:
    answer(handler, 200, b"\x1f\x8b", Content_Encoding="gzip")


def broken_off(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"{")
    handler.close_connection = True


def no_http(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"\x00\x01\x02 nonsense\r\n\r\n")
    handler.close_connection = True


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        *((redirect_with(status), f"status was {status}") for status in (301, 302, 303, 307, 308)),
        (lambda handler: answer(handler, 500, b"{}"), "status was 500"),
        (lambda handler: answer(handler, 204, b""), "status was 204"),
        (lambda handler: answer(handler, 401, b"{}"), "status was 401"),
        (one_byte_too_many, "more than 262144 bytes"),
        (gigabytes, "more than 262144 bytes"),
        (compressed, "compressed"),
        (broken_off, "broke off"),
        (no_http, "broke off"),
    ],
)
def test_any_answer_but_a_small_plain_200_fails(server: KeyServer, behaviour: object, reason: str) -> None:
    server.behaviour = behaviour
    with pytest.raises(ServiceFailed, match=reason) as failure:
        read(server.url, SECRET)
    assert len(server.requests) == 1
    assert SECRET not in "".join(traceback.format_exception(failure.value))


def test_a_slow_or_dripping_answer_is_given_up_after_the_whole_time(
    server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not server.released.wait(0.02):
            handler.wfile.write(b" ")

    monkeypatch.setattr(http_client, "TIMEOUT_SECONDS", 0.2)
    for behaviour in (server.publish_when_released, drip):
        server.behaviour = behaviour
        started = time.monotonic()
        with pytest.raises(ServiceFailed, match=r"within 0.2 seconds"):
            read(server.url)
        assert time.monotonic() - started < 4


def test_a_closed_port_fails(server: KeyServer) -> None:
    with key_server() as gone:
        url = gone.url
    with pytest.raises(ServiceFailed, match="connection failed"):
        read(url)


def test_a_private_ca_is_trusted_when_named_and_refused_otherwise(tmp_path: Path) -> None:
    ca_file, context = private_ca(tmp_path)
    with key_server(context) as server:
        server.content = b"content"
        with pytest.raises(ServiceFailed, match="CERTIFICATE_VERIFY_FAILED"):
            read(server.url, SECRET)
        with pytest.raises(ServiceFailed, match=r"[Hh]ostname mismatch"):
            read(server.url.replace("127.0.0.1", "localhost"), SECRET, tls_cafile=ca_file)
        assert server.requests == []
        assert read(server.url, SECRET, tls_cafile=ca_file) == b"content"
        assert read(server.url.replace("127.0.0.1", "localhost"), verify_tls=False) == b"content"


def test_one_tls_context_is_made_per_endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ca_file, context = private_ca(tmp_path)
    made: list[ssl.SSLContext] = []
    initialise = ssl.SSLContext.__new__

    def counting(cls: type[ssl.SSLContext], *arguments: object, **options: object) -> ssl.SSLContext:
        made.append(initialise(cls, *arguments, **options))
        return made[-1]

    async def read_thrice(keys: KeyEndpoint) -> None:
        for _ in range(3):
            await keys.read()

    with key_server(context) as server:
        monkeypatch.setattr(ssl.SSLContext, "__new__", counting)
        asyncio.run(read_thrice(endpoint(server.url, tls_cafile=ca_file)))
        assert len(made) == 1
        assert len(server.requests) == 3


@pytest.mark.parametrize("host", ["", "localhost"])
def test_a_file_is_read_whatever_its_name(host: str, tmp_path: Path) -> None:
    path = tmp_path / "a b%41ü.json"
    path.write_bytes(b"content")
    assert read(f"file://{host}" + path.as_uri().removeprefix("file://")) == b"content"


def test_a_file_that_is_none_or_too_large_fails(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * (MAX_BYTES + 1))
    os.mkfifo(tmp_path / "pipe")
    for name, reason in (
        ("missing", "No such file"),
        ("large", "more than"),
        ("pipe", "regular file"),
        (".", "regular file|directory"),
    ):
        with pytest.raises(ServiceFailed, match=reason):
            read(f"file://{tmp_path}/{name}")


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("", "starts with none"),
        ("keys.json", "starts with none"),
        ("/etc/keys.json", "starts with none"),
        ("ftp://host/keys", "starts with none"),
        ("data:application/json,{}", "starts with none"),
        ("https:///keys", "starts with none"),
        ("https://[::1/keys", "is not a URI"),
        ("https://host:port/keys", "is not a URI"),
        ("https://host/\x00", "is not a URI"),
        ("http://issuer.example/keys", "not encrypted"),
        ("http://127.0.0.1.example/keys", "not encrypted"),
        ("http://10.0.0.1/keys", "not encrypted"),
        ("file://host/keys", "no absolute path"),
        ("file:keys.json", "no absolute path"),
        ("file:///keys%00", "no absolute path"),
    ],
)
def test_a_uri_that_can_not_work_is_refused_at_once(uri: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        endpoint(uri)


@pytest.mark.parametrize("uri", ["http://127.0.0.1/k", "http://127.9.9.9:1/k", "http://[::1]/k", "http://localhost/k"])
def test_plain_http_is_for_this_host_alone(uri: str) -> None:
    assert endpoint(uri + "?secret=1").address == uri


def test_secrets_in_the_settings_are_refused_without_being_quoted() -> None:
    for uri, token in (
        (f"https://me:{SECRET}@host/k", None),
        ("https://host/k", f"{SECRET}\n"),
        ("https://host/k", ""),
    ):
        with pytest.raises(ValueError, match="jwks") as refusal:
            endpoint(uri, token)
        assert SECRET not in str(refusal.value)


@pytest.mark.parametrize("behaviour", [None, redirect_with(302), broken_off, no_http, one_byte_too_many])
def test_no_line_of_any_logger_at_any_level_has_the_query_of_the_address(
    behaviour: Callable[[BaseHTTPRequestHandler], None] | None, server: KeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.behaviour = behaviour or server.publish
    with caplog.at_level(logging.DEBUG), contextlib.suppress(ServiceFailed):
        read(f"{server.url}?subscription-key={SECRET}")
    assert server.requests[0][":path"] == f"/jwks?subscription-key={SECRET}"
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    "uri",
    [
        f"https://[::1/keys?{SECRET}",
        f"https://host/{'x' * 70_000}?{SECRET}",
        f"https://me:{SECRET}@[::1/keys",
        f"ftp://host/keys?{SECRET}",
        f"http://elsewhere/keys?k={SECRET}#{SECRET}",
        f"file://host/keys?{SECRET}",
    ],
)
def test_the_sentence_about_an_address_has_no_query_and_no_password_and_is_told_at_the_start(uri: str) -> None:
    with pytest.raises(UnusableEndpoint) as refusal:
        endpoint(uri)
    told = start_failure(refusal.value)
    assert told is not None
    assert SECRET not in told
    assert len(told) < 300


def test_an_unusable_ca_file_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "empty.crt").touch()
    for name in ("missing.crt", "empty.crt"):
        with pytest.raises(ValueError, match=f"the CA certificates in `.*{name}`"):
            endpoint("https://host/k", tls_cafile=tmp_path / name)
