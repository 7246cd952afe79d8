"""Access to an issuer's keys, in a file or at an HTTPS endpoint, read completely and within limits."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Collection
from pathlib import Path
from typing import Protocol
from urllib.parse import SplitResult, unquote, urlsplit

import httpx

from policy.source.diagnostics import quoted
from server.local_files.reading import UnreadableFile, read_small
from server.local_files.secrets import HEADER_TEXT, UnusableSecret, read_secret
from server.local_files.trust import why_changeable
from server.net.http_client import MAX_BYTES, ServiceClient, ServiceFailed
from server.net.log_filter import without_secrets
from server.net.plain_http import is_allowed
from server.net.tls import client_context


class UnusableEndpoint(ValueError):
    """Raised for an address of keys that can't work; the message says why, and quotes no part that may be secret."""


class KeyEndpoint(Protocol):
    """The source of a small document; `address` names it in logs, without query or credentials."""

    @property
    def address(self) -> str:
        """The address in logs, without query or credentials."""
        ...

    async def read(self) -> bytes:
        """Return the content, at most 256 KB, within 5 seconds; raise only `ServiceFailed`."""
        ...


def open_endpoint(
    uri: str,
    *,
    token: str | None,
    tls_cafile: Path | None,
    verify_tls: bool,
    token_file: Path | None = None,
    allow_http: Collection[str] = (),
) -> KeyEndpoint:
    """Return the endpoint at `uri`: `file:///…`, `https://…`, or `http://…` on a loopback address or a host in
    `allow_http`.

    `token`, or the content of `token_file` at each reading, is sent as a bearer token, to this endpoint only. Nothing
    is fetched yet; the TLS context is made here, once. Raises UnusableEndpoint for a URI that can't work, and
    UnusableAuthorities for a bad `tls_cafile`.
    """
    parts = checked_address(uri, token, allow_http)
    if parts.scheme == "file":
        return _FileEndpoint(_path_of(parts))
    return _HttpEndpoint(uri, parts, token_file or token, client_context(tls_cafile, verify=verify_tls))


def checked_address(uri: str, token: str | None, allow_http: Collection[str]) -> SplitResult:
    """Return the parts of `uri`; raise UnusableEndpoint where it, or `token`, can't work."""
    shown = quoted(without_secrets(uri))
    try:
        parts = urlsplit(uri)
        has_credentials = parts.username is not None or parts.password is not None
        httpx.URL(uri)
    except (ValueError, httpx.InvalidURL):
        raise UnusableEndpoint(f"`jwks.uri` {shown} is not a URI") from None
    if has_credentials:
        raise UnusableEndpoint(
            "`jwks.uri` holds a user name or a password; put a bearer token into `jwks.token` instead"
        )
    if token is not None and not HEADER_TEXT.fullmatch(token):
        raise UnusableEndpoint(
            "`jwks.token` is empty or holds characters that a header can't carry, such as a line break"
        )
    if parts.scheme == "file":
        path = _path_of(parts)
        if parts.netloc not in ("", "localhost") or not path.is_absolute() or "\0" in str(path):
            sentence = f"`jwks.uri` {shown} has no absolute path; write `file:///` and the path from the root"
            raise UnusableEndpoint(sentence)
        return parts
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UnusableEndpoint(f"`jwks.uri` {shown} starts with none of `https://`, `http://`, `file:///`")
    if not is_allowed(uri, allow_http):
        raise UnusableEndpoint(f"`jwks.uri` {shown} is not encrypted; use `https://` for a host other than this one")
    return parts


class _FileEndpoint:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.address = path.as_uri()

    async def read(self) -> bytes:
        try:
            return await asyncio.to_thread(self._read)
        except UnreadableFile as unreadable:
            raise ServiceFailed(f"the file {unreadable}") from None

    def _read(self) -> bytes:
        reason = why_changeable(self._path)
        if reason is not None:
            raise ServiceFailed(f"it is not safe to believe: {reason}")
        return read_small(self._path, MAX_BYTES)


class _HttpEndpoint:
    """An endpoint over HTTP; `token` is the bearer token, or the file that holds it."""

    def __init__(self, uri: str, parts: SplitResult, token: str | Path | None, context: ssl.SSLContext) -> None:
        self._uri = uri
        self._token = token
        self._context = context
        self.address = f"{parts.scheme}://{parts.netloc}{parts.path}"

    async def read(self) -> bytes:
        headers = {"accept": "application/json, application/jwk-set+json"}
        token = await self._current_token()
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        # New connections for each reading, since readings are an hour apart.
        exchange = ServiceClient(self._context)
        try:
            reply = await exchange.send("GET", self._uri, headers)
        finally:
            await exchange.close()
        if reply.status != httpx.codes.OK:
            raise ServiceFailed(f"the answer's status was {reply.status}")
        return reply.content

    async def _current_token(self) -> str | None:
        if not isinstance(self._token, Path):
            return self._token
        try:
            # Read each time: a renewed token is written to the same file.
            return await asyncio.to_thread(read_secret, self._token, for_header=True)
        except UnusableSecret as unusable:
            raise ServiceFailed(f"its `token_file` `{self._token}` {unusable}") from None


def _path_of(parts: SplitResult) -> Path:
    return Path(unquote(parts.path))
