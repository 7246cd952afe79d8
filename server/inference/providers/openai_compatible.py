"""Providers that serve OpenAI's API: OpenAI itself, vLLM, Ollama."""

from __future__ import annotations

import asyncio
import io
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

import aiohttp
from yarl import URL

from server.inference.answers.event_relay import EventRelay
from server.inference.answers.model_name import QUICK, SMALL, ModelNaming, NotAnAnswer
from server.inference.provider import ChatRequest, ChatStream, HealthStatus, Pieces, ProviderFailed, ProviderHealth
from server.inference.providers.connections import Connector, cut, cut_on_failure
from server.inference.providers.refusals import broken, provider_refusal
from server.net.log_filter import quieten_clients
from server.net.trace_context import outgoing_headers

CONNECT_SECONDS: Final = 10.0

SILENCE_SECONDS: Final = 300.0
"""Limit of the time in which a provider sends nothing, before its answer or in the middle of it."""

MAX_ANSWER: Final = 32 * 1024 * 1024
"""Bytes of an answer that is not streamed."""

HEALTH_SECONDS: Final = 1.0
"""Limit of the age of a finding about a provider's health."""

_HEALTH_TIMEOUT: Final = aiohttp.ClientTimeout(total=2.0)
_MAX_REFUSAL: Final = 64 * 1024
_DRAIN_SECONDS: Final = 0.5
_IDLE_SECONDS: Final = 4.0  # uvicorn, and so vLLM, closes an idle connection after 5 seconds
_LARGE: Final = 1024 * 1024
_READ_AHEAD: Final = 64 * 1024
_JSON: Final = {"Content-Type": "application/json"}

_log: Final = logging.getLogger("ostiary.inference")


class OpenAICompatible:
    """One provider under `base_url` (`https://api.openai.com/v1`), with a session and a TLS context of its own.

    The session follows no redirects, keeps no cookies and reads nothing from the environment: a request goes where the
    configuration says, or nowhere.
    """

    def __init__(
        self,
        provider_id: str,
        base_url: str,
        api_key: str | None,
        tls: ssl.SSLContext | None = None,
        *,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        self._provider_id = provider_id
        self._chat_url = URL(f"{base_url.rstrip('/')}/chat/completions")
        self._models_url = URL(f"{base_url.rstrip('/')}/models")
        self._headers = {"User-Agent": "ostiary", "Accept-Encoding": "identity"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._tls = tls
        self._silence = silence_seconds
        self._session: aiohttp.ClientSession | None = None
        self._health = ProviderHealth(HealthStatus.ERROR, "it has not been asked yet")
        self._health_until = 0.0
        self._health_lock = asyncio.Lock()

    async def start(self) -> None:
        """Open the session; connections are made when they are needed."""
        quieten_clients()
        connector = Connector(limit=0, keepalive_timeout=_IDLE_SECONDS, ssl=True if self._tls is None else self._tls)
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=self._silence),
            read_bufsize=_READ_AHEAD,
            auto_decompress=False,
            trust_env=False,
        )

    async def close(self) -> None:
        """Close the session and every connection."""
        if self._session is not None:
            await self._session.close()

    async def complete(self, request: ChatRequest) -> Pieces:
        """Return the provider's answer, with the canonical model name in it."""
        response = await self._post(request)
        try:
            parts = await self._read(response, MAX_ANSWER)
        finally:
            cut(response)
        try:
            if len(parts) == 1 and len(parts[0]) <= QUICK:
                return _renamed(parts, request)
            return await asyncio.to_thread(_renamed, parts, request)
        except NotAnAnswer:
            raise broken(self._provider_id, "answered with something other than a chat completion") from None

    async def stream(self, request: ChatRequest) -> ChatStream:
        """Return the provider's events, once it has accepted the request."""
        response = await self._post(request)
        if response.content_type != "text/event-stream":
            cut(response)
            raise broken(self._provider_id, "answered with something other than a stream")
        return _Relayed(response, EventRelay(request.model_id, request.answer_id), self._provider_id)

    async def health(self) -> ProviderHealth:
        """Return the provider's answer to the last request for its models, which is sent at most every second."""
        async with self._health_lock:
            loop = asyncio.get_running_loop()
            if loop.time() >= self._health_until:
                self._health = await self._ask_health()
                self._health_until = loop.time() + HEALTH_SECONDS
        return self._health

    async def _post(self, request: ChatRequest) -> aiohttp.ClientResponse:
        """Return the provider's accepting answer, with its body not yet read."""
        # aiohttp warns of large `bytes`, which it writes in one piece.
        data = request.payload if len(request.payload) < _LARGE else io.BytesIO(request.payload)
        session, headers = self._open_session, _JSON | outgoing_headers()
        try:
            # aiohttp's own clock stands still while a provider does not read what it is sent.
            with cut_on_failure():
                async with asyncio.timeout(self._silence):
                    response = await session.post(self._chat_url, data=data, headers=headers, allow_redirects=False)
        except (aiohttp.ClientError, TimeoutError, OSError) as fault:
            raise self._gone(fault) from None
        if response.status == 200:
            return response
        try:
            said = await self._read(response, _MAX_REFUSAL)
        finally:
            cut(response)
        _log.warning("provider %s answered a chat completion with status %d", self._provider_id, response.status)
        raise provider_refusal(self._provider_id, response.status, response.headers, b"".join(said))

    async def _read(self, response: aiohttp.ClientResponse, limit: int) -> list[bytes]:
        """Return the body in parts, of which only the last may be small, since many small ones take more memory."""
        parts, held, size = list[bytes](), bytearray(), 0
        try:
            async for data in response.content.iter_any():
                held += data
                size += len(data)
                if size > limit:
                    raise broken(self._provider_id, f"answered with more than {limit} bytes")
                if len(held) > SMALL:
                    parts.append(bytes(held))
                    held.clear()
        except (aiohttp.ClientError, TimeoutError, OSError) as fault:
            raise self._gone(fault) from None
        return [*parts, bytes(held)]

    async def _ask_health(self) -> ProviderHealth:
        try:
            async with self._open_session.get(
                self._models_url, allow_redirects=False, timeout=_HEALTH_TIMEOUT
            ) as response:
                if response.status == 200:
                    return ProviderHealth(HealthStatus.OK)
                return ProviderHealth(HealthStatus.ERROR, f"it answers with status {response.status}")
        except (aiohttp.ClientError, TimeoutError, OSError):
            return ProviderHealth(HealthStatus.ERROR, "it can't be reached")

    @property
    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("a provider is used before it is started")
        return self._session

    def _gone(self, fault: Exception) -> ProviderFailed:
        return gone(self._provider_id, fault)


class _Relayed:
    """A stream whose provider has accepted the request."""

    def __init__(self, response: aiohttp.ClientResponse, relay: EventRelay, provider_id: str) -> None:
        self._response = response
        self._relay = relay
        self._provider_id = provider_id

    async def __aiter__(self) -> AsyncIterator[bytes]:
        relay, content = self._relay, self._response.content
        try:
            while data := await content.read(_READ_AHEAD):
                relay.take(data)
                more = True
                while more:
                    piece = await asyncio.to_thread(relay.pass_on) if relay.is_heavy else relay.pass_on()
                    if piece:
                        yield piece
                    if relay.done:
                        return
                    if relay.broken:
                        raise broken(self._provider_id, "sent something other than a chat completion")
                    more = relay.has_more
                    if more:
                        await asyncio.sleep(0)  # let other tasks run
        except (aiohttp.ClientError, TimeoutError, OSError) as fault:
            raise gone(self._provider_id, fault) from None
        last = relay.finish()
        if not last:
            raise broken(self._provider_id, "ended its answer in the middle")
        yield last

    async def aclose(self) -> None:
        """Close the connection, unless the answer is read to its end, or comes to it within a moment."""
        try:
            if self._relay.done:
                await self._read_end()
        finally:
            cut(self._response)

    async def _read_end(self) -> None:
        """Read the end of the body, so that the connection can be used again."""
        content = self._response.content
        if content.at_eof():
            return
        with suppress(aiohttp.ClientError, TimeoutError, OSError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                while await content.readany():
                    pass


def _renamed(parts: list[bytes], request: ChatRequest) -> Pieces:
    return ModelNaming(request.model_id, request.answer_id).apply(b"".join(parts))


def gone(provider_id: str, fault: Exception) -> ProviderFailed:
    """Return the failure for a broken or silent connection; its kind goes to the log alone."""
    _log.warning("provider %s failed: %s", provider_id, type(fault).__name__)
    did = "did not answer in time" if isinstance(fault, TimeoutError) else "could not be reached"
    return broken(provider_id, did, spent=not isinstance(fault, aiohttp.ClientConnectorError))
