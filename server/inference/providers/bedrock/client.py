"""Amazon Bedrock: its OpenAI endpoint for the models that it serves there, the Converse API for all others.

Embeddings are asked for by InvokeModel, see `vectors`.
"""

from __future__ import annotations

import re
import ssl
from typing import Final
from urllib.parse import quote
from weakref import WeakKeyDictionary

import aiohttp
from yarl import URL

from server.fairness.threads import in_thread
from server.inference.answers.model_name import QUICK
from server.inference.answers.plain import NotAnAnswer, encoded
from server.inference.attachments import Attachments
from server.inference.provider import Fault, HealthStatus, Kind, ProviderFailed, ProviderHealth
from server.inference.providers.bedrock.answers import ConverseEvents, completion
from server.inference.providers.bedrock.converse import Converse
from server.inference.providers.bedrock.frames import BrokenFrame, Frames
from server.inference.providers.bedrock.guardrail import Guardrail
from server.inference.providers.bedrock.plan import ChatApi, chat_question, converse_in, plan_chat
from server.inference.providers.connections import cut
from server.inference.providers.credentials import Credentials
from server.inference.providers.dialects import STORING
from server.inference.providers.http_provider import Limits
from server.inference.providers.openai_compatible import OpenAICompatible
from server.inference.providers.refusals import ProviderError, broken, refusal_of
from server.inference.providers.response_body import BrokenCoding, ResponseBody, UnknownCoding
from server.json_input.body_parser import BodyCheck
from server.json_input.reader import Reader
from server.json_input.strict import InvalidJson, Json, Why

EVENT_STREAM: Final = "application/vnd.amazon.eventstream"
"""The type of the streams of the Converse API."""

MOST_WHOLE: Final = 2 * 1024 * 1024
"""Bytes of an answer of the Converse API in one piece, which is parsed as a whole."""

REFUSED: Final = STORING | {"logit_bias", "user", "safety_identifier", "prompt_cache_key"}
"""Members that its OpenAI endpoint doesn't know; of the others the Converse API gets those that it has a place for."""

_MODEL: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._:/-]{0,2047}")
_TOKENS: Final = "x-amzn-bedrock-input-token-count"
_SUCCESS: Final = 200
_BUSY: Final = 429
_SERVER_FAILED: Final = 500
_THROTTLED: Final = re.compile(r"(?:Throttling|TooManyRequests|ServiceQuotaExceeded|ModelNotReady)")
_GUARDRAIL: Final = re.compile("guardrail", re.IGNORECASE)
_COUNT: Final = re.compile("[0-9]{1,8}")
_HEALTH_TIMEOUT: Final = aiohttp.ClientTimeout(total=2.0)


class Bedrock(OpenAICompatible):
    """One account and region of Bedrock under `endpoint` (`https://bedrock-runtime.us-east-1.amazonaws.com`).

    Answers of the Converse API are translated as they are read, so they pass through the same relay as all others. A
    `guardrail` reads every chat and completion, for which all models are then asked through that API.
    """

    def __init__(
        self,
        provider_id: str,
        endpoint: str,
        credentials: Credentials,
        tls: ssl.SSLContext | None = None,
        *,
        reader: Reader,
        chat_api: ChatApi = ChatApi.AUTO,
        limits: Limits,
        guardrail: Guardrail | None = None,
    ) -> None:
        super().__init__(provider_id, f"{endpoint}/openai/v1", None, tls, limits=limits, credentials=credentials)
        self.provider_id = provider_id
        self.total_seconds = limits.total
        self._endpoint = endpoint
        self._reader = reader
        self._chat_api = chat_api
        self._guardrail = guardrail
        self._conversing: WeakKeyDictionary[aiohttp.ClientResponse, Converse] = WeakKeyDictionary()

    async def invoke(self, model: str, payload: bytes, limit: int) -> tuple[bytes, int | None]:
        """Return an answer of InvokeModel of up to `limit` bytes, and the tokens that its head tells.

        Raises ProviderFailed.
        """
        response = await super()._sent(self._address(model, "invoke"), payload)
        if response.status != _SUCCESS:
            raise self._refusal(response, await self._told(response))
        try:
            text = b"".join(await self._read(response, limit))
        finally:
            cut(response)
        tokens = response.headers.get(_TOKENS, "")
        return text, int(tokens) if _COUNT.fullmatch(tokens) else None

    async def look(self, question: bytes, plan: BodyCheck) -> Json:
        """Return the plan of a request, beside the server where the request is large; raises ProviderFailed."""
        try:
            return await self._reader.look(question, plan)
        except InvalidJson as fault:
            if fault.why is Why.BUSY:
                raise ProviderFailed(Fault.BUSY, fault.message) from None
            raise self._refused(fault) from None

    async def _sent(self, url: URL, payload: bytes, attached: Attachments | None = None) -> aiohttp.ClientResponse:
        plan = await self.look(chat_question(payload, self._chat_api, self._guardrail), plan_chat)
        converse = converse_in(plan)
        if converse is None:
            return await super()._sent(url, payload, attached)
        address = self._address(plan["model"], "converse-stream" if plan["streams"] else "converse")
        response = await super()._sent(address, converse.payload, attached)
        if response.status == _SUCCESS:
            self._conversing[response] = converse
        return response

    def _body(self, response: aiohttp.ClientResponse) -> ResponseBody:
        converse = self._conversing.get(response)
        if converse is None:
            return super()._body(response)
        try:
            is_stream = response.headers.get("Content-Type", "").partition(";")[0].strip().lower() == EVENT_STREAM
            if is_stream:
                return StreamedConverse(response, converse)
            return WholeConverse(response, converse, self._provider_id)
        except UnknownCoding:
            raise broken(self._provider_id, "answered in a coding that was not asked for") from None

    def _refusal(self, response: aiohttp.ClientResponse, told: ProviderError) -> ProviderFailed:
        # Where a proxy drops the header, the body tells the same.
        kind = response.headers.get("x-amzn-errortype") or str((told.error or {}).get("__type", ""))
        if _THROTTLED.search(kind):
            # AWS tells of some quotas with status 400.
            return refusal_of(self._provider_id, _BUSY, response.headers, told)
        if self._guardrail is not None and _GUARDRAIL.search(told.message):
            # The caller can't mend it, whatever the status says.
            return broken(
                self._provider_id, "refused the guardrail of its configuration", spent=False, kind=Kind.STATUS
            )
        return super()._refusal(response, told)

    async def _ask_health(self) -> ProviderHealth:
        try:
            await self._credentials.headers(self._endpoint, b"")
            async with self._open_session.get(
                self._endpoint, allow_redirects=False, timeout=_HEALTH_TIMEOUT
            ) as response:
                # Without a model there is nothing to ask for: that it answers at all is what can be known for nothing.
                if response.status < _SERVER_FAILED:
                    return ProviderHealth(HealthStatus.OK)
                message = f"it answers with status {response.status}"
                return ProviderHealth(HealthStatus.ERROR, message, is_away=True)
        except ProviderFailed as failed:
            return ProviderHealth(HealthStatus.ERROR, failed.message)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return ProviderHealth(HealthStatus.ERROR, "it can't be reached", is_away=True)

    def _address(self, model: str, action: str) -> URL:
        """Return the address of a model; raises ProviderFailed for what can't be the name of one."""
        if not _MODEL.fullmatch(model):
            raise self._refused(InvalidJson("is no name of a model of Bedrock", "model", "invalid_value"))
        return URL(f"{self._endpoint}/model/{quote(model, safe='')}/{action}", encoded=True)

    def _refused(self, fault: InvalidJson) -> ProviderFailed:
        sentence = f"the provider `{self._provider_id}` can't be asked this: `{fault.param}` {fault.message}"
        return ProviderFailed(Fault.REQUEST, sentence, code=fault.code, param=fault.param)


class WholeConverse(ResponseBody):
    """The body of an answer in one piece, read as a chat completion or a text's; empty where it is neither."""

    def __init__(self, response: aiohttp.ClientResponse, converse: Converse, provider_id: str) -> None:
        super().__init__(response)
        self._converse = converse
        self._provider_id = provider_id
        self._is_read = False

    async def read(self) -> bytes:
        """Return the whole, and nothing after it; raises ProviderFailed for one that is too large."""
        if self._is_read:
            return b""
        self._is_read = True
        held = bytearray()
        while data := await super().read():
            held += data
            if len(held) > MOST_WHOLE:
                raise broken(self._provider_id, f"answered with more than {MOST_WHOLE} bytes")
            await self.hold(len(held))
        return await in_thread(self._translated, held) if len(held) > QUICK else self._translated(held)

    def _translated(self, text: bytearray) -> bytes:
        try:
            return encoded(completion(bytes(text), self._converse))
        except NotAnAnswer:
            return b""


class StreamedConverse(ResponseBody):
    """The body of a stream, read as the server-sent events of chunks."""

    def __init__(self, response: aiohttp.ClientResponse, converse: Converse) -> None:
        super().__init__(response)
        self._frames = Frames()
        self._events = ConverseEvents(converse)
        self._is_broken = False

    async def read(self) -> bytes:
        """Return the next events; nothing at the end. Raises BrokenCoding, behind the events of what is whole."""
        while not self._is_broken and (data := await super().read()):
            events = bytearray()
            try:
                for frame in self._frames.take(data):
                    events += self._events.events(frame)
            except (BrokenFrame, NotAnAnswer):
                self._is_broken = True
            if events:
                return bytes(events)
        if self._is_broken:
            raise BrokenCoding
        return self._events.end()
