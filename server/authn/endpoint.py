"""Where an issuer's keys lie: a file, or an HTTPS endpoint; read whole, within limits, or not at all."""

from __future__ import annotations

import asyncio
import os
import re
import ssl
import stat
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

import httpx

MAX_BYTES: Final = 256 * 1024
TIMEOUT_SECONDS: Final = 5.0

_HEADER_VALUE: Final = re.compile(r"[\x21-\x7e]+")


class EndpointFailed(Exception):
    """The content can't be had now; the message is for the operator's log and holds no secret."""


class Endpoint(Protocol):
    """Something that yields a small document; `address` names it in logs, without query or credentials."""

    @property
    def address(self) -> str: ...

    async def read(self) -> bytes:
        """The content, at most 256 KB, within 5 seconds; raises `EndpointFailed` and nothing else."""
        ...


def open_endpoint(uri: str, *, token: str | None, tls_cafile: Path | None, verify_tls: bool) -> Endpoint:
    """The endpoint at `uri`: `file:///…`, `https://…`, or `http://…` on a loopback address.

    `token` is sent as a bearer token, to this endpoint alone. Nothing is fetched yet; the TLS context is made here,
    once. Raises ValueError, with a sentence for whoever wrote the configuration, for a URI or file that can't work.
    """
    try:
        parts = urlsplit(uri)
        has_credentials = parts.username is not None or parts.password is not None
        httpx.URL(uri)
    except (ValueError, httpx.InvalidURL):
        raise ValueError(f"`jwks.uri` `{uri}` is not a URI") from None
    if has_credentials:
        raise ValueError("`jwks.uri` holds a user name or a password; put a bearer token into `jwks.token` instead")
    if token is not None and not _HEADER_VALUE.fullmatch(token):
        raise ValueError("`jwks.token` is empty or holds characters that a header can't carry, such as a line break")
    if parts.scheme == "file":
        return _FileEndpoint(_local_path(uri, parts))
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"`jwks.uri` `{uri}` starts with none of `https://`, `http://`, `file:///`")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise ValueError(f"`jwks.uri` `{uri}` is not encrypted; use `https://` for a host other than this one")
    return _HttpEndpoint(uri, parts, token, _tls_context(tls_cafile, verify_tls))


class _FileEndpoint:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.address = path.as_uri()

    async def read(self) -> bytes:
        try:
            return await asyncio.to_thread(self._read)
        except OSError as error:
            raise EndpointFailed(error.strerror or "it can't be read") from None

    def _read(self) -> bytes:
        with open(os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123 - Path.open would wait for a writer if this were a pipe
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise EndpointFailed("it is not a regular file")
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise EndpointFailed(f"it has more than {MAX_BYTES} bytes")
        return content


class _HttpEndpoint:
    def __init__(self, uri: str, parts: SplitResult, token: str | None, context: ssl.SSLContext) -> None:
        self._uri = uri
        self._headers = {"accept": "application/json, application/jwk-set+json", "accept-encoding": "identity"}
        if token is not None:
            self._headers["authorization"] = f"Bearer {token}"
        self._context = context
        self.address = f"{parts.scheme}://{parts.netloc}{parts.path}"

    async def read(self) -> bytes:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                return await self._exchange()
        except EndpointFailed:
            raise
        except TimeoutError:
            reason = f"no whole answer came within {TIMEOUT_SECONDS} seconds"
        except httpx.ConnectError as error:
            reason = f"the connection failed: {error}"
        except Exception as error:  # noqa: BLE001 - a broken peer shows itself in many kinds; their texts may quote headers
            reason = f"the exchange broke off ({type(error).__name__})"
        raise EndpointFailed(reason)

    async def _exchange(self) -> bytes:
        # A client per reading: they are an hour apart. The environment's proxies and passwords stay out of it.
        async with (
            httpx.AsyncClient(verify=self._context, trust_env=False, follow_redirects=False, timeout=None) as client,  # noqa: S113 - `read` limits the whole exchange
            client.stream("GET", self._uri, headers=self._headers) as answer,
        ):
            if answer.status_code != httpx.codes.OK:
                raise EndpointFailed(f"the answer's status was {answer.status_code}")
            if answer.headers.get("content-encoding", "identity") != "identity":
                raise EndpointFailed("the answer was compressed, though that wasn't asked for")
            content = bytearray()
            async for chunk in answer.aiter_raw():
                content += chunk
                if len(content) > MAX_BYTES:
                    raise EndpointFailed(f"the answer had more than {MAX_BYTES} bytes")
            return bytes(content)


def _local_path(uri: str, parts: SplitResult) -> Path:
    path = Path(unquote(parts.path))
    if parts.netloc not in ("", "localhost") or not path.is_absolute() or "\0" in str(path):
        raise ValueError(f"`jwks.uri` `{uri}` has no absolute path; write `file:///` and the path from the root")
    return path


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _tls_context(tls_cafile: Path | None, verify_tls: bool) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls_cafile)
    except OSError as error:
        raise ValueError(f"`tls_cafile` `{tls_cafile}` can't be used as CA certificates: {error.strerror}") from None
    if not verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
