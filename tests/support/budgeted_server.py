"""A server with a budget of tokens, in front of a provider that says what it is told to say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from server.authn import Authenticator
from server.wiring.authenticators import authenticator
from tests.support.identity_services import Asked
from tests.support.real_policy import Decided, decided, read
from tests.support.serving import Answer

CONFIG = """
    version: 2
    apis: [inference]
    providers:
      inference:
      - {provider_id: far, provider_type: remote::vllm, config: {url: "PROVIDER"}}
    models:
    - {model_id: m, provider_id: far, provider_model_id: NAME}
    server:
      quota:
        kvstore: {type: sqlite, db_path: FOLDER/quotas.db}
        LIMITS
"""
BUDGET = "max_tokens_per_period: 100"
KNOWN = """
      auth:
        provider_config: PROVIDER_OF_IDENTITY
        access_policy: [{permit: {actions: [ACTIONS]}}]
"""
CUSTOM = '{type: custom, endpoint: "https://auth.example.com/validate"}'
PROMPT = {"messages": [{"role": "user", "content": "hello there"}]}
RESERVED = 7  # a quarter of the letters in PROMPT, names and values alike, and one


@contextmanager
def budgeted(
    url: str,
    opa: Path,
    folder: Path,
    limits: str = BUDGET,
    *,
    name: str = "m",
    known: Authenticator | None = None,
    identity: str = "",
    actions: str = "read",
) -> Iterator[Decided]:
    """The server in front of the provider at `url`, which has the model under that `name`; callers may do `actions`."""
    text = (
        CONFIG.replace("PROVIDER", url).replace("NAME", name).replace("FOLDER", str(folder)).replace("LIMITS", limits)
    )
    if known is not None or identity:
        text += KNOWN.replace("PROVIDER_OF_IDENTITY", identity or CUSTOM).replace("ACTIONS", actions)
    vouching = authenticator(read(text).server.auth) if identity else known
    with decided(text, opa, folder, authenticator=vouching) as running:
        yield running


def completion(usage: Any, words: str = "hi") -> dict[str, Any]:
    """A provider's whole answer; `...` leaves usage out."""
    told = {} if usage is ... else {"usage": usage}
    choices = [{"index": 0, "message": {"role": "assistant", "content": words}, "finish_reason": "stop"}]
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": choices, **told}


def stream(asked: Asked, usage: Any, count: int = 3) -> bytes:
    """A provider's events; usage is told only to who asks for it, as OpenAI has it."""
    wanted = (json.loads(asked.body).get("stream_options") or {}).get("include_usage")
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    untold = {"usage": None} if wanted else {}
    chunks = [
        {**head, "choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": None}], **untold}
        for _ in range(count)
    ]
    chunks += [{**head, "choices": [], "usage": usage}] if wanted and usage is not ... else []
    return b"".join(b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in chunks) + b"data: [DONE]\n\n"


def provider(usage: Any = ..., *, count: int = 3, words: str = "hi", status: int = 200) -> Any:
    """How a provider answers whose answers cost `usage`."""

    def reply(asked: Asked) -> tuple[int, Any] | tuple[int, Any, dict[str, str]]:
        if status != 200:
            return status, {"error": {"message": "no"}}
        if json.loads(asked.body).get("stream"):
            return 200, stream(asked, usage, count), {"content-type": "text/event-stream"}
        return 200, completion(usage, words), {"content-type": "application/json"}

    return reply


def chat(running: Decided, *headers: str, **more: Any) -> Answer:
    """The answer to a chat that may have twenty tokens, unless told otherwise."""
    body = {"model": "m", "max_completion_tokens": 20, **PROMPT, **more}
    return running.address.post("/v1/chat/completions", {k: v for k, v in body.items() if v is not ...}, *headers)


def left(running: Decided, *headers: str) -> int:
    """The tokens that are left, as a request says that costs none."""
    answer = running.address.get("/v1/models", *headers)
    return int(answer.headers["x-ratelimit-remaining-tokens"])
