"""The provider `inline::llama-cpp`, which asks the child process of a model as it would ask a server elsewhere."""

from __future__ import annotations

from typing import Final

import aiohttp
from yarl import URL

from server.fairness.shares import Share
from server.inference.attachments import Attachments
from server.inference.provider import Fault, HealthStatus, Kind, ProviderFailed, ProviderHealth
from server.inference.providers.connections import SocketConnector
from server.inference.providers.credentials import KeyInHeader
from server.inference.providers.dialects import OPENAI
from server.inference.providers.keys import FixedKey
from server.inference.providers.llama_cpp.process import ModelAbsent, ModelFile, ModelProcess
from server.inference.providers.openai_compatible import Limits, OpenAICompatible

ANSWER_SECONDS: Final = 3600.0
"""Limit of the time of one answer, streamed or not."""

WAITING: Final = 1024
"""Requests that wait for their turn with one model."""

WAITING_EACH: Final = 64
"""Requests of one caller that wait for their turn with one model."""

WAIT_SECONDS: Final = 60.0
"""Limit of the time in which a request waits for its turn with a model."""

_BASE: Final = "http://localhost/v1"  # nothing is looked up: every request goes to the socket


def turns(parallel: int) -> Share:
    """Return the share of a model that answers so many requests at the same time: one turn is left to other callers."""
    return Share(
        "turns with a model of `inline::llama-cpp`", parallel, max(1, parallel - 1), WAITING, WAITING_EACH, WAIT_SECONDS
    )


class LlamaCpp(OpenAICompatible):
    """The model in one GGUF file. A request waits until it is loaded; one that meets a crash is answered with 502."""

    def __init__(self, provider_id: str, file: ModelFile) -> None:
        self.process: Final = ModelProcess(provider_id, file)
        credentials = KeyInHeader(OPENAI, FixedKey(self.process.key))
        limits = Limits(silence=ANSWER_SECONDS, total=ANSWER_SECONDS)
        super().__init__(provider_id, _BASE, None, limits=limits, credentials=credentials)

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

    def _connector(self) -> aiohttp.BaseConnector:
        return SocketConnector(self.process.socket)

    async def _sent(self, url: URL, payload: bytes, attached: Attachments | None = None) -> aiohttp.ClientResponse:
        try:
            await self.process.ready()
        except ModelAbsent as absent:
            sentence = f"the provider `{self._provider_id}` {absent}"
            raise ProviderFailed(
                Fault.PROVIDER,
                sentence,
                code="server_error",
                retry_after=absent.retry_after,
                kind=Kind.UNREACHABLE,
            ) from None
        return await super()._sent(url, payload, attached)
