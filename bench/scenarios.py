"""The requests of a benchmark: the same bytes for every measured server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from json import dumps
from typing import Any

from bench.client import Load
from bench.policies import CLOSED_PATH, FAST, HIDDEN
from bench.tokens import Tokens
from bench.upstream import OPEN, PACED, VECTORS

_QUESTION = "Explain in one sentence why a door that everyone must pass has to be nearly free. " * 4


def scenarios(tokens: Tokens) -> Mapping[str, Load]:
    """Return each scenario by its name in the tables."""
    done = b"data: [DONE]"
    return {
        "health": Load(_gets("/v1/health", tokens.good), 200, b'"OK"'),
        "models": Load(_gets("/v1/models", tokens.good), 200, b"bench/tiny"),
        "chat": Load(chats(FAST, tokens.good), 200, b'"chat.completion"'),
        "stream": Load(chats(FAST, tokens.good, stream=True), 200, done),
        "embeddings": Load(_embeddings(tokens.good, base64=True), 200, b'"embedding"'),
        "embeddings as numbers": Load(_embeddings(tokens.good, base64=False), 200, b'"embedding"'),
        "paced stream": Load(chats(PACED, tokens.good, stream=True), 200, done),
        "refused route": Load(_gets(CLOSED_PATH, tokens.good), 403),
        "refused model": Load(chats(HIDDEN, tokens.good), 404),
        "forged token": Load(_gets("/v1/models", tokens.forged), 401),
        "no token": Load(_gets("/v1/models", [""]), 401),
    }


def open_streams(tokens: Tokens) -> Sequence[bytes]:
    """Return the requests for streams that stay open."""
    return chats(OPEN, tokens.good, stream=True)


def _gets(path: str, tokens: Sequence[str]) -> list[bytes]:
    return [f"GET {path} HTTP/1.1\r\n{_headers(token)}\r\n".encode() for token in tokens]


def chats(model: str, tokens: Sequence[str], *, stream: bool = False) -> list[bytes]:
    """Return a chat with that model for each token."""
    messages = [{"role": "system", "content": "You are brief."}, {"role": "user", "content": _QUESTION}]
    body = {"model": f"bench/{model}", "messages": messages, "temperature": 0.7, "stream": stream}
    return posts("/v1/chat/completions", tokens, body)


def _embeddings(tokens: Sequence[str], *, base64: bool) -> list[bytes]:
    form = "base64" if base64 else "float"
    return posts("/v1/embeddings", tokens, {"model": f"bench/{VECTORS}", "input": _QUESTION, "encoding_format": form})


def posts(path: str, tokens: Sequence[str], members: Mapping[str, Any]) -> list[bytes]:
    """Return a request with that body for each token."""
    body = dumps(members).encode()
    start = f"POST {path} HTTP/1.1\r\n"
    framing = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return [f"{start}{_headers(token)}{framing}\r\n".encode() + body for token in tokens]


def _headers(token: str) -> str:
    """Return headers like those that OpenAI's client sends."""
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    return (
        "Host: 127.0.0.1\r\nAccept: application/json\r\nUser-Agent: OpenAI/Python 2.0\r\n"
        f"X-Stainless-Lang: python\r\nX-Stainless-Retry-Count: 0\r\n{authorization}"
    )
