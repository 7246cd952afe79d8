"""Providers that are reached over HTTP: the session, and the ways in which a request is sent."""

from __future__ import annotations

import asyncio
import io
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import aiohttp
from yarl import URL

from server.inference.provider import Kind, ProviderFailed
from server.inference.providers.connections import Connector, cut_on_failure
from server.inference.providers.refusals import broken
from server.inference.providers.relayed_stream import gone
from server.inference.providers.retries import RETRIES, retried
from server.inference.providers.spliced_body import SplicedBody
from server.net.log_filter import quieten_clients
from server.net.trace_context import outgoing_headers

CONNECT_SECONDS: Final = 10.0

SILENCE_SECONDS: Final = 300.0
"""Limit of the time in which a provider sends nothing, before its answer or in the middle of it."""

TOTAL_SECONDS: Final = 3600.0
"""Limit of the time of one answer, streamed or not."""

_IDLE_SECONDS: Final = 4.0  # uvicorn, and so vLLM, closes an idle connection after 5 seconds
_LARGE: Final = 1024 * 1024
_READ_AHEAD: Final = 64 * 1024
_HEADERS: Final = {"User-Agent": "ostiary", "Accept-Encoding": "identity"}
_JSON: Final = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the time that a provider may take, in seconds: to connect, between two bytes, and in all.

    Where no connection can be made, `retries` more are tried.
    """

    connect: float = CONNECT_SECONDS
    silence: float = SILENCE_SECONDS
    total: float = TOTAL_SECONDS
    retries: int = RETRIES


USUAL_LIMITS: Final = Limits()


class HttpProvider:
    """One provider, with a session and a TLS context of its own.

    The session follows no redirects, keeps no cookies and reads nothing from the environment: a request goes where the
    configuration says, or nowhere.
    """

    def __init__(self, provider_id: str, tls: ssl.SSLContext | None, limits: Limits) -> None:
        self._provider_id = provider_id
        self._tls = tls
        self._limits = limits
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Open the session; connections are made when they are needed."""
        quieten_clients()
        limits = self._limits
        self._session = aiohttp.ClientSession(
            connector=self._connector(),
            headers=_HEADERS,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=limits.connect, sock_read=limits.silence),
            read_bufsize=_READ_AHEAD,
            auto_decompress=False,
            trust_env=False,
        )

    def _connector(self) -> aiohttp.BaseConnector:
        return Connector(limit=0, keepalive_timeout=_IDLE_SECONDS, ssl=True if self._tls is None else self._tls)

    async def close(self) -> None:
        """Close the session and every connection."""
        if self._session is not None:
            await self._session.close()

    async def _posted(self, url: URL, body: bytes | SplicedBody, proof: Mapping[str, str]) -> aiohttp.ClientResponse:
        """Return the head of the answer; raises ProviderFailed. Where no connection can be made, others are tried."""
        headers = {**_JSON, **outgoing_headers(), **proof}
        return await retried(partial(self._sent_once, url, body, headers), self._limits.retries)

    async def _sent_once(
        self, url: URL, body: bytes | SplicedBody, headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        # aiohttp warns of large `bytes`, which it writes in one piece.
        data = io.BytesIO(body) if isinstance(body, bytes) and len(body) >= _LARGE else body
        session = self._open_session
        try:
            # aiohttp's own clock stands still while a provider does not read what it is sent.
            with cut_on_failure():
                async with asyncio.timeout(self._limits.silence):
                    return await session.post(url, data=data, headers=headers, allow_redirects=False)
        except (aiohttp.ClientError, TimeoutError, OSError) as fault:
            raise gone(self._provider_id, fault) from None

    @property
    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("a provider is used before it is started")
        return self._session

    def _late(self, total: asyncio.Timeout) -> ProviderFailed:
        if not total.expired():
            raise RuntimeError("a timeout that is none of this request")
        return broken(self._provider_id, "did not end its answer in time", kind=Kind.SILENT)
