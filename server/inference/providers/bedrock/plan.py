"""Requests of Bedrock as they are sent, made of the bodies that callers send.

Large bodies are taken apart in worker processes, so this module imports the standard library, `server.json_input` and
modules that import no more than these.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from enum import StrEnum
from json import dumps
from typing import Any, Final

from server.inference.providers.bedrock.converse import Converse, converse_of
from server.inference.providers.bedrock.embedding_models import batches_of, model_of
from server.inference.providers.bedrock.guardrail import Guardrail
from server.inference.providers.bedrock.parts import NotConverse, check_no_files
from server.inference.providers.bedrock.texts import chat_of
from server.json_input.strict import Document, InvalidJson, Json

_WITH_OPENAI: Final = re.compile(r"(?:[a-z]{2,6}\.)?openai\.")
"""Models of the OpenAI endpoint, with or without the prefix of an inference profile (`us.`)."""


class ChatApi(StrEnum):
    """The API that is used: one of the two, or the one that fits the model."""

    AUTO = "auto"
    OPENAI = "openai"
    CONVERSE = "converse"

    def is_converse(self, model: str) -> bool:
        """Return whether a model is asked through the Converse API."""
        return self is ChatApi.CONVERSE or (self is ChatApi.AUTO and _WITH_OPENAI.match(model) is None)


def chat_question(payload: bytes, chat_api: ChatApi, guardrail: Guardrail | None) -> bytes:
    """Return what `plan_chat` reads: the body of a chat or a completion, and the settings of the provider."""
    settings = {"chat_api": chat_api, "guardrail": None if guardrail is None else asdict(guardrail)}
    return b'{"settings":%b,"body":%b}' % (dumps(settings).encode(), payload)


def plan_chat(document: Document) -> Json:
    """Return the model's name, whether a stream is wanted, and the members of a Converse, which may be none.

    Raises InvalidJson, whose message continues from its place, for what the Converse API has nothing for.
    """
    settings, body = document.members["settings"], document.members["body"]
    model, is_text, guardrail = body["model"], "messages" not in body, settings["guardrail"]
    head = {"model": model, "streams": body.get("stream") is True}
    guard = None if guardrail is None else Guardrail(**guardrail)
    try:
        if not is_text and guard is None and not ChatApi(settings["chat_api"]).is_converse(model):
            check_no_files(body["messages"])
            return head
        converse = converse_of(chat_of(body) if is_text else body, guard, is_text=is_text)
    except NotConverse as fault:
        raise _invalid(fault) from None
    return {**head, **asdict(converse)}


def converse_in(plan: Json) -> Converse | None:
    """Return the request that a plan holds; None for a model of the OpenAI endpoint."""
    if "payload" not in plan:
        return None
    return Converse(**{name: value for name, value in plan.items() if name not in ("model", "streams")})


def embeddings_question(payload: bytes, dimensions: int | None) -> bytes:
    """Return what `plan_embeddings` reads: the body of a request for embeddings of so many numbers."""
    return b'{"dimensions":%b,"body":%b}' % (dumps(dimensions).encode(), payload)


def plan_embeddings(document: Document) -> Json:
    """Return the model's name, and the requests behind each other, each with the number of its texts and its bytes.

    Raises InvalidJson as `plan_chat`.
    """
    body: dict[str, Any] = document.members["body"]
    try:
        batches = batches_of(model_of(body["model"]), body, document.members["dimensions"])
    except NotConverse as fault:
        raise _invalid(fault) from None
    sizes = [[batch.count, len(batch.payload)] for batch in batches]
    return {"model": body["model"], "sizes": sizes, "payloads": b"".join(batch.payload for batch in batches)}


def _invalid(fault: NotConverse) -> InvalidJson:
    return InvalidJson(fault.sentence, fault.param, fault.code)
