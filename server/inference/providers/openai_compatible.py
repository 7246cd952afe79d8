"""Providers that serve OpenAI's API in some dialect: OpenAI itself, vLLM, Ollama and many others."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import aiohttp
from yarl import URL

from server.fairness.shares import Turn
from server.fairness.threads import in_thread
from server.inference.answers.event_relay import EventRelay
from server.inference.answers.model_name import QUICK, SMALL
from server.inference.answers.plain import NotAnAnswer, ToldError, names_in
from server.inference.answers.text_shapes import shape_of
from server.inference.answers.whole import shaped_answer, streamed_answer
from server.inference.attachments import Attachments, Spliced
from server.inference.provider import (
    HEALTH_SECONDS,
    ChatRequest,
    ChatStream,
    HealthStatus,
    Pieces,
    ProviderFailed,
    ProviderHealth,
    Task,
)
from server.inference.providers.connections import cut
from server.inference.providers.credentials import Credentials, KeyInHeader
from server.inference.providers.dialects import OPENAI, Dialect
from server.inference.providers.http_provider import USUAL_LIMITS, HttpProvider, Limits
from server.inference.providers.keys import FixedKey
from server.inference.providers.refusals import (
    ProviderError,
    broken,
    not_served,
    refusal_in_answer,
    refusal_of,
    told_by,
)
from server.inference.providers.relayed_stream import RelayedStream, WholeStream, gone
from server.inference.providers.response_body import BrokenCoding, ResponseBody, UnknownCoding
from server.inference.providers.spliced_body import SplicedBody
from server.inference.providers.vector_answers import VectorRoom

MAX_ANSWER: Final = 32 * 1024 * 1024
"""Bytes of an answer that is not streamed."""

_HEALTH_TIMEOUT: Final = aiohttp.ClientTimeout(total=2.0)
_LIST_TIMEOUT: Final = aiohttp.ClientTimeout(total=10.0)
_MAX_LIST: Final = 4 * 1024 * 1024
_MAX_REFUSAL: Final = 64 * 1024
_NAMES: Final = {Task.CHAT: "chat completion", Task.TEXT: "completion"}
_NOT_SERVED: Final = frozenset({404, 405, 501})
_SUCCESS: Final = frozenset({200, 201, 202, 203})
_BLANKS: Final = b"\xef\xbb\xbf \t\r\n"
_EVENT_FIELDS: Final = (b"data:", b"event:", b"id:", b"retry:", b":")
_LONGEST_FIELD: Final = 6


PATHS: Final = {Task.CHAT: "chat/completions", Task.TEXT: "completions", Task.EMBEDDING: "embeddings"}
"""The paths of the tasks behind the base URL."""


class OpenAICompatible(HttpProvider):
    """One provider under `base_url` (`https://api.openai.com/v1`).

    `query` is sent with each request. `credentials` take the place of `api_key`.
    """

    def __init__(
        self,
        provider_id: str,
        base_url: str,
        api_key: str | None,
        tls: ssl.SSLContext | None = None,
        *,
        dialect: Dialect = OPENAI,
        limits: Limits = USUAL_LIMITS,
        query: Mapping[str, str] | None = None,
        room: VectorRoom | None = None,
        credentials: Credentials | None = None,
    ) -> None:
        super().__init__(provider_id, tls, limits)
        self._urls = {task: URL(f"{base_url.rstrip('/')}/{path}").with_query(query) for task, path in PATHS.items()}
        self._models_url = URL(f"{base_url.rstrip('/')}/models").with_query(query)
        self._credentials = credentials or KeyInHeader(dialect, FixedKey(api_key) if api_key else None)
        self._lists_models = dialect.lists_models
        self._dropped = dialect.dropped
        self._room = VectorRoom() if room is None else room
        self._tells_usage = True
        self._health = ProviderHealth(HealthStatus.ERROR, "it has not been asked yet")
        self._health_until = 0.0
        self._health_lock = asyncio.Lock()

    async def complete(self, request: ChatRequest) -> Pieces:
        """Return the provider's answer, with the canonical model name in it."""
        try:
            async with asyncio.timeout(self._limits.total) as total:
                response = await self._post(request)
                try:
                    if request.task is Task.EMBEDDING:
                        return await self._vectors(request, response)
                    text = b"".join(await self._read(response, MAX_ANSWER))
                finally:
                    cut(response)
        except TimeoutError:
            raise self._late(total) from None
        shape = shape_of(request, self._dropped)
        try:
            if len(text) <= QUICK:
                return shaped_answer(text, request.model_id, request.answer_id, shape)
            return await in_thread(shaped_answer, text, request.model_id, request.answer_id, shape)
        except ToldError as told:
            raise refusal_in_answer(self._provider_id, told.document, begun=False) from None
        except NotAnAnswer as wrong:
            did = str(wrong) or f"answered with something other than a {_NAMES[request.task]}"
            raise broken(self._provider_id, did) from None

    async def stream(self, request: ChatRequest) -> ChatStream:
        """Return the provider's events, once it has accepted the request and the first event says the same."""
        until = asyncio.get_running_loop().time() + self._limits.total
        try:
            async with asyncio.timeout_at(until) as total:
                response = await self._post(request)
        except TimeoutError:
            raise self._late(total) from None
        try:
            body = self._body(response)
            first, is_stream = await self._begin(response, body)
            if not is_stream:
                return await self._told_at_once(request, response, body, first)
            relay = EventRelay(request.model_id, request.answer_id, shape_of(request, self._dropped))
            stream = RelayedStream(response, body, relay, self._provider_id, until)
            await stream.begin(first)
        except BaseException:
            cut(response)
            raise
        return stream

    async def _vectors(self, request: ChatRequest, response: aiohttp.ClientResponse) -> Pieces:
        try:
            body = self._body(response)
            return await self._room.answer(self._provider_id, request, body.read, body.length)
        except (aiohttp.ClientError, OSError, BrokenCoding) as fault:
            raise gone(self._provider_id, fault) from None

    async def health(self) -> ProviderHealth:
        """Return the provider's answer to the last request for its models, which is sent at most every second."""
        async with self._health_lock:
            loop = asyncio.get_running_loop()
            if loop.time() >= self._health_until:
                self._health = await self._ask_health()
                self._health_until = loop.time() + HEALTH_SECONDS
        return self._health

    async def models(self) -> list[str]:
        """Return the names of the models that the provider lists; raises ProviderFailed."""
        proof = await self._credentials.headers(str(self._models_url), b"")
        try:
            async with self._open_session.get(
                self._models_url, timeout=_LIST_TIMEOUT, headers=proof, allow_redirects=False
            ) as response:
                text = b"".join(await self._read(response, _MAX_LIST))
        except (aiohttp.ClientError, TimeoutError, OSError) as fault:
            raise gone(self._provider_id, fault) from None
        if response.status not in _SUCCESS:
            raise refusal_of(self._provider_id, response.status, response.headers, told_by(text))
        try:
            return names_in(text) if len(text) <= QUICK else await in_thread(names_in, text)
        except NotAnAnswer:
            raise broken(self._provider_id, "answered with something other than a list of models") from None

    async def _begin(self, response: aiohttp.ClientResponse, body: ResponseBody) -> tuple[bytes, bool]:
        """Return the first bytes that had to be read, and whether they begin a stream of events.

        An answer without a type, or as plain text, is known by its beginning; a page of a proxy is neither.
        """
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind == "text/event-stream":
            return b"", True
        if kind.endswith("html"):
            raise broken(self._provider_id, "answered with something other than a stream")
        first = b""
        try:
            while len(first.strip(_BLANKS)) < _LONGEST_FIELD:
                more = await body.read()
                if not more:
                    break
                first += more
        except (aiohttp.ClientError, TimeoutError, OSError, BrokenCoding) as fault:
            raise gone(self._provider_id, fault) from None
        return first, first.lstrip(_BLANKS).startswith(_EVENT_FIELDS)

    async def _told_at_once(
        self, request: ChatRequest, response: aiohttp.ClientResponse, body: ResponseBody, first: bytes
    ) -> ChatStream:
        """Return the stream for an answer that came in one piece all the same."""
        try:
            parts = await self._rest(body, MAX_ANSWER, first)
        finally:
            cut(response)
        try:
            events = await in_thread(
                streamed_answer,
                b"".join(parts),
                request.model_id,
                request.answer_id,
                shape_of(request, self._dropped),
                with_usage=request.with_usage,
            )
        except ToldError as told:
            raise refusal_in_answer(self._provider_id, told.document, begun=False) from None
        except NotAnAnswer as wrong:
            raise broken(self._provider_id, str(wrong) or "answered with something other than a stream") from None
        return WholeStream(events)

    async def _post(self, request: ChatRequest) -> aiohttp.ClientResponse:
        """Return the provider's accepting answer, with its body not yet read."""
        payload = request.payload
        if not self._tells_usage and request.unasked is not None:
            payload = request.unasked()
        response = await self._sent(self._urls[request.task], payload, request.attached)
        if response.status in _SUCCESS:
            return response
        told = await self._told(response)
        refuses_usage = response.status in (400, 422) and (told.names("stream_options") or told.names("include_usage"))
        if refuses_usage and self._tells_usage and request.unasked is not None:
            # Not asked again: without it, the answer is paid for by what was set aside.
            self._tells_usage = False
            return await self._post(request)
        if response.status in _NOT_SERVED and request.task is not Task.CHAT and not told.is_about_model:
            raise not_served(self._provider_id, request.task)
        raise self._refusal(response, told)

    async def _told(self, response: aiohttp.ClientResponse) -> ProviderError:
        """Return what a refusing answer tells."""
        try:
            return told_by(b"".join(await self._read(response, _MAX_REFUSAL)))
        finally:
            cut(response)

    def _refusal(self, response: aiohttp.ClientResponse, told: ProviderError) -> ProviderFailed:
        """Return the failure that a refusal means."""
        return refusal_of(self._provider_id, response.status, response.headers, told)

    async def _sent(self, url: URL, payload: bytes, attached: Attachments | None = None) -> aiohttp.ClientResponse:
        if attached is not None:
            return await self._sent_with(url, attached.in_place(payload), await attached.turns.take())
        return await self._posted(url, payload, await self._credentials.headers(str(url), payload))

    async def _sent_with(self, url: URL, whole: Spliced, turn: Turn) -> aiohttp.ClientResponse:
        """Send a payload with its files, for which `turn` was taken; raises NotSent."""
        body = SplicedBody(whole, turn)
        try:
            digest = await whole.digest() if self._credentials.signs else ""
            return await self._posted(url, body, await self._credentials.headers(str(url), b"", digest))
        except BaseException:
            turn.end()
            if body.failure is not None:
                raise body.failure from None
            raise

    def _body(self, response: aiohttp.ClientResponse) -> ResponseBody:
        try:
            return ResponseBody(response)
        except UnknownCoding:
            raise broken(self._provider_id, "answered in a coding that was not asked for") from None

    async def _read(self, response: aiohttp.ClientResponse, limit: int) -> list[bytes]:
        return await self._rest(self._body(response), limit)

    async def _rest(self, body: ResponseBody, limit: int, first: bytes = b"") -> list[bytes]:
        """Return the body in parts, of which only the last may be small, since many small ones take more memory."""
        parts, held, size = list[bytes](), bytearray(first), len(first)
        if body.length is not None and body.length > limit:
            raise broken(self._provider_id, f"answered with more than {limit} bytes")
        try:
            while data := await body.read():
                held += data
                size += len(data)
                if size > limit:
                    raise broken(self._provider_id, f"answered with more than {limit} bytes")
                await body.hold(size)
                if len(held) > SMALL:
                    parts.append(bytes(held))
                    held.clear()
        except (aiohttp.ClientError, TimeoutError, OSError, BrokenCoding) as fault:
            raise gone(self._provider_id, fault) from None
        return [*parts, bytes(held)]

    async def _ask_health(self) -> ProviderHealth:
        with suppress(aiohttp.ClientError, TimeoutError, OSError):
            proof = await self._credentials.headers(str(self._models_url), b"")
            async with self._open_session.get(
                self._models_url, headers=proof, allow_redirects=False, timeout=_HEALTH_TIMEOUT
            ) as response:
                if response.status == 200 or (response.status < 500 and not self._lists_models):
                    return ProviderHealth(HealthStatus.OK)
                is_away = response.status >= 500
                return ProviderHealth(HealthStatus.ERROR, f"it answers with status {response.status}", is_away=is_away)
        return ProviderHealth(HealthStatus.ERROR, "it can't be reached", is_away=True)
