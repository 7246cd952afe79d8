"""The provider `inline::llama-cpp`, which asks the child process of a model as it would ask a server elsewhere."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Final

import aiohttp
from yarl import URL

from server.fairness.shares import Share
from server.inference.answers.plain import NotAnAnswer, decoded
from server.inference.attachments import Attachments
from server.inference.provider import (
    ChatRequest,
    ChatStream,
    Fault,
    HealthStatus,
    Kind,
    Pieces,
    ProviderFailed,
    ProviderHealth,
)
from server.inference.providers.connections import SocketConnector, cut
from server.inference.providers.credentials import KeyInHeader
from server.inference.providers.dialects import Dialect
from server.inference.providers.http_provider import Limits
from server.inference.providers.keys import FixedKey
from server.inference.providers.llama_cpp.forms import GRAMMAR, look_for_forms
from server.inference.providers.llama_cpp.process import ModelAbsent, ModelFile, ModelProcess
from server.inference.providers.openai_compatible import OpenAICompatible
from server.inference.providers.refusals import broken, told_by
from server.json_input.reader import Reader
from server.json_input.strict import InvalidJson, Why

ANSWER_SECONDS: Final = 3600.0
"""Limit of the time of one answer, streamed or not."""

WAITING: Final = 1024
"""Requests that wait for their turn with one model."""

WAITING_EACH: Final = 64
"""Requests of one caller that wait for their turn with one model."""

WAIT_SECONDS: Final = 60.0
"""Limit of the time in which a request waits for its turn with a model."""

CRASHES: Final = 3
"""Failures in a row of one caller after which the model is not asked for that caller for a while."""

TOKEN_BYTES: Final = 64
"""Bytes of a body for each token of the context; no text has so many for each of its tokens."""

FREE_BYTES: Final = 64 * 1024
"""Bytes of a body besides those of its prompt."""

_DIALECT: Final = Dialect(dropped=frozenset({"system_fingerprint", "timings"}))
"""It measures each answer, and has no fingerprint but that of a build without a number."""

_COUNTING: Final = URL("http://localhost/v1/chat/completions/input_tokens")
_LARGEST_COUNT: Final = 64 * 1024
_BASE: Final = "http://localhost/v1"  # nothing is looked up: every request goes to the socket


def turns(parallel: int) -> Share:
    """Return the share of a model that answers so many requests at the same time: one turn is left to other callers."""
    return Share(
        "turns with a model of `inline::llama-cpp`", parallel, max(1, parallel - 1), WAITING, WAITING_EACH, WAIT_SECONDS
    )


class LlamaCpp(OpenAICompatible):
    """The model in one GGUF file. A request waits until it is loaded; one that meets a crash is answered with 502.

    What `reader` reads of a request has to be what the model can do without stopping for other callers. A grammar is
    refused unless the configuration `takes_grammars`.
    """

    def __init__(self, provider_id: str, file: ModelFile, reader: Reader, *, takes_grammars: bool = False) -> None:
        self.process: Final = ModelProcess(provider_id, file)
        self._reader = reader
        self._takes_grammars = takes_grammars
        self._largest = FREE_BYTES + file.context * TOKEN_BYTES
        self._most_choices = turns(file.parallel).each
        credentials = KeyInHeader(_DIALECT, FixedKey(self.process.key))
        limits = Limits(silence=ANSWER_SECONDS, total=ANSWER_SECONDS)
        super().__init__(provider_id, _BASE, None, dialect=_DIALECT, limits=limits, credentials=credentials)

    async def start(self) -> None:
        """Start to load the model, which goes on in the background."""
        self.process.begin()
        await super().start()

    async def close(self) -> None:
        """Close every connection and end the child."""
        await super().close()
        await self.process.stop()

    async def health(self) -> ProviderHealth:
        """Return whether the model is loaded, and else the reason."""
        absent = self.process.absent
        return ProviderHealth(HealthStatus.OK) if absent is None else ProviderHealth(HealthStatus.ERROR, f"it {absent}")

    async def complete(self, request: ChatRequest) -> Pieces:
        """Return the model's answer."""
        await self._check(request)
        return await super().complete(request)

    async def stream(self, request: ChatRequest) -> ChatStream:
        """Return the model's stream."""
        await self._check(request)
        return await super().stream(request)

    async def count(self, request: ChatRequest) -> int:
        """Return the tokens of the prompt as the model's template and its tokenizer make it."""
        await self._check(request)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                response = await self._sent(_COUNTING, request.payload)
                try:
                    told = b"".join(await self._read(response, _LARGEST_COUNT))
                finally:
                    cut(response)
        except TimeoutError:
            raise broken(self._provider_id, "did not count in time", kind=Kind.SILENT) from None
        if response.status != HTTPStatus.OK:
            raise self._refusal(response, told_by(told))
        try:
            count = decoded(told).get("input_tokens")
        except NotAnAnswer:
            count = None
        if type(count) is not int or count < 0:
            raise broken(self._provider_id, "answered with something other than a number of tokens")
        return count

    async def _check(self, request: ChatRequest) -> None:
        """Raise ProviderFailed for a request that can't be answered, or would stop the model for others."""
        if request.attached is not None:
            sentence = f"the models of the provider `{self._provider_id}` read text alone; leave out images and files"
            raise ProviderFailed(Fault.REQUEST, sentence, code="unsupported_value", param="messages")
        if len(request.payload) > self._largest:
            sentence = f"the body is larger than {self._largest} bytes: this model's maximum context length is exceeded"
            raise ProviderFailed(Fault.REQUEST, sentence, code="context_length_exceeded", param="messages")
        try:
            found = await self._reader.look(request.payload, look_for_forms)
        except InvalidJson as refusal:
            fault = Fault.BUSY if refusal.why is Why.BUSY else Fault.REQUEST
            raise ProviderFailed(fault, refusal.message, code=refusal.code, param=refusal.param) from None
        if found["choices"] > self._most_choices:
            sentence = f"`n` must be at most {self._most_choices}, since other callers use the model too"
            raise ProviderFailed(Fault.REQUEST, sentence, code="invalid_value", param="n")
        if found["has_grammar"] and not self._takes_grammars:
            sentence = "`grammar` is not taken, since a short one can stop the model; use `response_format`"
            raise ProviderFailed(Fault.REQUEST, sentence, code="unsupported_parameter", param=GRAMMAR)

    def _connector(self) -> aiohttp.BaseConnector:
        return SocketConnector(self.process.socket)

    async def _sent(self, url: URL, payload: bytes, attached: Attachments | None = None) -> aiohttp.ClientResponse:
        try:
            await self.process.ready()
        except ModelAbsent as absent:
            sentence = f"the provider `{self._provider_id}` {absent}"
            raise ProviderFailed(
                Fault.PAUSED if absent.loads else Fault.PROVIDER,
                sentence,
                code="provider_unavailable" if absent.loads else "server_error",
                retry_after=absent.retry_after,
                unsent=True,
                kind=Kind.UNREACHABLE,
            ) from None
        return await super()._sent(url, payload, attached)
